//! A look at a manifest before RocksDB reads it.
//!
//! RocksDB never writes over an old manifest, but its reader knows records of logs that were (types 5 to 8, 11 and 131): where damage makes
//! such a type of another one, or leaves one behind the end, RocksDB 11.8 reads that record for ever. Everything else that is wrong with a
//! manifest it finds by itself.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

const BLOCK: usize = 32 << 10;
/// Checksum, length, type.
const HEADER: usize = 7;
/// The types of records in logs that are written over (RocksDB's `db/log_format.h`).
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// What is wrong with the manifest in force in a directory, if it is that.
///
/// # Errors
/// It could not be read.
pub(super) fn fault(directory: &Path) -> io::Result<Option<String>> {
    let name = match fs::read_to_string(directory.join("CURRENT")) {
        Ok(name) => name,
        // There is no database yet, or RocksDB says what is wrong.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = name.trim_end();
    if !name.starts_with("MANIFEST-") || name.contains('/') {
        return Ok(None);
    }
    let mut file = match File::open(directory.join(name)) {
        Ok(file) => file,
        // As above; a name with a zero in it is none.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut block = Vec::with_capacity(BLOCK);
    for number in 0u64.. {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if let Some(at) = recycled(&block) {
            let at = number * BLOCK as u64 + at as u64;
            return Ok(Some(format!("{name}: the record at byte {at} is of a type that manifests do not have")));
        }
        if block.len() < BLOCK {
            break;
        }
    }
    Ok(None)
}

/// Where the first such record of a block is.
fn recycled(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&[_, _, _, _, low, high, kind]) = block.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) {
        if RECYCLED.contains(&kind) {
            return Some(at);
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        if kind == 0 && length == 0 {
            // Room that was reserved.
            return None;
        }
        at += HEADER + length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{
        TargetError,
        rocks::{EngineTuning, RocksCommitment},
    };

    /// SC in this directory.
    fn open(dir: &Path) -> Result<RocksCommitment, TargetError> {
        RocksCommitment::open(&dir.join("sc"), &dir.join("staging"), &dir.join("runs"), EngineTuning::default())
    }

    #[test]
    fn a_zero_in_the_name_of_the_manifest_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sc");
        let open = || open(dir.path());
        drop(open().unwrap());
        let current = path.join("CURRENT");
        let sound = fs::read(&current).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] = 0;
            fs::write(&current, damaged).unwrap();
            let end = open().map(drop);
            assert!(matches!(end, Err(TargetError::Lost { .. })), "{at}: {end:?}");
        }
        fs::write(&current, sound).unwrap();
        drop(open().unwrap());
    }

    #[test]
    fn a_record_of_a_log_that_was_written_over_does_not_hang_whoever_opens_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sc");
        let open = || open(dir.path());
        drop(open().unwrap());
        drop(open().unwrap());
        assert_eq!(fault(&path).unwrap(), None);
        let manifest = path.join(fs::read_to_string(path.join("CURRENT")).unwrap().trim_end());
        let sound = fs::read(&manifest).unwrap();
        let (mut at, mut records) = (0, 0);
        while at + HEADER <= sound.len() && sound[at + 6] != 0 {
            for kind in RECYCLED {
                let mut damaged = sound.clone();
                damaged[at + 6] = kind;
                fs::write(&manifest, damaged).unwrap();
                let Err(TargetError::Lost { what, .. }) = open() else { panic!("type {kind} at {at}") };
                assert!(what.contains(&format!("byte {at} ")), "{what}");
            }
            records += 1;
            at += HEADER + usize::from(u16::from_le_bytes([sound[at + 4], sound[at + 5]]));
        }
        assert!(records > 2, "{records}");
        for kind in RECYCLED {
            // Behind the end, longer than what is there, or not.
            for length in [10u16, 45_000] {
                let mut damaged = sound.clone();
                damaged.extend([1, 2, 3, 4]);
                damaged.extend(length.to_le_bytes());
                damaged.push(kind);
                damaged.extend([7; 500]);
                fs::write(&manifest, damaged).unwrap();
                let Err(TargetError::Lost { what, .. }) = open() else { panic!("type {kind} behind the end") };
                assert!(what.contains(&format!("byte {} ", sound.len())), "{what}");
            }
        }
        fs::write(&manifest, sound).unwrap();
        drop(open().unwrap());
    }
}
