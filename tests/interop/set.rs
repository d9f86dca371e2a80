//! Sets of a real store/v1 database with what is expected of it, and the real program run on them.

use super::{go::check, reader};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

#[path = "../fixtures/oldest.rs"]
mod oldest;
use oldest::FIXTURES;

/// Above so many keys a judge that walks whole trees is asked about fewer versions.
const MANY_KEYS: u64 = 100_000;

/// A database with what is expected of it.
pub struct Set {
    pub name: String,
    root: PathBuf,
    // Links to the database's files: what Go creates beside them (a lock) stays out of the set.
    source: TempDir,
    oldest: Option<u64>,
    expected: Value,
}

/// A finished migration.
pub struct Migrated {
    pub dir: TempDir,
    pub printed: String,
    pub height: u64,
}

/// The fixtures, and the sets of `STORESHIFT_DATA`.
pub fn all() -> Vec<Set> {
    let mut sets = fixtures();
    if let Some(data) = std::env::var_os("STORESHIFT_DATA") {
        let known =
            ["small", "pruned", "initial", "medium", "pebble", "v0", "mixed"].map(|name| Path::new(&data).join(name));
        let there: Vec<_> = known.into_iter().filter(|root| root.join("expected.json").exists()).collect();
        assert!(!there.is_empty(), "no set in {data:?}");
        sets.extend(there.into_iter().map(|root| Set::new(root, None)));
    }
    sets
}

/// The fixtures.
pub fn fixtures() -> Vec<Set> {
    FIXTURES.iter().map(|(name, _)| fixture(name)).collect()
}

/// One of the fixtures.
pub fn fixture(name: &str) -> Set {
    let (_, oldest) = FIXTURES.iter().find(|(fixture, _)| *fixture == name).unwrap();
    Set::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name), Some(*oldest))
}

/// A directory for one test's results.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Set {
    fn new(root: PathBuf, oldest: Option<u64>) -> Set {
        let source = scratch();
        let database = source.path().join("application.db");
        fs::create_dir(&database).unwrap();
        for entry in fs::read_dir(root.join("application.db")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "LOCK" {
                std::os::unix::fs::symlink(fs::canonicalize(entry.path()).unwrap(), database.join(entry.file_name()))
                    .unwrap();
            }
        }
        let expected = serde_json::from_slice(&fs::read(root.join("expected.json")).unwrap()).unwrap();
        let name = root.file_name().unwrap().to_str().unwrap().to_owned();
        Set { name, root, source, oldest, expected }
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.source.path().join("application.db")
    }

    /// The database on goleveldb, which is the only engine that the programs of `tests/oracle` open: of another one, what
    /// cosmos-db reads in it.
    pub fn goleveldb(&self, scratch: &Path) -> PathBuf {
        if self.expected["backend"] == "goleveldb" {
            return self.database();
        }
        let (copy, pairs, to) = (scratch.join("pebble.db"), scratch.join("source.pairs"), scratch.join("source.db"));
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(self.database()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        let mut out = Vec::new();
        for (key, value) in super::leveldb::go_dump("pebble", &copy) {
            for field in [key, value] {
                out.extend((field.len() as u32).to_le_bytes());
                out.extend(field);
            }
        }
        fs::write(&pairs, out).unwrap();
        super::go::run("goload", &["-to", text(&to)], Some(&pairs));
        to
    }

    /// A file of the set.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The newest version of the database.
    pub fn latest(&self) -> u64 {
        self.expected["latest_version"].as_u64().unwrap()
    }

    /// Whether it is one of the fixtures.
    pub fn is_fixture(&self) -> bool {
        self.oldest.is_some()
    }

    /// The oldest version that can be read.
    pub fn oldest(&self) -> u64 {
        self.oldest.unwrap()
    }

    /// What is expected of a version.
    pub fn version(&self, version: u64) -> &Value {
        let versions = self.expected["versions"].as_array().unwrap();
        versions.iter().find(|expected| expected["version"] == version).unwrap()
    }

    /// The stores that have to be there at a version, with what is expected of each.
    pub fn stores(&self, version: u64) -> impl Iterator<Item = (&str, &Value)> {
        self.version(version)["stores"].as_object().unwrap().iter().map(|(name, store)| (name.as_str(), store))
    }

    /// Whether SDK 0.46, which counted memory stores into the app hash, committed any of its versions.
    pub fn has_memory_stores(&self) -> bool {
        self.expected["versions"].as_array().unwrap().iter().any(|version| version.get("iavl_hash").is_some())
    }

    /// The app hash of a version, or, where memory stores counted, the hash over the IAVL stores alone.
    pub fn app_hash(&self, version: u64) -> &str {
        let version = self.version(version);
        version.get("iavl_hash").unwrap_or(&version["app_hash"]).as_str().unwrap()
    }

    /// Whether there are versions after those of the database, to be replayed on what comes of it.
    pub fn has_live_versions(&self) -> bool {
        self.expected["versions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|version| version["version"].as_u64() > Some(self.latest()))
    }

    /// Whether looking at every version would take too long.
    pub fn is_large(&self) -> bool {
        self.stores(self.latest()).map(|(_, store)| store["keys"].as_u64().unwrap()).sum::<u64>() > MANY_KEYS
    }

    /// A number of leaves that cuts the set into many chunks.
    pub fn few_leaves(&self) -> &str {
        if self.is_large() { "2000" } else { "20" }
    }

    /// Runs the program on the set, into a new target.
    pub fn migrate(&self, options: &[&str]) -> Migrated {
        let dir = scratch();
        let program = env!("CARGO_BIN_EXE_storeshift");
        let mut run = Command::new(program);
        run.args(["run", "--source", text(&self.database()), "--target", text(dir.path())]).args(options);
        if self.has_memory_stores() {
            run.arg("--leave-out-memory-stores");
        }
        let printed = check(&mut run);
        let status = check(Command::new(program).args(["status", "--json", "--target", text(dir.path())]));
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!((&status["phase"], &status["applied"]), (&"Done".into(), &self.latest().into()), "{}", self.name);
        let height = status["height"].as_u64().unwrap();
        let wanted = if options.contains(&"oldest") { self.oldest } else { Some(self.latest()) };
        assert!(wanted.is_none_or(|wanted| wanted == height), "{}: snapshot of version {height}", self.name);
        Migrated { dir, printed, height }
    }
}

impl Migrated {
    /// State commitment.
    pub fn sc(&self) -> PathBuf {
        self.dir.path().join("sc")
    }

    /// State storage.
    pub fn ss(&self) -> PathBuf {
        self.dir.path().join("ss")
    }

    /// All pairs of the state commitment in a file.
    pub fn pairs(&self) -> PathBuf {
        let to = self.dir.path().join("pairs");
        reader::dump_pairs(&self.sc(), &to);
        to
    }

    /// All records of the state storage in a file.
    pub fn entries(&self) -> PathBuf {
        let to = self.dir.path().join("entries");
        reader::dump_entries(&self.ss(), &to);
        to
    }

    /// The state commitment as a database that the Go code opens.
    pub fn go_commitment(&self) -> PathBuf {
        let to = self.dir.path().join("sc.db");
        super::go::run("goload", &["-to", text(&to)], Some(&self.pairs()));
        to
    }
}
