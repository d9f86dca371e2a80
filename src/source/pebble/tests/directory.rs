//! Markers, `CURRENT` and options.

use std::fs;

use super::{fixture, read};
use crate::source::lsm::LsmError;

#[test]
fn from_format_2_on_markers_name_the_manifest_and_the_highest_count() {
    let dir = fixture();
    let expect = read(dir.path()).unwrap();
    let write = |name: &str| fs::write(dir.path().join(name), "").unwrap();
    // A marker that was set before the format was raised does not count yet.
    write("marker.manifest.000001.MANIFEST-000001");
    assert!(read(dir.path()).unwrap() == expect);
    write("marker.format-version.000001.002");
    fs::write(dir.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
    assert!(read(dir.path()).is_err(), "the old manifest knows neither table nor log");
    write("marker.manifest.000002.MANIFEST-000008");
    assert!(read(dir.path()).unwrap() == expect);
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert!(read(dir.path()).unwrap() == expect);
    write("marker.format-version.000010.016");
    assert!(read(dir.path()).unwrap() == expect);
    write("marker.manifest.000003.MANIFEST-000077");
    assert!(matches!(read(dir.path()), Err(LsmError::MissingFile { .. })));
    write("marker.manifest.000004.nonsense");
    assert!(matches!(read(dir.path()), Err(LsmError::Corrupt { .. })));
}

#[test]
fn what_is_not_known_of_a_directory_is_refused_by_name() {
    for (name, content, word) in [
        ("marker.format-version.000020.017", "", "format major version is 17"),
        ("marker.format-version.000020.x", "", "no format major version"),
        ("marker.format-version", "", "none of a marker"),
        ("marker.format-version.000020.003", "", "no marker.manifest"),
        ("000012-001.log", "", "000012-001.log"),
        ("OPTIONS-999999", "[Options]\n  wal_dir=/fast/disk\n", "/fast/disk"),
    ] {
        let dir = fixture();
        fs::write(dir.path().join(name), content).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
    }
}
