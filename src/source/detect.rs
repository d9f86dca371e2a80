//! Owns the question which engine wrote a database directory. Hands out the opened source, or a refusal that says what was
//! found.

use super::{
    Rootmulti, Source, SourceError,
    checkpoint::{self, Standstill},
    leveldb, lsm, pebble, snapshot,
};
use std::path::Path;

/// Tables kept open. With the two engines of the target it stays below the usual limit of 1024 files.
const OPEN_FILES: usize = 360;
/// Most bytes of an options file that are looked at: what tells the engine stands at its top.
const OPTIONS_HEAD: u64 = 4096;

/// The engines a node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// goleveldb, the SDK's default.
    Goleveldb,
    /// PebbleDB.
    Pebble,
    /// RocksDB.
    RocksDb,
}

impl EngineKind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Goleveldb => "goleveldb",
            EngineKind::Pebble => "PebbleDB",
            EngineKind::RocksDb => "RocksDB",
        }
    }
}

/// Opens the `application.db` directory of a node, whatever engine wrote it, strictly read only.
///
/// # Errors
/// The directory is no database this release reads, or a node has it open; the error names what was found.
pub fn open(path: &Path, cache_bytes: usize) -> Result<Box<dyn Source>, SourceError> {
    if checkpoint::is_in_use(path) {
        detect(path)?;
        return Err(SourceError::InUse(path.to_owned()));
    }
    open_unused(path, cache_bytes)
}

/// As [`open`], a database that stands still because its lock is held here.
///
/// # Errors
/// As [`open`].
pub fn open_still(still: &Standstill, cache_bytes: usize) -> Result<Box<dyn Source>, SourceError> {
    open_unused(still.database(), cache_bytes)
}

fn open_unused(path: &Path, cache_bytes: usize) -> Result<Box<dyn Source>, SourceError> {
    let engine = detect(path)?;
    if engine == EngineKind::RocksDb {
        return open_rocks(path, cache_bytes);
    }
    let options = lsm::Options { block_cache_bytes: cache_bytes, open_files: OPEN_FILES };
    let open = if engine == EngineKind::Pebble { pebble::open } else { leveldb::open };
    Ok(Box::new(Rootmulti::new(open(path, options)?)))
}

/// Most bytes of RocksDB's write-ahead logs that are read into memory. cosmos-db gives RocksDB 512 MiB of write buffers, and all
/// that is in them when a node stops is in the logs only.
#[cfg(feature = "rocksdb")]
const ROCKS_LOG_BYTES: u64 = 1 << 30;

#[cfg(feature = "rocksdb")]
fn open_rocks(path: &Path, cache_bytes: usize) -> Result<Box<dyn Source>, SourceError> {
    let bounds = super::rocks::Options { cache_bytes, open_files: OPEN_FILES, log_bytes: ROCKS_LOG_BYTES };
    Ok(Box::new(Rootmulti::new(super::rocks::Rocks::open(path, bounds)?)))
}

#[cfg(not(feature = "rocksdb"))]
fn open_rocks(path: &Path, _: usize) -> Result<Box<dyn Source>, SourceError> {
    Err(unrecognised(path, "is a RocksDB database, and this program was built without RocksDB"))
}

/// Which engine wrote the directory, told by what is in it; nothing is opened but the newest options file and, where
/// there is none, the ends of tables.
///
/// # Errors
/// The directory is no database, or what is in it is of more than one engine, or could be of more than one.
pub fn detect(path: &Path) -> Result<EngineKind, SourceError> {
    let names = names(path)?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let ends = |suffix: &str| names.iter().find(|name| name.ends_with(suffix));
    let marker = names.iter().find(|name| name.starts_with("marker."));
    if !has("CURRENT") && marker.is_none() {
        return Err(unrecognised(path, &no_database(path, &names)));
    }
    let mut found: Vec<(EngineKind, String)> = Vec::new();
    if let Some(name) = newest_options(&names) {
        match options_engine(path, name)? {
            Some(engine) => found.push((engine, name.clone())),
            None => return Err(unrecognised(path, &format!("has {name}, which names neither RocksDB nor PebbleDB"))),
        }
    }
    found.extend(ends(".ldb").map(|name| (EngineKind::Goleveldb, name.clone())));
    found.extend(marker.map(|name| (EngineKind::Pebble, name.clone())));
    found.extend(has("IDENTITY").then(|| (EngineKind::RocksDb, "IDENTITY".to_owned())));
    let Some((engine, _)) = found.first() else {
        // Every PebbleDB and RocksDB has options; goleveldb has nothing of its own before its first table.
        return match ends(".sst") {
            Some(name) if !ends_as_leveldb(&path.join(name)) => {
                let what = format!(
                    "has {name}, a table of RocksDB or PebbleDB, but no OPTIONS file that tells which: copy the whole directory"
                );
                Err(unrecognised(path, &what))
            }
            _ => Ok(EngineKind::Goleveldb),
        };
    };
    if found.iter().any(|(other, _)| other != engine) {
        let all: Vec<String> = found.iter().map(|(engine, name)| format!("{name} ({})", engine.name())).collect();
        let what =
            format!("has files of more than one engine, {}: give the directory of one node's database", all.join(", "));
        return Err(unrecognised(path, &what));
    }
    Ok(*engine)
}

