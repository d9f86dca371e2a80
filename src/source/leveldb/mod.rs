//! goleveldb (LevelDB), strictly read only: what its directories have of their own. The reading is done by [`super::lsm`].

use std::path::Path;

use super::lsm::{
    Database, LsmError, Options,
    batch::Form,
    dialect::{Dialect, Meta, Properties},
    edit::Edit,
    error::{Fault, Malformed},
    footer::{self, Footer, LEVELDB_FOOTER},
    key::{Kind, Kinds},
    listing::Listing,
};

mod listing;

/// What the engine writes.
pub static DIALECT: Dialect = Dialect {
    name: "goleveldb",
    suffixes: &["ldb", "sst"],
    footer_bytes: LEVELDB_FOOTER,
    footer: leveldb_footer,
    meta: |_| Meta::Other,
    properties: |_| Ok(Properties { two_level: false }),
    forms: form,
    own_tags: no_other_tags,
    recycles_logs: false,
    journal_is_optional: false,
};

/// What the kinds of entries in its tables mean.
pub static KINDS: Kinds = {
    let mut kinds = [Kind::Unknown; 256];
    kinds[0] = Kind::Delete;
    kinds[1] = Kind::Put;
    Kinds(kinds)
};

fn leveldb_footer(tail: &[u8], size: u64) -> Result<Footer, Fault> {
    Ok(footer::decode_leveldb(tail, size, &KINDS)?)
}

fn form(kind: u8) -> Option<Form> {
    match kind {
        0 => Some(Form::Delete),
        1 => Some(Form::Put),
        _ => None,
    }
}

fn no_other_tags(tag: u64, _: &mut super::lsm::bytes::Fields<'_>, _: &mut Edit) -> Result<(), Malformed> {
    Err(Malformed::new(
        0,
        if tag >= 100 { "a manifest field of RocksDB or Pebble, not of LevelDB" } else { "unknown manifest field" },
    ))
}

/// Opens the goleveldb (LevelDB) database in `dir` without locking, creating or changing anything.
///
/// # Errors
/// `dir` is no database or one with another key order; a file is missing, damaged
/// or too large. An unfinished last record of the manifest or of the newest log is no
/// error: that is how a killed writer leaves them.
pub fn open(dir: &Path, options: Options) -> Result<Database, LsmError> {
    let listing = Listing::read(dir, DIALECT.suffixes)?;
    let manifest = listing::manifest(&listing, dir)?;
    Database::open(dir, &DIALECT, &listing, &manifest, options)
}

#[cfg(test)]
pub(in crate::source) mod tests;
