//! The status file: what `status` shows without opening the journal, replaced whole so that no reader sees half of one.
//!
//! It decides nothing. If it is missing or old, only what is shown is.

use super::{JournalError, ours};
use crate::disk::{self, Making};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::Read as _, path::Path};

const NAME: &str = "status.json";

/// Replaces the status file of a journal directory.
///
/// # Errors
/// The file could not be written.
pub fn write<T: Serialize>(directory: &Path, status: &T) -> Result<(), JournalError> {
    let path = directory.join(NAME);
    let temporary = directory.join("status.json.new");
    let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
    let mut text = serde_json::to_vec_pretty(status).map_err(|e| JournalError::Database(e.to_string()))?;
    text.push(b'\n');
    // Not synced: after a power cut the journal tells the same, and the next run writes a new one.
    let made = disk::make(&temporary, Making::Anew).map_err(error("create"))?;
    made.write_at(0, &text).map_err(error("write"))?;
    disk::rename(&temporary, &path).map_err(error("replace"))
}

/// The format of the status file of a journal directory; none if there is no readable one.
#[must_use]
pub fn format(directory: &Path) -> Option<u64> {
    read::<serde_json::Value>(directory)?.get("format")?.as_u64()
}

/// Reads the status file of a journal directory; none if there is no readable one.
#[must_use]
pub fn read<T: DeserializeOwned>(directory: &Path) -> Option<T> {
    let mut text = Vec::new();
    ours::open(&directory.join(NAME)).ok()?.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_it_was_written_last_and_none_where_there_is_none_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = || read::<serde_json::Value>(dir.path());
        assert_eq!((read(), format(dir.path())), (None, None));
        for status in [serde_json::json!({ "format": 7, "phase": "Restoring" }), serde_json::json!({ "format": 8 })] {
            write(dir.path(), &status).unwrap();
            assert_eq!((format(dir.path()), read()), (status["format"].as_u64(), Some(status)));
        }
        let path = dir.path().join(NAME);
        for text in ["{\"phase\": \"Restoring\"}", "{\"format\": \"7\"}", "{\"format\"", ""] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(format(dir.path()), None, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(read(), None);
        assert!(write(dir.path(), &8).is_err(), "a directory is in its place");
    }
}
