//! Tests of what is Pebble's own on a database that Pebble made, whole and damaged, and on logs made by hand. Parity with
//! Pebble's own reading is in `tests/interop`, which needs Go.

mod damage;
mod directory;
mod footers;
mod logs;
mod tables;
mod writer;

use std::fs;
use std::path::Path;

use super::open;
use crate::source::lsm::{LsmError, Options};

/// The fixture's database in a directory of its own.
fn fixture() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pebble/application.db");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything in a database, by opening it anew.
fn read(dir: &Path) -> Result<Pairs, LsmError> {
    let db = open(dir, Options::default())?;
    let (mut iter, mut pairs) = (db.iter(b"", None), Vec::new());
    while let Some((key, value)) = iter.next()? {
        pairs.push((key.to_vec(), value.to_vec()));
    }
    Ok(pairs)
}
