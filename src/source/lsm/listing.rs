//! Owns what is in the directory: names of tables and logs by number, and all other names. Hands these to the engine,
//! which chooses its manifest by them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::LsmError;

/// Files of interest in a database directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Tables by number.
    pub(crate) tables: BTreeMap<u64, PathBuf>,
    /// `.log` by number.
    pub(crate) logs: BTreeMap<u64, PathBuf>,
    /// All other names.
    pub(crate) others: Vec<String>,
}

impl Listing {
    /// Reads the names in `dir`. Tables end in one of `suffixes`; where two of them have the same number, the one whose
    /// suffix is listed first counts.
    pub(crate) fn read(dir: &Path, suffixes: &[&str]) -> Result<Listing, LsmError> {
        let mut listing = Listing::default();
        let mut tables: BTreeMap<u64, (usize, PathBuf)> = BTreeMap::new();
        let entries = fs::read_dir(dir).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                LsmError::NotADatabase { path: dir.to_path_buf(), what: "there is no such directory".to_string() }
            }
            _ => LsmError::io(dir, e),
        })?;
        for entry in entries {
            let entry = entry.map_err(|e| LsmError::io(dir, e))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let parts = name.rsplit_once('.').and_then(|(stem, tail)| Some((number(stem)?, tail)));
            match parts {
                Some((n, "log")) => {
                    listing.logs.insert(n, entry.path());
                }
                Some((n, tail)) if suffixes.contains(&tail) => {
                    let rank = suffixes.iter().position(|suffix| *suffix == tail).unwrap_or(0);
                    let held = tables.entry(n).or_insert_with(|| (rank, entry.path()));
                    if rank < held.0 {
                        *held = (rank, entry.path());
                    }
                }
                _ => listing.others.push(name.into_owned()),
            }
        }
        listing.tables = tables.into_iter().map(|(n, (_, path))| (n, path)).collect();
        listing.others.sort_unstable();
        Ok(listing)
    }
}

/// Number of a file name, decimal digits only.
pub(crate) fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The manifest which the file `name` names, if usable. The first
/// reason why one is not goes to `fault`.
pub(crate) fn named(dir: &Path, name: &str, fault: &mut Option<LsmError>) -> Result<Option<(u64, PathBuf)>, LsmError> {
    let path = dir.join(name);
    let mut content = Vec::new();
    let read = File::open(&path).and_then(|f| f.take(256).read_to_end(&mut content));
    match read {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LsmError::io(&path, e)),
    }
    let manifest = content.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let Some((manifest, n)) = manifest.and_then(|name| Some((name, manifest_number(name)?))) else {
        let what = "it does not name a manifest";
        fault.get_or_insert(LsmError::corrupt(&path, 0, what));
        return Ok(None);
    };
    let manifest = dir.join(manifest);
    match fs::metadata(&manifest) {
        Ok(_) => Ok(Some((n, manifest))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fault.get_or_insert(LsmError::MissingFile { path: manifest, named_by: path });
            Ok(None)
        }
        Err(e) => Err(LsmError::io(&manifest, e)),
    }
}

/// The number in the name of a manifest.
pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    number(name.strip_prefix("MANIFEST-")?)
}
