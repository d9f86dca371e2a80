//! Checkpoints beside a writer that compacts hard: each one must be a state that the writer committed, whole.
//!
//! The writers are the SDK's own code on goleveldb and PebbleDB (`livev1`), and RocksDB itself. `STORESHIFT_CHECKPOINTS` is how
//! many are made of each, `STORESHIFT_CHECKPOINTS_IN` a directory to do it in: in memory the writers are faster.

use super::{
    go,
    set::{scratch, text},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};
use storeshift::{
    iavl::{self, Access, Claim},
    model::Version,
    source::{
        self, Engine as _, Source, StoreRoot,
        checkpoint::{self, Checkpoint, Request},
        rocks,
    },
};
use tempfile::TempDir;

/// How many checkpoints are made of one database.
fn rounds() -> u64 {
    std::env::var("STORESHIFT_CHECKPOINTS").map_or(50, |rounds| rounds.parse().unwrap())
}

fn ground() -> TempDir {
    std::env::var_os("STORESHIFT_CHECKPOINTS_IN").map_or_else(scratch, |place| tempfile::tempdir_in(place).unwrap())
}

#[derive(Default)]
struct Said {
    hashes: BTreeMap<u64, String>,
    slowest: u64,
    ended: bool,
}

/// `livev1` at work.
pub struct Writer {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<(Mutex<Said>, Condvar)>,
    listener: JoinHandle<()>,
    home: PathBuf,
    backend: &'static str,
}

impl Writer {
    pub fn start(home: &Path, backend: &'static str, more: &[&str]) -> Writer {
        let mut command = Command::new(go::programs().unwrap().join("livev1"));
        command.args(["-out", text(home), "-backend", backend]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let (hearing, out) = (said.clone(), child.stdout.take().unwrap());
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let line = line.unwrap();
                let words: Vec<&str> = line.split(' ').collect();
                let mut said = hearing.0.lock().unwrap();
                said.hashes.insert(words[0].parse().unwrap(), words[1].to_owned());
                said.slowest = said.slowest.max(words[2].parse().unwrap());
                hearing.1.notify_all();
            }
            hearing.0.lock().unwrap().ended = true;
            hearing.1.notify_all();
        });
        let stdin = child.stdin.take();
        Writer { child, stdin, said, listener, home: home.to_owned(), backend }
    }

    /// Starts it where it cannot start, and returns what it says.
    pub fn refused(home: &Path, backend: &str, more: &[&str]) -> String {
        let mut command = Command::new(go::programs().unwrap().join("livev1"));
        command.args(["-out", text(home), "-backend", backend]).args(more).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "it started");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn database(&self) -> PathBuf {
        self.home.join("application.db")
    }

    pub fn newest(&self) -> u64 {
        self.said.0.lock().unwrap().hashes.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// The app hash of a version, once the writer has committed it.
    pub fn hash(&self, version: u64) -> String {
        let waiting = |said: &mut Said| !said.ended && said.hashes.range(version..).next().is_none();
        let said = self.said.1.wait_while(self.said.0.lock().unwrap(), waiting).unwrap();
        said.hashes.get(&version).unwrap_or_else(|| panic!("the writer ended before version {version}")).clone()
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> (u64, String) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the writer failed: {status}");
        self.listener.join().unwrap();
        let said = self.said.0.lock().unwrap();
        let (version, hash) = said.hashes.last_key_value().unwrap();
        (*version, hash.clone())
    }

    /// Has it end as a node does, and the SDK's code open and read what it left.
    pub fn end(mut self) -> (u64, u64) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the writer failed: {status}");
        self.listener.join().unwrap();
        let said = self.said.0.lock().unwrap();
        let (version, hash) = said.hashes.last_key_value().unwrap();
        // A copy: the database itself may be switched right now, and is guarded after that.
        let (copy, database) = (scratch(), self.home.join("application.db"));
        fs::create_dir(copy.path().join("application.db")).unwrap();
        for entry in fs::read_dir(&database).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.starts_with("LOCK") {
                fs::copy(database.join(&name), copy.path().join("application.db").join(&name)).unwrap();
            }
        }
        assert_eq!(reopen(self.backend, copy.path()), (*version, hash.clone()));
        (*version, said.slowest)
    }
}

/// Version and app hash as the SDK's code finds them when it opens a database, and reads all of it.
fn reopen(backend: &str, home: &Path) -> (u64, String) {
    let printed = go::run("livev1", &["-reopen", "-backend", backend, "-out", text(home)], None);
    let (version, hash) = printed.trim().split_once(' ').unwrap();
    (version.parse().unwrap(), hash.to_owned())
}

