//! Checkpoints of databases that move while they are made, at a moment that the test chooses: when a file of theirs is made or linked.

use super::*;
use crate::disk::{self, Disk, DiskFile, Making, Mounted, Real};
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

type Act = Box<dyn FnOnce() + Send>;

/// A disk on which something happens to the source at each link to, making of, or removal of the files named, in this order.
#[derive(Default)]
struct Moving {
    acts: Mutex<VecDeque<(&'static str, Act)>>,
    /// What links come to, other than that they are made.
    refuses: Mutex<Option<(&'static str, io::ErrorKind)>>,
}

impl std::fmt::Debug for Moving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Moving")
    }
}

impl Moving {
    fn moves(&self, path: &Path) {
        let mut acts = self.acts.lock().unwrap();
        if acts.front().is_some_and(|(name, _)| path.ends_with(name)) {
            let (_, act) = acts.pop_front().unwrap();
            drop(acts);
            act();
        }
    }
}

impl Disk for Moving {
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
        self.moves(path);
        Real.make(path, making)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Real.open(path)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        Real.make_directory(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.moves(to);
        if let Some((_, kind)) = self.refuses.lock().unwrap().filter(|(name, _)| to.ends_with(name) || name.is_empty())
        {
            return Err(kind.into());
        }
        Real.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.moves(path);
        Real.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        Real.remove_directory(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        Real.remove_all(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        Real.sync(path)
    }
}

const LOG_5: &[u8] = b"\x02\x05";
const LOG_7: &[u8] = b"\x02\x07";
const GONE: &[u8] = b"\x06\x01\x09";
/// As [`ADD`], of table 12.
const ADD_12: &[u8] = b"\x07\x01\x0c\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00";

/// A database of one table and one log, and where its checkpoint goes.
struct Database {
    dir: TempDir,
    disk: Arc<Moving>,
    _mounted: Mounted,
}

impl Database {
    fn new(engine: EngineKind) -> Database {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Moving::default());
        let _mounted = disk::mount(&dir.path().join("into"), disk.clone());
        let database = Database { dir, disk, _mounted };
        fs::create_dir(database.source()).unwrap();
        database.put("CURRENT", b"MANIFEST-000003\n");
        if engine == EngineKind::Pebble {
            database.put("OPTIONS-000004", b"[Version]\n  pebble_version=0.1\n");
        }
        database.put("MANIFEST-000003", &manifest(&[LOG_5, ADD]));
        database.put(if engine == EngineKind::Pebble { "000009.sst" } else { "000009.ldb" }, &[9; 100]);
        database.put("000005.log", b"");
        database
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("into/checkpoint")
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.source().join(name), content).unwrap();
    }

    /// What the node does when this file is next linked, copied or removed.
    fn when(&self, name: &'static str, act: impl FnOnce(&Path) + Send + 'static) -> &Database {
        let source = self.source();
        self.disk.acts.lock().unwrap().push_back((name, Box::new(move || act(&source))));
        self
    }

    fn take(&self) -> Result<Checkpoint, CheckpointError> {
        let taken = take(&request(&self.source(), &self.place()));
        assert!(self.disk.acts.lock().unwrap().is_empty(), "something did not happen: {taken:?}");
        assert_eq!(taken.is_err(), !self.place().exists(), "what was not finished is gone");
        taken
    }

    /// What the checkpoint has, but for its marker.
    fn has(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != MARKER);
        names.sort();
        names
    }

    fn copy_of(&self, name: &str) -> Vec<u8> {
        fs::read(self.place().join(name)).unwrap()
    }
}

fn write(source: &Path, name: &str, content: &[u8]) {
    fs::write(source.join(name), content).unwrap();
}

#[test]
fn a_log_that_is_done_with_meanwhile_is_not_copied_and_what_became_of_it_is() {
    let database = Database::new(EngineKind::Goleveldb);
    database.when("000009.ldb", |source| {
        write(source, "000012.ldb", &[12; 100]);
        write(source, "000007.log", b"new");
        write(source, "MANIFEST-000003", &manifest(&[LOG_5, ADD, LOG_7, ADD_12]));
    });
    let taken = database.take().unwrap();
    assert_eq!((taken.passes, taken.linked), (2, 2));
    assert_eq!(database.has(), ["000007.log", "000009.ldb", "000012.ldb", "CURRENT", "MANIFEST-000003"]);
    assert_eq!(database.copy_of("MANIFEST-000003"), manifest(&[LOG_5, ADD, LOG_7, ADD_12]));
}

#[test]
fn a_table_that_went_meanwhile_is_kept_where_its_number_is_its_own_and_let_go_where_it_is_given_away_again() {
    for (engine, table, passes) in [(EngineKind::Goleveldb, "000009.ldb", 2), (EngineKind::Pebble, "000009.sst", 1)] {
        let database = Database::new(engine);
        database.when(table, |source| write(source, "MANIFEST-000003", &manifest(&[LOG_5, ADD, GONE])));
        let taken = database.take().unwrap();
        assert_eq!((taken.passes, taken.linked), (passes, 2 - passes), "{engine:?}");
        // Of the state before it went, and of the one after.
        let of_state = if passes == 1 { manifest(&[LOG_5, ADD]) } else { manifest(&[LOG_5, ADD, GONE]) };
        assert_eq!(database.copy_of("MANIFEST-000003"), of_state, "{engine:?}");
        assert_eq!(database.has().contains(&table.to_owned()), passes == 1, "{engine:?}");
    }
}

