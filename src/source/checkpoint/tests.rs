//! Checkpoints of databases that stand still: what is in them, what a crash leaves of them, what is refused. Those of databases
//! that do not are in `moving`, and raced in `tests/interop`.

mod moving;

use super::{edits::Edits, engine::Head, *};
use crate::source::{detect::EngineKind, leveldb, lsm::Options};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db")
}

/// A copy of a fixture and where its checkpoint goes, on one file system.
fn copied(name: &str) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (source, into) = (dir.path().join("source"), dir.path().join("deep/er/checkpoint"));
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    (dir, source, into)
}

fn request<'a>(source: &'a Path, into: &'a Path) -> Request<'a> {
    Request { source, into, reserve: 0, copies: true }
}

fn pairs(directory: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let database = leveldb::open(directory, Options::default()).unwrap();
    let mut iter = database.iter(b"", None);
    let mut pairs = Vec::new();
    while let Some((key, value)) = iter.next().unwrap() {
        pairs.push((key.to_vec(), value.to_vec()));
    }
    pairs
}

#[test]
fn a_checkpoint_of_a_database_that_stands_still_holds_every_pair_and_outlives_it() {
    for name in ["small", "pruned", "initial", "unflushed"] {
        let (_dir, source, into) = copied(name);
        let all = pairs(&source);
        assert!(!all.is_empty());
        let taken = take(&request(&source, &into)).unwrap();
        assert_eq!((taken.copied, taken.passes, taken.engine.as_str()), (0, 1, "goleveldb"));
        assert_eq!(find(&into), Some(taken));
        fs::remove_dir_all(&source).unwrap();
        assert_eq!(pairs(&into), all, "{name}");
        remove(&into).unwrap();
        assert!(!into.exists());
        remove(&into).unwrap();
    }
}

#[test]
fn what_a_crash_left_is_no_checkpoint_and_is_cleared_away_by_the_next() {
    let (_dir, source, into) = copied("small");
    let all = pairs(&source);
    take(&request(&source, &into)).unwrap();
    let complete: Vec<PathBuf> = fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Its marker not renamed yet, or renamed back already, and any one file there or not.
    for gone in &complete {
        take(&request(&source, &into)).unwrap();
        fs::rename(into.join(MARKER), into.join(BEGUN)).unwrap();
        let _ = fs::remove_file(gone);
        assert_eq!(find(&into), None);
        take(&request(&source, &into)).unwrap();
        assert_eq!(pairs(&into), all);
    }
    // Complete, and a file is lost later.
    for gone in complete.iter().filter(|path| !path.ends_with(MARKER)) {
        take(&request(&source, &into)).unwrap();
        fs::remove_file(gone).unwrap();
        assert_eq!(find(&into), None, "{}", gone.display());
    }
}

#[test]
fn a_directory_that_is_no_checkpoint_is_left_alone() {
    let (dir, source, _) = copied("small");
    let into = dir.path().join("precious");
    fs::create_dir(&into).unwrap();
    fs::write(into.join("file"), "x").unwrap();
    assert!(matches!(take(&request(&source, &into)), Err(CheckpointError::Foreign { .. })));
    assert!(matches!(remove(&into), Err(CheckpointError::Foreign { .. })));
    assert_eq!(fs::read(into.join("file")).unwrap(), b"x");
}

#[test]
fn a_table_that_is_missing_or_cut_is_named_and_nothing_is_left() {
    let (_dir, source, into) = copied("small");
    let table = source.join("000034.ldb");
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, &bytes[1..]).unwrap();
    let error = take(&request(&source, &into)).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("000034.ldb"), "{error}");
    fs::remove_file(&table).unwrap();
    let error = take(&request(&source, &into)).unwrap_err();
    assert!(matches!(&error, CheckpointError::Restless { what, .. } if what.contains("table 34")), "{error}");
    assert!(!into.exists());
}

#[test]
fn without_room_nothing_is_copied_and_without_leave_neither() {
    let (_dir, source, _) = copied("small");
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let into = other.path().join("checkpoint");
    if fs::hard_link(source.join("CURRENT"), other.path().join("tried")).is_ok() {
        return;
    }
    let mut asked = Request { reserve: u64::MAX / 2, ..request(&source, &into) };
    assert!(matches!(take(&asked), Err(CheckpointError::NoRoom { .. })));
    (asked.reserve, asked.copies) = (0, false);
    assert!(matches!(take(&asked), Err(CheckpointError::NoLinks { .. })));
    assert!(!into.exists());
    asked.copies = true;
    let taken = take(&asked).unwrap();
    assert!(taken.linked == 0 && taken.copied > 5);
    assert_eq!(pairs(&into), pairs(&source));
}

