//! Owns what is in the directory: names of tables, logs and manifests, and the choice
//! among `CURRENT`, `CURRENT.bak` and pending `CURRENT.<n>`, made as goleveldb makes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::LeveldbError;

/// Files of interest in a database directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// `.ldb` or `.sst` by number; `.ldb` preferred.
    pub(super) tables: BTreeMap<u64, PathBuf>,
    /// `.log` by number.
    pub(super) logs: BTreeMap<u64, PathBuf>,
    pending: Vec<u64>,
}

impl Listing {
    /// Reads the names in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Listing, LeveldbError> {
        let mut listing = Listing::default();
        let entries = fs::read_dir(dir).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                LeveldbError::NotADatabase { path: dir.to_path_buf(), what: "there is no such directory".to_string() }
            }
            _ => LeveldbError::io(dir, e),
        })?;
        for entry in entries {
            let entry = entry.map_err(|e| LeveldbError::io(dir, e))?;
            let name = entry.file_name();
            let Some((stem, tail)) = name.to_str().and_then(|n| n.rsplit_once('.')) else {
                continue;
            };
            match (stem, tail) {
                ("CURRENT", n) => listing.pending.extend(number(n)),
                (n, "ldb") => {
                    let n = number(n);
                    listing.tables.extend(n.map(|n| (n, entry.path())));
                }
                (n, "sst") => {
                    if let Some(n) = number(n) {
                        listing.tables.entry(n).or_insert_with(|| entry.path());
                    }
                }
                (n, "log") => listing.logs.extend(number(n).map(|n| (n, entry.path()))),
                _ => {}
            }
        }
        listing.pending.sort_unstable();
        Ok(listing)
    }

    /// The manifest in force.
    ///
    /// Pending renames are tried from the highest number down, then
    /// `CURRENT`, then `CURRENT.bak`; one whose content is unusable or names
    /// a missing manifest is passed over. A pending rename wins only when it
    /// names a newer manifest.
    pub(super) fn manifest(&self, dir: &Path) -> Result<PathBuf, LeveldbError> {
        let mut fault = None;
        let mut pending = None;
        for n in self.pending.iter().rev() {
            pending = named(dir, &format!("CURRENT.{n}"), &mut fault)?;
            if pending.is_some() {
                break;
            }
        }
        let mut current = named(dir, "CURRENT", &mut fault)?;
        if current.is_none() {
            current = named(dir, "CURRENT.bak", &mut fault)?;
        }
        let chosen = match (pending, current) {
            (Some(pending), Some(current)) => Some(pending.max(current)),
            (pending, current) => pending.or(current),
        };
        match chosen {
            Some((_, path)) => Ok(path),
            None => Err(fault.unwrap_or_else(|| LeveldbError::NotADatabase {
                path: dir.to_path_buf(),
                what: "there is no CURRENT file".to_string(),
            })),
        }
    }
}

/// Number of a file name, decimal digits only.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The manifest which one `CURRENT` variant names, if usable. The first
/// reason why one is not goes to `fault`.
fn named(dir: &Path, name: &str, fault: &mut Option<LeveldbError>) -> Result<Option<(u64, PathBuf)>, LeveldbError> {
    let path = dir.join(name);
    let mut content = Vec::new();
    let read = File::open(&path).and_then(|f| f.take(256).read_to_end(&mut content));
    match read {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LeveldbError::io(&path, e)),
    }
    let digits = content
        .strip_suffix(b"\n")
        .and_then(|line| line.strip_prefix(b"MANIFEST-"))
        .and_then(|digits| std::str::from_utf8(digits).ok());
    let Some((digits, n)) = digits.and_then(|digits| Some((digits, number(digits)?))) else {
        let what = "it does not name a manifest";
        fault.get_or_insert(LeveldbError::corrupt(&path, 0, what));
        return Ok(None);
    };
    let manifest = dir.join(format!("MANIFEST-{digits}"));
    match fs::metadata(&manifest) {
        Ok(_) => Ok(Some((n, manifest))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fault.get_or_insert(LeveldbError::MissingFile { path: manifest, named_by: path });
            Ok(None)
        }
        Err(e) => Err(LeveldbError::io(&manifest, e)),
    }
}
