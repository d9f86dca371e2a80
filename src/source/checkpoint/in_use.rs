//! Owns the question whether a process has a database open.

use crate::disk;
use std::path::Path;

/// Whether a process has the database open: it holds an exclusive lock on the file `LOCK`, goleveldb by flock, Pebble and
/// RocksDB by fcntl. A node in another container is not noticed.
#[must_use]
pub fn is_in_use(path: &Path) -> bool {
    // Another file with this number that happens to be locked costs a checkpoint and no more.
    path.join("LOCK").metadata().is_ok_and(|lock| disk::find_lock(&lock, |_| true).is_some())
}

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
