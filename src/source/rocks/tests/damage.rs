//! Damage anywhere: an error that names the file, or every record as it was. Never fewer.

use super::writer::{Model, Random, Shape, USUAL, open, write};
use crate::{
    iavl::Access,
    source::{Engine as _, SourceError},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn copy(from: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// Opens and reads everything, by runs and by points; says what is wrong, or that something is missing.
fn read(path: &Path, model: &Model) -> Result<(), SourceError> {
    let rocks = open(path)?;
    for access in [Access::Runs, Access::Points] {
        let mut reader = rocks.reader(access);
        for (key, value) in model {
            let mut out = Vec::new();
            let found = reader.read(key, &mut out)?;
            assert!(found && out == *value, "{access:?}: a record is missing or wrong, and nobody says so: {key:02x?}");
        }
    }
    for (key, value) in model {
        assert!(rocks.get(key)?.as_ref() == Some(value), "get: a record is missing or wrong, and nobody says so");
    }
    Ok(())
}

fn list(path: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    all.sort();
    all
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The tables the manifest names.
fn tables(path: &Path) -> Vec<PathBuf> {
    let live: Vec<String> = open(path).unwrap().db.live_files().unwrap().into_iter().map(|file| file.name).collect();
    live.iter().map(|name| path.join(name.trim_start_matches('/'))).collect()
}

#[track_caller]
fn is_found(path: &Path, model: &Model, named: &str, what: &str) {
    let error = read(path, model).expect_err(what);
    // Where RocksDB compares identities it gives the number only.
    let number = format!("table file {}.", named.trim_start_matches('0').trim_end_matches(".sst"));
    let said = error.to_string();
    assert!(error.is_corruption() && (said.contains(named) || said.contains(&number)), "{what}: {error}");
}

#[test]
fn a_table_that_is_missing_cut_or_another_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), Shape { batches: 300, ..USUAL }, 3);
    let all = tables(dir.path());
    assert!(all.len() > 12, "more tables than are kept open: {}", all.len());
    for table in all.iter().step_by(7) {
        let copy = copy(dir.path());
        let at = copy.path().join(table.file_name().unwrap());
        let bytes = fs::read(&at).unwrap();
        fs::remove_file(&at).unwrap();
        is_found(copy.path(), &model, &name(&at), "missing");
        for left in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&at, &bytes[..left]).unwrap();
            is_found(copy.path(), &model, &name(&at), "cut");
        }
        fs::write(&at, [&bytes[..], &[0]].concat()).unwrap();
        is_found(copy.path(), &model, &name(&at), "longer");
    }
}

#[test]
fn a_table_in_the_place_of_another_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), Shape { batches: 300, ..USUAL }, 3);
    let all = tables(dir.path());
    for pair in all.windows(2).step_by(9) {
        let copy = copy(dir.path());
        let at = copy.path().join(pair[0].file_name().unwrap());
        // Of the same size, so that only what is inside tells.
        let mut other = fs::read(&pair[1]).unwrap();
        let size = fs::metadata(&pair[0]).unwrap().len() as usize;
        if other.len() != size {
            let end = other.split_off(other.len().saturating_sub(53));
            other.resize(size - end.len(), 0);
            other.extend(end);
        }
        fs::write(&at, other).unwrap();
        is_found(copy.path(), &model, &name(&at), "another");
    }
}

#[test]
fn flipped_bits_in_tables_are_found_and_named_or_change_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), USUAL, 5);
    let (mut found, mut harmless, mut unnamed) = (0, 0, 0);
    let mut random = Random(1);
    for table in tables(dir.path()).iter().step_by(3) {
        let copy = copy(dir.path());
        let at = copy.path().join(table.file_name().unwrap());
        let bytes = fs::read(&at).unwrap();
        for nth in 0..40 {
            let mut other = bytes.clone();
            // Half of them near the end, where index, filter, properties and footer are.
            let span = if nth % 2 == 0 { other.len() } else { 1500 } as u64;
            let offset = other.len() - 1 - random.below(span) as usize;
            other[offset] ^= 1 << random.below(8);
            fs::write(&at, other).unwrap();
            match read(copy.path(), &model) {
                Ok(()) => harmless += 1,
                Err(error) => {
                    // The properties of a table are looked at before they are known to be whole, and the file is not said.
                    let properties = error.to_string().contains("ropert");
                    assert!(
                        error.to_string().contains(&name(&at)) || properties,
                        "byte {offset} of {}: {error}",
                        name(&at)
                    );
                    unnamed += usize::from(!error.to_string().contains(&name(&at)));
                    let foreign = error.to_string().contains("format");
                    assert!(error.is_corruption() || foreign, "byte {offset} of {}: {error}", bytes.len());
                    found += 1;
                }
            }
        }
    }
    println!("found {found}, of them {unnamed} without a name, harmless {harmless}");
    assert!(found > harmless && unnamed * 20 < found, "found {found}, unnamed {unnamed}, harmless {harmless}");
}