/// A manifest of these records, each in one chunk.
fn manifest(records: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        let covered = [&[1][..], record].concat();
        let crc = crc32c::crc32c(&covered).rotate_right(15).wrapping_add(0xa282_ead8);
        bytes.extend(crc.to_le_bytes());
        bytes.extend((record.len() as u16).to_le_bytes());
        bytes.extend(covered);
    }
    bytes
}

const ADD: &[u8] = b"\x07\x01\x09\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00";

#[test]
fn a_manifest_is_followed_while_it_grows_and_cut_after_its_last_whole_record() {
    let mut edits = Edits::new(EngineKind::Goleveldb);
    let all = manifest(&[
        b"\x02\x05",
        ADD,
        b"\x06\x01\x09\x07\x02\x09\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x06\x02\x09",
        ADD,
    ]);
    let first = manifest(&[b"\x02\x05", ADD]).len();
    edits.read(&all[..first + 3]).unwrap();
    assert_eq!((edits.end(), edits.log()), (first, 5));
    assert_eq!(edits.files(), [(9, Some(100))].into());
    let moved = first
        + manifest(&[
            b"\x06\x01\x09\x07\x02\x09\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00",
        ])
        .len();
    edits.read(&all[..moved]).unwrap();
    assert!(edits.take_removed().is_empty(), "it moved to another level");
    edits.read(&all).unwrap();
    // goleveldb gives the number away again: live, and another table.
    assert_eq!(edits.take_removed(), [9].into());
    assert_eq!(edits.files(), [(9, Some(100))].into());
}

#[test]
fn tables_of_pebble_that_are_parts_of_a_file_keep_it_live() {
    let mut edits = Edits::new(EngineKind::Pebble);
    // A file of 7 bytes, and two tables that are parts of it.
    let part = |number: u8| {
        [
            &b"\x67\x01"[..],
            &[number],
            b"\x03\x08a\x00\x00\x00\x00\x00\x00\x00\x08b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x42\x32\x01",
        ]
        .concat()
    };
    let records: [&[u8]; 4] = [b"\x69\x32\x07", &part(9), &part(10), b"\x06\x01\x09"];
    edits.read(&manifest(&records)).unwrap();
    assert_eq!(edits.files(), [(50, Some(7))].into());
    assert!(edits.take_removed().is_empty());
    // A table that takes the place of the last part, without a word of that one, lets the file go as well.
    let whole = b"\x67\x01\x0a\x03\x08a\x00\x00\x00\x00\x00\x00\x00\x08b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
    edits.read(&manifest(&[&records[..], &[&whole[..]]].concat())).unwrap();
    assert_eq!((edits.files(), edits.take_removed()), ([(10, Some(3))].into(), [50].into()));
}

