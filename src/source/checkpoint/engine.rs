//! Owns how the three engines name their files: which manifest is in force, what else belongs to a database, which logs there
//! are. Reads names and small files only.

use super::{CheckpointError, error::io};
use crate::source::{
    detect::{EngineKind, engine_named, newest_options},
    lsm::listing::{manifest_number, number},
};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// How the engines treat their files.
impl EngineKind {
    /// Whether the log that the manifest names is always there. RocksDB may name one that it never made, or has removed since
    /// because nothing was in it.
    pub(super) fn names_a_log_that_is_there(self) -> bool {
        self != EngineKind::RocksDb
    }

    /// Whether an old log may be overwritten to become a new one.
    pub(super) fn recycles_logs(self) -> bool {
        self != EngineKind::Goleveldb
    }

    /// Whether a table's number may be given to another table later. goleveldb does that with the highest one.
    pub(super) fn reuses_numbers(self) -> bool {
        self == EngineKind::Goleveldb
    }
}

/// What names a database's files right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) engine: EngineKind,
    /// Name of the manifest in force.
    pub(super) manifest: String,
    /// `CURRENT`'s contents.
    current: Vec<u8>,
    /// Files whose names say it all (Pebble's markers).
    markers: Vec<String>,
}

impl Head {
    /// Reads it. `None` where it changed meanwhile: to be read again.
    pub(super) fn read(directory: &Path) -> Result<Option<Head>, CheckpointError> {
        let names = names(directory)?;
        let Some(engine) = engine(directory, &names)? else { return Ok(None) };
        let current = match read_small(&directory.join("CURRENT"))? {
            Some(current) => current,
            None => return Ok(None),
        };
        let mut head = Head { engine, manifest: String::new(), current, markers: Vec::new() };
        head.markers = names.into_iter().filter(|name| name.starts_with("marker.")).collect();
        head.markers.sort();
        // `marker.<what>.<how often it was moved>.<value>`: Pebble makes the new one before it removes the old one.
        let marked = |what: &str| {
            let of = head
                .markers
                .iter()
                .filter_map(|name| name.strip_prefix("marker.")?.strip_prefix(what)?.strip_prefix('.'));
            of.filter_map(|rest| rest.split_once('.')).max_by_key(|(moved, _)| moved.parse::<u64>().ok())
        };
        // From format 2 on Pebble's CURRENT says nothing any more.
        let by_marker = marked("format-version").and_then(|(_, value)| value.parse::<u64>().ok()).unwrap_or(1) >= 2;
        let named = match marked("manifest") {
            Some((_, name)) if engine == EngineKind::Pebble && by_marker => Some(name.to_owned()),
            _ => std::str::from_utf8(&head.current).ok().map(|text| text.trim_end_matches('\n').to_owned()),
        };
        match named.filter(|name| manifest_number(name).is_some()) {
            Some(manifest) => head.manifest = manifest,
            None => {
                let path = directory.join("CURRENT");
                return Err(CheckpointError::Damaged { path, what: "does not name a manifest".to_owned() });
            }
        }
        Ok(Some(head))
    }

    /// What the copy gets, in this order and last of all: from then on it is a database.
    pub(super) fn files(&self) -> Vec<(String, &[u8])> {
        let markers = self.markers.iter().map(|name| (name.clone(), &[][..]));
        markers.chain([("CURRENT".to_owned(), self.current.as_slice())]).collect()
    }
}