#[test]
fn where_another_manifest_is_begun_meanwhile_all_is_brought_over_anew() {
    let begin = |source: &Path| {
        write(source, "000012.ldb", &[12; 100]);
        write(source, "MANIFEST-000011", &manifest(&[LOG_5, ADD_12]));
        write(source, "CURRENT", b"MANIFEST-000011\n");
    };
    for moment in ["000009.ldb", "000005.log"] {
        let database = Database::new(EngineKind::Goleveldb);
        let taken = database.when(moment, begin).take().unwrap();
        assert_eq!((taken.passes, taken.linked), (2, 1), "{moment}");
        assert_eq!(database.has(), ["000005.log", "000012.ldb", "CURRENT", "MANIFEST-000011"], "{moment}");
    }
    // Between two passes.
    let database = Database::new(EngineKind::Goleveldb);
    database.when("000009.ldb", move |source| {
        begin(source);
        write(source, "MANIFEST-000003", &manifest(&[LOG_5, ADD, LOG_7]));
    });
    assert_eq!(database.take().unwrap().passes, 3);
    assert_eq!(database.has(), ["000005.log", "000012.ldb", "CURRENT", "MANIFEST-000011"]);
    // The one that was followed is gone with it.
    let database = Database::new(EngineKind::Goleveldb);
    database.when("000009.ldb", move |source| {
        begin(source);
        fs::remove_file(source.join("MANIFEST-000003")).unwrap();
    });
    database.take().unwrap();
    assert_eq!(database.has(), ["000005.log", "000012.ldb", "CURRENT", "MANIFEST-000011"]);
}

#[test]
fn a_log_that_is_cut_off_or_becomes_another_one_while_it_is_copied_is_copied_again() {
    let database = Database::new(EngineKind::Goleveldb);
    database.put("000005.log", &[5; 1000]);
    database.when("000005.log", |source| write(source, "000005.log", &[5; 600]));
    assert_eq!(database.take().unwrap().passes, 2);
    assert_eq!(database.copy_of("000005.log"), [5; 600]);
    let database = Database::new(EngineKind::Pebble);
    database.when("000005.log", |source| {
        fs::rename(source.join("000005.log"), source.join("000007.log")).unwrap();
        write(source, "MANIFEST-000003", &manifest(&[LOG_5, ADD, LOG_7]));
    });
    assert_eq!(database.take().unwrap().passes, 2);
    assert!(database.has().contains(&"000007.log".to_owned()) && !database.has().contains(&"000005.log".to_owned()));
}

#[test]
fn a_manifest_that_is_damaged_for_a_moment_is_read_again_from_its_beginning() {
    let (good, mut bad) = (manifest(&[LOG_5, ADD]), manifest(&[LOG_5, ADD, LOG_7]));
    // In the checksum of what it has grown by.
    let grown = good.len();
    bad[grown] ^= 1;
    // More follows, so it is no end that is not whole yet.
    bad.extend(manifest(&[LOG_7]));
    let database = Database::new(EngineKind::Goleveldb);
    database.when("000009.ldb", move |source| write(source, "MANIFEST-000003", &bad));
    // What was brought over by it is let go of.
    database.when("000009.ldb", move |source| write(source, "MANIFEST-000003", &good));
    let taken = database.take().unwrap();
    assert_eq!((taken.passes, taken.linked), (2, 1));
    assert_eq!(database.copy_of("MANIFEST-000003"), manifest(&[LOG_5, ADD]));
}

#[test]
fn a_table_that_cannot_be_linked_is_copied_and_one_that_changes_or_goes_meanwhile_is_never_half_there() {
    // It has as many links as it may have.
    let database = Database::new(EngineKind::Goleveldb);
    database.put("MANIFEST-000003", &manifest(&[LOG_5, ADD, ADD_12]));
    database.put("000012.ldb", &[12; 100]);
    *database.disk.refuses.lock().unwrap() = Some(("000009.ldb", io::ErrorKind::TooManyLinks));
    let taken = database.take().unwrap();
    assert_eq!((taken.linked, taken.copied), (1, 1));
    assert_eq!(database.copy_of("000009.ldb"), [9; 100]);
    // Links are refused for all.
    let all = Some(("", io::ErrorKind::CrossesDevices));
    *database.disk.refuses.lock().unwrap() = all;
    let taken = database.take().unwrap();
    assert_eq!((taken.linked, taken.copied), (0, 2));
    // It goes before it is opened, and the manifest says so afterwards.
    remove(&database.place()).unwrap();
    database.when("000009.ldb", |source| {
        fs::remove_file(source.join("000009.ldb")).unwrap();
        write(source, "MANIFEST-000003", &manifest(&[LOG_5, ADD, ADD_12, GONE]));
    });
    let taken = database.take().unwrap();
    assert_eq!((taken.passes, taken.copied), (2, 1));
    assert!(!database.has().contains(&"000009.ldb".to_owned()));
    // It is cut off while it is copied, which no engine does.
    let database = Database::new(EngineKind::Goleveldb);
    *database.disk.refuses.lock().unwrap() = all;
    database.when("000009.ldb", |_| {}).when("000009.ldb", |source| write(source, "000009.ldb", &[9; 60]));
    let error = database.take().unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("ends at byte 60"), "{error}");
    // It has another size than the manifest says.
    let error = database.take().unwrap_err();
    assert!(error.to_string().contains("has 60 bytes, and the manifest says 100"), "{error}");
    // What it was is not known: that is said, and nothing is copied.
    *database.disk.refuses.lock().unwrap() = Some(("", io::ErrorKind::Other));
    let error = database.take().unwrap_err();
    assert!(matches!(&error, CheckpointError::Io { doing: "link", .. }), "{error}");
}