#[test]
fn what_one_directory_does_not_hold_is_refused() {
    for (engine, record) in [
        (EngineKind::RocksDb, &b"\xc8\x01\x01"[..]),
        (EngineKind::RocksDb, b"\xc9\x01\x01c"),
        (EngineKind::RocksDb, b"\x66\x01\x09\x01\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        (EngineKind::RocksDb, b"\x67\x01\x09\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x41\x01\x02\x01"),
        (EngineKind::RocksDb, b"\x90\x03\x01"),
        (EngineKind::Goleveldb, b"\x67\x01\x09\x64\x09a\x00\x00\x00\x00\x00\x00\x00\x00\x09b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"),
        (EngineKind::Pebble, b"\x07\x01\x09\x64\x05a"),
    ] {
        assert!(Edits::new(engine).read(&manifest(&[record])).is_err(), "{record:?}");
    }
    // One that any release may pass over.
    Edits::new(EngineKind::RocksDb).read(&manifest(&[b"\x81\x40\x02id\xc8\x01\x00"])).unwrap();
}

#[test]
fn the_manifest_in_force_is_found_as_each_engine_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    let head = || Head::read(dir.path()).unwrap().unwrap();
    put("CURRENT", "MANIFEST-000003\n");
    assert_eq!((head().engine, head().manifest.as_str()), (EngineKind::Goleveldb, "MANIFEST-000003"));
    put("OPTIONS-000004", "[Version]\n  pebble_version=0.1\n");
    // A marker counts only from format 2 on.
    put("marker.manifest.000001.MANIFEST-000008", "");
    assert_eq!((head().engine, head().manifest.as_str()), (EngineKind::Pebble, "MANIFEST-000003"));
    put("marker.format-version.000015.016", "");
    put("marker.manifest.000010.MANIFEST-000009", "");
    assert_eq!(head().manifest, "MANIFEST-000009");
    // A name that is no options file's says nothing, and RocksDB may have been told to write no IDENTITY.
    put("OPTIONS-x", "[Version]\n  rocksdb_version=8.9.1\n");
    assert_eq!(head().engine, EngineKind::Pebble);
    put("OPTIONS-000005", "[Version]\n  rocksdb_version=8.9.1\n");
    assert_eq!(head().engine, EngineKind::RocksDb);
    put("IDENTITY", "x");
    assert_eq!((head().engine, head().manifest.as_str()), (EngineKind::RocksDb, "MANIFEST-000003"));
    put("OPTIONS-000006", "[DBOptions]\n  wal_dir=/elsewhere/wal\n");
    assert!(matches!(engine::settings(dir.path()), Err(CheckpointError::Unsupported { .. })));
    put("CURRENT", "x");
    assert!(matches!(Head::read(dir.path()), Err(CheckpointError::Damaged { .. })));
}

#[test]
fn of_two_logs_the_newer_one_is_copied_first() {
    // Otherwise the older one might be cut where the newer one goes on.
    let dir = tempfile::tempdir().unwrap();
    let (source, into) = (dir.path().join("source"), dir.path().join("into"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("CURRENT"), "MANIFEST-000003\n").unwrap();
    fs::write(source.join("MANIFEST-000003"), manifest(&[b"\x02\x05"])).unwrap();
    for log in ["000004.log", "000005.log", "000006.log"] {
        fs::File::create(source.join(log)).unwrap().set_len(64 << 20).unwrap();
    }
    let (older, newer) = (into.join("000005.log"), into.join("000006.log"));
    let (mut orders, mut newer_alone) = (0u64, false);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| take(&request(&source, &into)).unwrap());
        while !taking.is_finished() {
            assert!(!older.exists() || newer.exists(), "the older one was first");
            newer_alone |= newer.exists() && !older.exists();
            orders += 1;
        }
    });
    assert!(newer_alone, "not seen in {orders} looks");
    assert!(older.exists() && newer.exists() && !into.join("000004.log").exists(), "log 4 is in tables already");
}

#[test]
fn where_links_are_refused_a_later_checkpoint_copies_only_what_is_new() {
    let (_dir, source, _) = copied("small");
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    if fs::hard_link(source.join("CURRENT"), other.path().join("tried")).is_ok() {
        return;
    }
    let trail = Trail::under(&other.path().join("trail"));
    let take = || trail.take(&source, 0, None).unwrap();
    let (first, one) = take();
    let log = pass::first_log(&one.path).unwrap();
    let tables: Vec<PathBuf> = fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "ldb"))
        .collect();
    let number = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let old = tables.iter().filter(|path| number(path) < log).count() as u64;
    assert!(old > 3 && one.copied >= old && (one.linked, one.shared) == (0, 0), "{one:?}");
    let (second, two) = take();
    assert_eq!((two.shared, two.copied, two.linked), (old, one.copied - old, 0));
    // A table of the same number and size that is another one: what was there was put in the place of an older state.
    let replaced =
        tables.iter().find(|path| number(path) < log && one.path.join(path.file_name().unwrap()).exists()).unwrap();
    let again = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().append(true).open(replaced).unwrap().set_modified(again).unwrap();
    let (_, three) = take();
    assert_eq!((three.shared, three.copied), (old - 1, one.copied - old + 1));
    // Each stands on its own.
    let all = pairs(&source);
    trail.drop(first).unwrap();
    trail.drop(second).unwrap();
    assert_eq!(pairs(&three.path), all);
    assert_eq!(trail.list().unwrap().len(), 1);
    // Those that share are counted once.
    let before = trail.held().unwrap();
    take();
    assert!(trail.held().unwrap() < before + before / 2);
}