/// Proves every tree of the latest version from its root down; version, app hash and nodes.
fn prove(source: &dyn Source) -> (u64, String, u64) {
    let latest = source.latest().unwrap();
    let info = source.commit_info(latest).unwrap().unwrap();
    let mut nodes = 0;
    for store in &info.stores {
        let hash = store.root.unwrap();
        let Some(StoreRoot::Node { at, .. }) = source.root(&store.name, latest).unwrap() else { continue };
        let mut reader = source.nodes(&store.name, Access::Points);
        let each = &mut |_: &iavl::ProvenNode<'_>| {
            nodes += 1;
            true
        };
        iavl::prove(&mut *reader, Claim { at, hash }, 64 << 20, each)
            .unwrap_or_else(|error| panic!("store {} at version {latest}: {error}", store.name));
    }
    (latest.0, info.app_hash().to_string(), nodes)
}

/// Version and app hash of a checkpoint, with all of its latest version proven; read by the SDK's code too where `go`.
fn judge(backend: &str, home: &Path, go: bool) -> (u64, String) {
    let source = source::open(&home.join("application.db"), 1 << 20).unwrap();
    let (version, hash, nodes) = prove(source.as_ref());
    assert!(nodes > 100, "{nodes} nodes");
    if go {
        assert_eq!(reopen(backend, home), (version, hash.clone()));
    }
    (version, hash)
}

/// No file in the database directory but those its engine makes.
pub fn nothing_of_ours(database: &Path) {
    for entry in fs::read_dir(database).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let numbered = name.split_once('.').is_some_and(|(number, tail)| {
            number.bytes().all(|b| b.is_ascii_digit()) && ["ldb", "sst", "log", "tmp"].contains(&tail)
        });
        let named = ["CURRENT", "LOCK", "LOG", "MANIFEST-", "OPTIONS-", "marker.", "IDENTITY"];
        assert!(numbered || named.iter().any(|begin| name.starts_with(begin)), "{name}");
    }
}

fn race(backend: &'static str, more: &[&str], elsewhere: Option<&Path>) {
    if go::programs().is_none() {
        return;
    }
    let dir = elsewhere.map_or_else(ground, |_| scratch());
    let writer = Writer::start(&dir.path().join("node"), backend, more);
    let home = elsewhere.map_or(dir.path().join("copy"), |path| path.join("copy"));
    let (source, into) = (writer.database(), home.join("application.db"));
    // Enough versions for pruning to have begun.
    writer.hash(30);
    let (mut passes, mut most, mut files) = (0, 0, 0);
    for round in 0..rounds() {
        let before = writer.newest();
        let request = Request { source: &source, into: &into, reserve: 0, copies: elsewhere.is_some() };
        let taken = checkpoint::take(&request).unwrap();
        assert_eq!(checkpoint::find(&into), Some(taken.clone()));
        assert_eq!(if elsewhere.is_some() { taken.linked } else { taken.copied }, 0);
        (passes, most) = (passes + taken.passes, most.max(taken.passes));
        files += taken.linked + taken.copied;
        let (version, hash) = judge(backend, &home, round % 10 == 0);
        assert!(version >= before, "version {version}, and {before} was committed before the checkpoint was begun");
        // It may be on disk an instant before the writer says so; and the writer has to go on meanwhile.
        assert_eq!(writer.hash(version), hash, "app hash of version {version}");
        writer.hash(before + 1);
        if round % 10 == 0 {
            // Go has opened it and made files of its own there.
            fs::remove_dir_all(&home).unwrap();
        }
        checkpoint::remove(&into).unwrap();
        nothing_of_ours(&source);
    }
    let (version, slowest) = writer.end();
    println!(
        "{backend} {more:?}: {} checkpoints of {files} tables beside {version} versions; {passes} passes, {most} at most for \
         one; the slowest commit took {} ms",
        rounds(),
        slowest / 1000
    );
}

#[test]
fn every_checkpoint_beside_a_compacting_goleveldb_is_a_committed_state_whole() {
    race("goleveldb", &["-write-buffer", "48"], None);
}

#[test]
fn every_checkpoint_beside_a_compacting_pebbledb_is_a_committed_state_whole() {
    race("pebbledb", &["-write-buffer", "64"], None);
}

#[test]
fn every_checkpoint_of_a_pebbledb_that_keeps_its_manifest_in_a_marker_is_whole() {
    race("pebbledb", &["-write-buffer", "64", "-format", "16"], None);
}

#[test]
fn tables_are_copied_where_they_cannot_be_linked() {
    let shared = Path::new("/dev/shm");
    let here = scratch();
    if !shared.is_dir() || shared.metadata().unwrap().dev() == here.path().metadata().unwrap().dev() {
        return go::skipped("a second file system at /dev/shm");
    }
    let other = tempfile::tempdir_in(shared).unwrap();
    race("goleveldb", &["-write-buffer", "48"], Some(other.path()));
    race("pebbledb", &["-write-buffer", "64"], Some(other.path()));
}

