//! Owns the question whether a process has a database open.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Whether a process has the database open: it holds an exclusive lock on the file `LOCK`, goleveldb by flock, Pebble and
/// RocksDB by fcntl.
///
/// Read from the kernel's list of locks, because trying the lock ourselves could make a node fail that starts at that very
/// moment. The kernel lists only processes that ours may know of: a node in another container is not noticed.
#[must_use]
pub fn is_in_use(path: &Path) -> bool {
    let Ok(lock) = path.join("LOCK").metadata() else { return false };
    // e.g. `7: FLOCK  ADVISORY  WRITE 1234 fe:00:56789 0 EOF`. The device is not compared: on btrfs and overlayfs it is not the
    // one that a file tells. Another file with this number that happens to be locked costs a checkpoint and no more.
    let number = lock.ino().to_string();
    let names_it = |locks: String| {
        locks.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().skip(1).filter(|field| *field != "->").collect();
            matches!(
                fields.as_slice(),
                ["FLOCK" | "POSIX" | "OFDLCK", _, "WRITE", _, place, ..]
                    if place.rsplit(':').next() == Some(number.as_str())
            )
        })
    };
    // The kernel hands the list out by the page, and goes on by counting: a lock that is let go of between two pages hides another one.
    (0..LOOKS).any(|_| fs::read_to_string("/proc/locks").is_ok_and(names_it))
}

/// So often the list is looked at before a lock is believed not to be in it.
const LOOKS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_in_use_while_somebody_holds_its_lock_and_not_before_or_after() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_in_use(dir.path()), "there is no LOCK at all");
        let lock = std::fs::File::create(dir.path().join("LOCK")).unwrap();
        assert!(!is_in_use(dir.path()));
        lock.lock().unwrap();
        assert!(is_in_use(dir.path()));
        lock.unlock().unwrap();
        assert!(!is_in_use(dir.path()));
        // A lock that only keeps writers out is nobody's who writes.
        lock.lock_shared().unwrap();
        assert!(!is_in_use(dir.path()));
        lock.unlock().unwrap();
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(is_in_use(dir.path()), "as Pebble and RocksDB lock");
    }
}
