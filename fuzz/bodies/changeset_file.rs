//! Changeset files and their app hashes: measuring and decoding agree on where a record ends, and what decodes is written
//! back to the same bytes.

use std::io::Cursor;
use storeshift::source::changes::{parse_app_hashes, record};

pub fn run(data: &[u8]) {
    let mut measure = record::Measure::new(Cursor::new(data), data.len() as u64);
    loop {
        let at = measure.at() as usize;
        let Ok(Some(version)) = measure.next_version() else { break };
        let bytes = &data[at..measure.at() as usize];
        if let Ok(set) = record::decode(bytes) {
            assert_eq!(set.version, version);
            let mut again = Vec::new();
            record::encode(&set, &mut again);
            assert_eq!(again, bytes);
        }
    }
    if record::decode(data).is_ok() {
        let mut measure = record::Measure::new(Cursor::new(data), data.len() as u64);
        assert!(measure.next_version().is_ok_and(|version| version.is_some()));
        assert_eq!(measure.at(), data.len() as u64);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(versions) = parse_app_hashes(text)
    {
        assert!(versions.len() <= text.lines().count());
    }
}