#[test]
fn flipped_bits_in_logs_and_manifest_are_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), Shape { batches: 100, ..USUAL }, 5);
    let mut random = Random(2);
    let logs = list(dir.path(), "log");
    assert!(logs.iter().any(|log| log.metadata().unwrap().len() > 1000));
    for file in logs.into_iter().chain([dir.path().join("MANIFEST-000005")]) {
        let copy = copy(dir.path());
        let at = copy.path().join(file.file_name().unwrap());
        let bytes = fs::read(&at).unwrap();
        let (mut found, mut torn) = (0, 0);
        for _ in 0..if bytes.is_empty() { 0 } else { 200 } {
            let mut other = bytes.clone();
            let offset = random.below(other.len() as u64) as usize;
            other[offset] ^= 1 << random.below(8);
            fs::write(&at, other).unwrap();
            match open(copy.path()) {
                // A length that points behind the end of the newest log looks as if its writer had been cut off.
                Ok(_) => torn += 1,
                Err(error) => {
                    assert!(error.is_corruption() && error.to_string().contains(&name(&at)), "byte {offset}: {error}");
                    found += 1;
                }
            }
        }
        println!("{}: found {found}, like a torn end {torn}", name(&at));
        assert!(torn <= if name(&at).ends_with("log") { 4 } else { 0 }, "{}: {torn} not found", name(&at));
        fs::write(&at, &bytes).unwrap();
        read(copy.path(), &model).unwrap();
    }
}

#[test]
fn current_and_manifest_must_be_there_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let model = write(dir.path(), Shape { batches: 100, ..USUAL }, 5);
    for file in ["CURRENT", "MANIFEST-000005"] {
        let copy = copy(dir.path());
        let at = copy.path().join(file);
        let bytes = fs::read(&at).unwrap();
        for left in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&at, &bytes[..left]).unwrap();
            let error = open(copy.path()).unwrap_err();
            println!("{file} cut to {left}: {error}");
            assert!(error.is_corruption(), "{error}");
        }
        fs::remove_file(&at).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
    }
    // IDENTITY and OPTIONS are RocksDB's notes for itself.
    let copy = copy(dir.path());
    fs::remove_file(copy.path().join("IDENTITY")).unwrap();
    read(copy.path(), &model).unwrap();
}

/// Writes one record in each of several logs that are all waiting: `open` replays them.
fn several_logs(path: &Path) -> Model {
    let mut waiting = super::writer::options(USUAL);
    // Nothing is flushed before so many buffers are full.
    waiting.set_write_buffer_size(64 << 10);
    waiting.set_max_write_buffer_number(30);
    waiting.set_min_write_buffer_number_to_merge(20);
    let db = rocksdb::DB::open(&waiting, path).unwrap();
    let mut model = Model::new();
    for nth in 0..2000u32 {
        let (key, value) = (nth.to_be_bytes().to_vec(), vec![nth as u8; 200]);
        db.put(&key, &value).unwrap();
        model.insert(key, value);
    }
    drop(db);
    model
}

#[test]
fn a_log_that_is_missing_or_cut_between_others_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let model = several_logs(dir.path());
    read(dir.path(), &model).unwrap();
    let logs = list(dir.path(), "log");
    assert!(logs.len() >= 4 && tables(dir.path()).is_empty(), "{logs:?}");
    for (nth, log) in logs[..logs.len() - 1].iter().enumerate() {
        let copy = copy(dir.path());
        let at = copy.path().join(log.file_name().unwrap());
        let bytes = fs::read(&at).unwrap();
        for left in [0, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&at, &bytes[..left]).unwrap();
            let named = if left == 0 { name(&logs[nth + 1]) } else { name(&at) };
            is_found(copy.path(), &model, &named, "cut");
        }
        fs::remove_file(&at).unwrap();
        is_found(copy.path(), &model, &name(&logs[nth + 1]), "missing");
    }
}

#[test]
fn a_manifest_older_than_its_logs_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let db = rocksdb::DB::open(&super::writer::options(USUAL), path).unwrap();
    db.put(b"a", b"1").unwrap();
    db.flush().unwrap();
    let older = fs::read(path.join("MANIFEST-000005")).unwrap();
    db.put(b"b", b"2").unwrap();
    db.flush().unwrap();
    db.put(b"c", b"3").unwrap();
    drop(db);
    fs::write(path.join("MANIFEST-000005"), older).unwrap();
    let error = open(path).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("are nowhere"), "{error}");
}

#[test]
fn a_newest_log_cut_by_a_kill_is_read_up_to_its_last_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let model = several_logs(dir.path());
    let log = list(dir.path(), "log").pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();
    let rocks = open(dir.path()).unwrap();
    let (last, before) = (1999u32.to_be_bytes(), 1998u32.to_be_bytes());
    assert_eq!(rocks.get(&last).unwrap(), None);
    assert_eq!(rocks.get(&before).unwrap().as_ref(), model.get(&before[..]));
}

#[test]
fn a_bit_that_makes_a_record_look_like_what_an_older_log_left_is_damage_and_no_end() {
    // A kind is at byte 6 of a record; with this bit it is that of logs whose files are used again, which have the log's number
    // in them. The first record's of all logs, so that of the newest too.
    const RECYCLED: u8 = 4;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Shape { batches: 100, ..USUAL }, 5);
    let mut flipped = 0;
    for log in list(dir.path(), "log").into_iter().filter(|log| log.metadata().unwrap().len() > 0) {
        let copy = copy(dir.path());
        let at = copy.path().join(log.file_name().unwrap());
        let mut bytes = fs::read(&at).unwrap();
        assert!((1..=4).contains(&bytes[6]), "kind {}", bytes[6]);
        bytes[6] ^= RECYCLED;
        fs::write(&at, bytes).unwrap();
        let error = open(copy.path()).unwrap_err();
        assert!(error.is_corruption() && error.to_string().contains(&name(&at)), "{error}");
        flipped += 1;
    }
    assert!(flipped > 0);
}