/// Reads options and identity, which are small and replaced, never changed, and refuses what a copy of one directory would
/// lack.
pub(super) fn settings(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, CheckpointError> {
    let mut found = Vec::new();
    for name in names(directory)? {
        if name.starts_with("OPTIONS-") && !name.ends_with(".dbtmp") || name == "IDENTITY" {
            // One that is gone by now was replaced; none of them is needed to read.
            let Some(content) = read_small(&directory.join(&name))? else { continue };
            let text = String::from_utf8_lossy(&content);
            let elsewhere = text.lines().filter_map(|line| line.trim().strip_prefix("wal_dir=")).any(|value| {
                let value = Path::new(value.trim());
                value.file_name().is_some_and(|last| Some(last) != directory.file_name())
            });
            if elsewhere {
                return Err(CheckpointError::Unsupported {
                    path: directory.join(name),
                    what: "says that the write-ahead log lies in another directory (wal_dir)",
                });
            }
            found.push((name, content));
        }
    }
    Ok(found)
}

/// Which engine wrote a directory.
pub(super) fn kind(directory: &Path) -> Result<EngineKind, CheckpointError> {
    let damaged = || CheckpointError::Unsupported {
        path: directory.to_owned(),
        what: "has no file CURRENT, so it is not a database directory",
    };
    engine(directory, &names(directory)?)?.ok_or_else(damaged)
}

/// Changes whenever something was written to a database: names, lengths and times of its logs and manifests. Where it cannot be
/// read, it is not known.
#[must_use]
pub fn fingerprint(directory: &Path) -> Option<blake3::Hash> {
    let mut names = names(directory).ok()?;
    names.retain(|name| name.ends_with(".log") || name.starts_with("MANIFEST-"));
    names.sort();
    let mut hasher = blake3::Hasher::new();
    for name in names {
        let found = fs::metadata(directory.join(&name)).ok()?;
        let written = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        hasher.update(format!("{name} {} {}\n", found.len(), written.as_nanos()).as_bytes());
    }
    Some(hasher.finalize())
}

/// When a database was last written to, in Unix seconds: the newest of its logs and manifests. Where that cannot be read, it is not
/// known.
#[must_use]
pub fn written(directory: &Path) -> Option<f64> {
    let mut newest = None;
    for name in names(directory).ok()? {
        if name.ends_with(".log") || name.starts_with("MANIFEST-") {
            // One that has gone since was not the newest.
            let Ok(found) = fs::metadata(directory.join(&name)) else { continue };
            newest = newest.max(found.modified().ok());
        }
    }
    Some(newest?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64())
}

/// The numbers of the logs there are.
pub(super) fn logs(directory: &Path) -> Result<Vec<u64>, CheckpointError> {
    Ok(names(directory)?.iter().filter_map(|name| number(name.strip_suffix(".log")?)).collect())
}

/// The names a table of this number may have.
pub(super) fn table_names(engine: EngineKind, number: u64) -> Vec<String> {
    match engine {
        EngineKind::Goleveldb => vec![format!("{number:06}.ldb"), format!("{number:06}.sst")],
        EngineKind::Pebble | EngineKind::RocksDb => vec![format!("{number:06}.sst")],
    }
}

/// Which engine wrote a directory, as [`crate::source::detect`] tells it; `None` where that changed meanwhile, for a node that is
/// running may replace its `OPTIONS` at any moment.
fn engine(directory: &Path, names: &[String]) -> Result<Option<EngineKind>, CheckpointError> {
    let has = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if !has(&|name| name == "CURRENT") {
        return Err(CheckpointError::Unsupported {
            path: directory.to_owned(),
            what: "has no file CURRENT, so it is not a database directory",
        });
    }
    if has(&|name| name == "IDENTITY") {
        return Ok(Some(EngineKind::RocksDb));
    }
    if let Some(options) = newest_options(names) {
        let content = read_small(&directory.join(options))?;
        return Ok(content.map(|content| engine_named(&content).unwrap_or(EngineKind::Pebble)));
    }
    let pebble = has(&|name| name.starts_with("marker."));
    Ok(Some(if pebble { EngineKind::Pebble } else { EngineKind::Goleveldb }))
}

fn names(directory: &Path) -> Result<Vec<String>, CheckpointError> {
    let entries = fs::read_dir(directory).map_err(io(directory, "list"))?;
    let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().unwrap_or_default());
    entries.map(name).collect::<std::io::Result<_>>().map_err(io(directory, "list"))
}

fn read_small(path: &PathBuf) -> Result<Option<Vec<u8>>, CheckpointError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, "read")(error)),
    }
}