fn unrecognised(path: &Path, what: &str) -> SourceError {
    SourceError::Unrecognised { path: path.display().to_string(), what: what.to_owned() }
}

fn names(path: &Path) -> Result<Vec<String>, SourceError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => missing(path),
                std::io::ErrorKind::NotADirectory => "is a file; give the directory application.db".to_owned(),
                std::io::ErrorKind::PermissionDenied => {
                    format!("cannot be read: {error}; work as a user who may read it, the node's for instance")
                }
                _ => format!("cannot be read: {error}"),
            };
            return Err(unrecognised(path, &what));
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unrecognised(path, &format!("cannot be read: {error}")))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// What to say of a path where nothing is.
fn missing(path: &Path) -> String {
    let with_suffix = path.with_extension("db");
    if with_suffix != path && with_suffix.is_dir() {
        return format!("does not exist; did you mean {}?", with_suffix.display());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Some(parent) = parent.filter(|parent| parent.is_dir()) else { return "does not exist".to_owned() };
    if parent.join("data/application.db").is_dir() {
        return format!("does not exist; did you mean {}?", parent.join("data/application.db").display());
    }
    format!("does not exist, and {} has no other database of the application", parent.display())
}

/// What to say of a directory that is no database.
fn no_database(path: &Path, names: &[String]) -> String {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has("application.db") {
        return "is a node's data directory: give the application.db inside it".to_owned();
    }
    if path.join("data/application.db").is_dir() {
        return "is a node's home: give data/application.db inside it".to_owned();
    }
    if has("data") && has("config") {
        return "is a node's home, but there is no data/application.db inside it".to_owned();
    }
    if let Some(snapshot) = snapshot::suggestion(path) {
        return format!("has state sync snapshots in it: give one of them, e.g. {}", snapshot.display());
    }
    if has("blockstore.db") || has("state.db") || has("priv_validator_state.json") {
        return "is a node's data directory, but there is no application.db inside it".to_owned();
    }
    if has("journal") && (has("sc") || has("ss")) {
        return "is the target of a migration and no node's database: are source and target swapped?".to_owned();
    }
    "has neither a file CURRENT nor a marker.manifest file, so it is not a database directory: give a node's data/application.db, or a \
     state sync snapshot of it, data/snapshots/HEIGHT/FORMAT"
        .to_owned()
}

/// Of a directory's names the newest options file's.
pub(super) fn newest_options(names: &[String]) -> Option<&String> {
    let number = |name: &String| lsm::listing::number(name.strip_prefix("OPTIONS-")?);
    names.iter().filter(|name| number(name).is_some()).max_by_key(|name| number(name))
}

/// The engine that an options file names in its section `[Version]`.
fn options_engine(path: &Path, name: &str) -> Result<Option<EngineKind>, SourceError> {
    use std::io::Read as _;
    let path = path.join(name);
    let mut head = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(OPTIONS_HEAD).read_to_end(&mut head));
    read.map_err(|error| unrecognised(&path, &format!("cannot be read: {error}")))?;
    Ok(engine_named(&head))
}

/// The engine that the begin of an options file names.
pub(super) fn engine_named(options: &[u8]) -> Option<EngineKind> {
    let head = options.get(..options.len().min(OPTIONS_HEAD as usize)).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let says = |key: &str| head.lines().any(|line| line.trim_start().starts_with(key));
    match (says("pebble_version="), says("rocksdb_version=")) {
        (true, false) => Some(EngineKind::Pebble),
        (false, true) => Some(EngineKind::RocksDb),
        _ => None,
    }
}

