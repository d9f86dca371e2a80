//! A target's directories: whose they are, which of them are taken, and that a wipe leaves none.

use std::{fs, path::PathBuf};
use storeshift::{
    model::JobId,
    target::{Place, TargetError},
};

fn parts(place: &Place) -> [PathBuf; 5] {
    [place.sc(), place.ss(), place.staging(), place.runs(), place.spool()]
}

#[test]
fn a_directory_is_its_jobs_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    let (one, other) = (JobId([1; 16]), JobId([2; 16]));
    for part in [place.sc(), place.ss()] {
        assert!(!place.is_of(&part, one).unwrap());
        place.claim(&part, one).unwrap();
        // Once more is no harm.
        place.claim(&part, one).unwrap();
        assert!(place.is_of(&part, one).unwrap());
        assert!(matches!(place.claim(&part, other), Err(TargetError::Foreign { .. })));
        fs::write(part.join("000001.sst"), "x").unwrap();
        assert!(matches!(place.is_of(&part, other), Err(TargetError::Foreign { .. })));
        fs::remove_file(part.join("storeshift.job")).unwrap();
        assert!(matches!(place.claim(&part, one), Err(TargetError::Foreign { .. })), "files without an identity");
    }
}

#[test]
fn every_directory_with_files_in_it_is_taken_and_a_wipe_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path());
    for part in parts(&place) {
        assert_eq!(place.occupied().unwrap(), None);
        fs::create_dir_all(&part).unwrap();
        assert_eq!(place.occupied().unwrap(), None, "an empty directory is free");
        fs::write(part.join("file"), "x").unwrap();
        assert_eq!(place.occupied().unwrap(), Some(part.clone()));
        fs::remove_dir_all(&part).unwrap();
    }
    for part in parts(&place) {
        fs::create_dir_all(part.join("below")).unwrap();
        fs::write(part.join("below/file"), "x").unwrap();
    }
    place.wipe().unwrap();
    for part in parts(&place) {
        assert!(!part.exists(), "{}", part.display());
    }
    // Nothing is there, and that is no error.
    place.wipe().unwrap();
}