/// Batch `n` writes `n` under one of these keys, in turn, and under `newest`.
const KEYS: u64 = 200;

/// The value under key `at` once batch `newest` was the last.
fn expected(newest: u64, at: u64) -> Option<u64> {
    (newest >= at).then(|| newest - (newest - at) % KEYS)
}

fn rocks(recycled: usize) {
    let dir = ground();
    let (source, into) = (dir.path().join("node"), dir.path().join("copy"));
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_write_buffer_size(64 << 10);
    options.set_target_file_size_base(32 << 10);
    options.set_max_bytes_for_level_base(128 << 10);
    options.set_level_zero_file_num_compaction_trigger(2);
    options.set_recycle_log_file_num(recycled);
    let database = rocksdb::DB::open(&options, &source).unwrap();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (ask, newest) = (stop.clone(), written.clone());
    let writer = std::thread::spawn(move || {
        let mut n = 0u64;
        while !ask.load(Ordering::SeqCst) {
            n += 1;
            let mut value = n.to_be_bytes().to_vec();
            // All of one length, so that all logs are: RocksDB may close a log after its file has become another, and cuts that
            // one off where the older log ended. What it loses itself is not for a checkpoint to have.
            value.resize(1000, b'x');
            let mut batch = rocksdb::WriteBatch::default();
            batch.put((n % KEYS).to_be_bytes(), &value);
            batch.put(b"newest", &value);
            database.write(batch).unwrap();
            newest.store(n, Ordering::SeqCst);
        }
        database
    });
    let number = |value: Vec<u8>| u64::from_be_bytes(value[..8].try_into().unwrap());
    let (mut passes, mut tables) = (0, 0);
    for _ in 0..rounds() {
        let before = written.load(Ordering::SeqCst);
        let taken: Checkpoint =
            checkpoint::take(&Request { source: &source, into: &into, reserve: 0, copies: false }).unwrap();
        (passes, tables) = (passes + taken.passes, tables + taken.linked);
        let copy = rocksdb::DB::open_for_read_only(&rocksdb::Options::default(), &into, false).unwrap();
        let found = copy.get(b"newest").unwrap().map_or(0, number);
        assert!(found >= before, "{found}, and {before} was written before the checkpoint was begun");
        for at in 0..KEYS {
            let value = copy.get(at.to_be_bytes()).unwrap().map(number);
            assert_eq!(value, expected(found, at).filter(|n| *n > 0), "key {at} after batch {found}");
        }
        drop(copy);
        let bounds = rocks::Options { cache_bytes: 1 << 20, open_files: 50, log_bytes: 1 << 30 };
        let ours = rocks::Rocks::open(&into, bounds).unwrap_or_else(|error| panic!("after batch {found}: {error}"));
        assert_eq!(ours.get(b"newest").unwrap().map_or(0, number), found);
        drop(ours);
        checkpoint::remove(&into).unwrap();
        nothing_of_ours(&source);
        while written.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }
    stop.store(true, Ordering::SeqCst);
    let database = writer.join().unwrap();
    let last = written.load(Ordering::SeqCst);
    drop(database);
    let database = rocksdb::DB::open(&options, &source).unwrap();
    assert_eq!(database.get(b"newest").unwrap().map(number), Some(last));
    println!(
        "RocksDB, {recycled} logs recycled: {} checkpoints of {tables} tables beside {last} batches; {passes} passes",
        rounds()
    );
}

#[test]
fn every_checkpoint_beside_a_compacting_rocksdb_is_a_prefix_of_its_batches() {
    rocks(0);
}

#[test]
fn every_checkpoint_of_a_rocksdb_that_writes_over_old_logs_is_a_prefix_of_its_batches() {
    rocks(4);
}

#[test]
fn a_store_that_is_one_version_ahead_of_the_latest_is_read_at_the_latest() {
    // What a commit leaves that was in between: the trees are written first, `s/latest` last.
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let home = dir.path().join("node");
    let writer = Writer::start(&home, "goleveldb", &["-write-buffer", "48"]);
    writer.hash(1);
    let mut ahead = 0;
    for round in 0..rounds() * 4 {
        let into = dir.path().join("copy");
        let request = Request { source: &writer.database(), into: &into, reserve: 0, copies: false };
        checkpoint::take(&request).unwrap();
        let source = source::open(&into, 1 << 20).unwrap();
        let latest = source.latest().unwrap();
        let info = source.commit_info(latest).unwrap().unwrap();
        let next = Version(latest.0 + 1);
        ahead += u64::from(info.stores.iter().any(|store| source.root(&store.name, next).unwrap().is_some()));
        let (_, hash, _) = prove(source.as_ref());
        assert_eq!(writer.hash(latest.0), hash, "round {round}");
    }
    println!("{ahead} of {} checkpoints had a store ahead", rounds() * 4);
    writer.end();
}