/// Whether a table ends as goleveldb's do.
fn ends_as_leveldb(path: &Path) -> bool {
    use std::{io::Read as _, io::Seek as _};
    let mut tail = Vec::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        file.seek(std::io::SeekFrom::End(-8))?;
        file.read_to_end(&mut tail)
    });
    read.is_ok() && lsm::footer::is_leveldb(&tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PEBBLE: &str = "[Version]\n  pebble_version=0.1\n";
    const ROCKS: &str = "# a comment\n[Version]\n  rocksdb_version=8.9.1\n  options_file_version=1.1\n";
    const ROCKS_END: &str = "\u{1}some bytes that are no magic";

    #[test]
    fn engines_are_told_apart_by_what_their_directories_have() {
        use EngineKind::{Goleveldb, Pebble, RocksDb};
        let current = ("CURRENT", "MANIFEST-000001\n");
        /// Names and contents of files; the engine, or words of the refusal.
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<EngineKind, &'a [&'a str]>);
        let cases: [Case<'_>; 12] = [
            (&[current, ("000002.log", "")], Ok(Goleveldb)),
            (&[current, ("000005.ldb", "")], Ok(Goleveldb)),
            (&[current, ("OPTIONS-000003", PEBBLE), ("000005.sst", "")], Ok(Pebble)),
            (&[("marker.manifest.000001.MANIFEST-000001", ""), ("OPTIONS-000003", PEBBLE)], Ok(Pebble)),
            (&[("marker.manifest.000001.MANIFEST-000001", "")], Ok(Pebble)),
            (&[current, ("OPTIONS-000003", ROCKS), ("IDENTITY", "x"), ("000005.sst", "")], Ok(RocksDb)),
            (&[current, ("IDENTITY", "x")], Ok(RocksDb)),
            // The newest by number, not by name.
            (&[current, ("OPTIONS-1000000", ROCKS), ("OPTIONS-999999", PEBBLE)], Ok(RocksDb)),
            (
                &[current, ("OPTIONS-000003", PEBBLE), ("000005.ldb", "")],
                Err(&["000005.ldb (goleveldb)", "(PebbleDB)"]),
            ),
            (&[current, ("OPTIONS-000003", PEBBLE), ("IDENTITY", "x")], Err(&["IDENTITY (RocksDB)", "(PebbleDB)"])),
            (&[current, ("OPTIONS-000003", "[Version]\n")], Err(&["OPTIONS-000003", "neither"])),
            (&[current, ("000005.sst", ROCKS_END)], Err(&["000005.sst", "OPTIONS"])),
        ];
        for (files, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for (name, content) in files {
                fs::write(dir.path().join(name), content).unwrap();
            }
            match (detect(dir.path()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{files:?}"),
                (Err(error), Err(words)) => {
                    assert!(words.iter().all(|word| error.to_string().contains(word)), "{files:?}: {error}");
                }
                (found, _) => panic!("{files:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_path_near_a_database_is_refused_saying_where_it_is() {
        let home = tempfile::tempdir().unwrap();
        let said = |path: &Path| detect(path).unwrap_err().to_string();
        let (data, config) = (home.path().join("data"), home.path().join("config"));
        fs::create_dir(&config).unwrap();
        fs::create_dir(&data).unwrap();
        fs::write(data.join("priv_validator_state.json"), "{}").unwrap();
        assert!(said(home.path()).contains("there is no data/application.db"));
        assert!(said(&data).contains("there is no application.db"));
        assert!(said(&data.join("application.db")).contains("does not exist"));
        assert!(said(&data.join("priv_validator_state.json")).contains("is a file"));
        fs::create_dir(data.join("application.db")).unwrap();
        assert!(said(home.path()).contains("home: give data/application.db"));
        assert!(said(&data).contains("give the application.db inside"));
        assert!(said(&data.join("application")).contains("did you mean"));
        assert!(said(&home.path().join("application.db")).contains("did you mean"));
        assert!(said(&config).contains("not a database directory"));
        assert!(said(Path::new("nowhere/at/all")).contains("does not exist"));
    }
}