#[test]
fn a_table_whose_number_may_have_been_given_away_again_is_never_shared() {
    let (_dir, source, _) = copied("small");
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    if fs::hard_link(source.join("CURRENT"), other.path().join("tried")).is_ok() {
        return;
    }
    let trail = Trail::under(&other.path().join("trail"));
    let (_, one) = trail.take(&source, 0, None).unwrap();
    // As if its first log came before all of its tables.
    let manifest = Head::read(&one.path).unwrap().unwrap().manifest;
    let grown = [fs::read(one.path.join(&manifest)).unwrap(), manifest_of_log_1()].concat();
    fs::write(one.path.join(&manifest), &grown).unwrap();
    let marker = fs::read_to_string(one.path.join(MARKER)).unwrap();
    let bytes = one.bytes + manifest_of_log_1().len() as u64;
    fs::write(one.path.join(MARKER), marker.replace(&one.bytes.to_string(), &bytes.to_string())).unwrap();
    assert_eq!(pass::first_log(&one.path), Some(1));
    let (_, two) = trail.take(&source, 0, None).unwrap();
    assert_eq!((two.shared, two.copied), (0, one.copied));
}

fn manifest_of_log_1() -> Vec<u8> {
    manifest(&[b"\x02\x01"])
}

#[test]
fn a_checkpoint_that_nobody_needs_any_more_is_given_up_and_leaves_nothing() {
    let (dir, source, _) = copied("small");
    let trail = Trail::under(&dir.path().join("trail"));
    let ended = AtomicBool::new(true);
    assert!(matches!(trail.take(&source, 0, Some(&ended)), Err(CheckpointError::GivenUp { .. })));
    assert!(trail.list().unwrap().is_empty());
    trail.remove().unwrap();
    assert!(!dir.path().join("trail").exists());
}

#[test]
fn a_manifest_that_is_damaged_or_gone_is_told_apart_from_one_that_moves_on_and_nothing_is_left() {
    let (_dir, source, into) = copied("small");
    let head = Head::read(&source).unwrap().unwrap();
    let manifest = source.join(&head.manifest);
    let good = fs::read(&manifest).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&manifest, bad).unwrap();
    let error = take(&request(&source, &into)).unwrap_err();
    assert!(matches!(&error, CheckpointError::Damaged { path, .. } if *path == manifest), "{error}");
    assert!(error.is_corruption() && !error.is_passing() && !into.exists());
    fs::remove_file(&manifest).unwrap();
    let error = take(&request(&source, &into)).unwrap_err();
    assert!(matches!(&error, CheckpointError::Restless { what, .. } if what.contains("is gone")), "{error}");
    assert!(error.is_passing() && !into.exists());
    fs::write(&manifest, good).unwrap();
    let all = pairs(&source);
    take(&request(&source, &into)).unwrap();
    assert_eq!(pairs(&into), all);
}

#[test]
fn a_table_that_is_a_symbolic_link_is_copied_so_that_the_checkpoint_outlives_what_it_points_to() {
    let (dir, source, into) = copied("small");
    let all = pairs(&source);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut moved = 0;
    for entry in fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|tail| tail == "ldb") {
            let to = elsewhere.join(path.file_name().unwrap());
            fs::rename(&path, &to).unwrap();
            std::os::unix::fs::symlink(&to, &path).unwrap();
            moved += 1;
        }
    }
    let taken = take(&request(&source, &into)).unwrap();
    assert_eq!((taken.linked, taken.copied), (0, moved));
    fs::remove_dir_all(&elsewhere).unwrap();
    assert_eq!(pairs(&into), all);
}

#[test]
fn a_log_that_was_renamed_or_is_another_file_is_not_still_the_one_that_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("000007.log"), dir.path().join("000009.log"));
    fs::write(&path, "one").unwrap();
    let file = fs::File::open(&path).unwrap();
    assert!(files::is_still(&file, &path));
    fs::rename(&path, &other).unwrap();
    assert!(!files::is_still(&file, &path), "there is none of that name");
    assert!(files::is_still(&file, &other));
    fs::write(&path, "two").unwrap();
    assert!(!files::is_still(&file, &path), "there is another one of that name");
}
