//! Flipped, cut and missing files of a real database.

use std::fs;
use std::path::PathBuf;

use super::{fixture, read};
use crate::source::lsm::LsmError;
use crate::source::lsm::log::LONG_HEADER;

fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn is_log(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|tail| tail == "log")
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_changes_nothing() {
    let dir = fixture();
    let expect = read(dir.path()).unwrap();
    for path in files(dir.path()) {
        let good = fs::read(&path).unwrap();
        let (mut found, mut harmless) = (0, 0);
        let ends = |at: usize| at < 40 || at + 900 > good.len();
        for at in (0..good.len()).filter(|at| at % 401 == 0 || (ends(*at) && (good.len() < 2000 || at % 3 == 0))) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            match read(dir.path()) {
                Err(_) => found += 1,
                Ok(pairs) => {
                    assert!(pairs == expect, "{} at {at}: read something else", path.display());
                    harmless += 1;
                }
            }
        }
        fs::write(&path, &good).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        println!("{name}: found {found}, harmless {harmless}");
        if is_log(&path) || name == "CURRENT" || name == "MANIFEST-000008" {
            // A log is no other without the mark of its closing.
            assert!(harmless <= if is_log(&path) { LONG_HEADER } else { 0 }, "{name}: {harmless}");
        }
        if name.ends_with(".sst") {
            assert!(found > 10 * harmless, "{name}");
        }
    }
    assert!(read(dir.path()).unwrap() == expect);
}

#[test]
fn a_file_that_is_cut_is_refused_and_a_log_that_is_cut_gives_a_state_before() {
    let dir = fixture();
    let expect = read(dir.path()).unwrap();
    let last = expect.iter().find(|(key, _)| key == b"s/latest").unwrap().1.clone();
    for path in files(dir.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("OPTIONS") || name == "MANIFEST-000001" {
            continue;
        }
        let good = fs::read(&path).unwrap();
        let step = (good.len() / 60).max(1);
        for left in (0..good.len()).step_by(step) {
            fs::write(&path, &good[..left]).unwrap();
            match read(dir.path()) {
                Err(_) => {}
                Ok(pairs) => {
                    assert!(is_log(&path), "{name} cut to {left} of {}", good.len());
                    let latest = &pairs.iter().find(|(key, _)| key == b"s/latest").unwrap().1;
                    assert!(pairs == expect || *latest <= last);
                }
            }
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn a_file_that_is_named_and_missing_is_an_error_that_names_it() {
    for name in ["000010.sst", "000007.log", "MANIFEST-000008"] {
        let dir = fixture();
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(matches!(error, LsmError::MissingFile { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let dir = fixture();
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert!(matches!(read(dir.path()), Err(LsmError::NotADatabase { .. })));
    let dir = fixture();
    let mut table = fs::read(dir.path().join("000010.sst")).unwrap();
    table.push(0);
    fs::write(dir.path().join("000010.sst"), table).unwrap();
    assert!(matches!(read(dir.path()), Err(LsmError::Corrupt { .. })), "a table larger than the manifest says");
}
