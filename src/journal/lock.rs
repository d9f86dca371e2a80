//! One owner at a time: an operating-system lock that dies with its process.

use super::{JournalError, ours};
use crate::disk;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

/// Held by whoever works on a target; released when dropped, or when the process dies in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

const NAME: &str = "lock";
/// Tries, a few milliseconds apart, before somebody else is taken for the owner.
const PATIENCE: u32 = 20;

impl Lock {
    /// Takes the lock of a journal directory, creating both if need be. What a crash left half written beside the journal goes.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if somebody has it, [`JournalError::Foreign`] if something else lies there.
    pub fn take(directory: &Path) -> Result<Lock, JournalError> {
        let path = directory.join(NAME);
        let error = |doing| move |source| JournalError::Io { path: directory.join(NAME), doing, source };
        ours::check(directory)?;
        // `status` looks at the lock by sharing it for a moment, which must not look like an owner.
        for left in (0..PATIENCE).rev() {
            let made = disk::make_directories(directory).map_err(error("create the directory of"));
            let opened = made.and_then(|()| {
                let file = ours::guarded(OpenOptions::new().create(true).truncate(false).write(true), &path);
                file.map_err(error("open"))
            });
            let file = match opened {
                // An abort that comes to its end removed the directory, or one above it, between two of these steps.
                Err(JournalError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && left > 0 => continue,
                opened => opened?,
            };
            match locked_at(&file, &path) {
                Ok(true) => {
                    ours::clear_unfinished(directory);
                    return Ok(Lock { _file: file });
                }
                // It was removed with its job just before. Whoever comes next makes another one.
                Ok(false) => {}
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
                Err(TryLockError::Error(source)) => return Err(error("lock")(source)),
            }
        }
        Err(JournalError::Locked { path: directory.to_owned(), by: owner(&path) })
    }

    /// Whether somebody has the lock of a journal directory now.
    #[must_use]
    pub fn is_taken(directory: &Path) -> bool {
        let Ok(file) = ours::open(&directory.join(NAME)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

/// The process that has a lock file, if the system tells. Nothing is written for that: a number in a file outlives its process, and
/// then is another one's.
fn owner(path: &Path) -> Option<u32> {
    let file = std::fs::metadata(path).ok()?;
    disk::find_lock(&file, |lock| lock.is_flock && !lock.is_awaited && lock.process.is_some())?.process
}

/// Locks an open file. Whether it is then the one that has this name: who held it before may have removed it.
fn locked_at(file: &File, path: &Path) -> Result<bool, TryLockError> {
    file.try_lock().map(|()| is_at(file, path))
}

/// Whether an open file is the one that has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let of_name = std::fs::symlink_metadata(path);
    file.metadata().is_ok_and(|of_file| {
        of_name.is_ok_and(|of_name| (of_name.dev(), of_name.ino()) == (of_file.dev(), of_file.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{SwitchRequest, control};

    #[test]
    fn who_takes_the_lock_removes_what_a_crash_left_half_written_and_not_what_others_write_just_now() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("journal");
        drop(Lock::take(&directory).unwrap());
        let left = ["status.json.new", "switch.json.new", "control.json.new", "journal.redb.new"];
        left.iter().for_each(|name| std::fs::write(directory.join(name), "{").unwrap());
        std::fs::write(directory.join("notes.new"), "somebody's").unwrap();
        drop(Lock::take(&directory).unwrap());
        assert!(left.iter().all(|name| !directory.join(name).exists()));
        assert!(directory.join("notes.new").exists());
        std::thread::scope(|scope| {
            let writes = [
                scope.spawn(|| {
                    for asked in 0..200 {
                        SwitchRequest::new(asked, None).write(&directory).unwrap();
                    }
                }),
                scope.spawn(|| {
                    for workers in 1..200 {
                        control::change(&directory, |control| control.workers = Some(workers)).unwrap();
                    }
                }),
            ];
            while writes.iter().any(|thread| !thread.is_finished()) {
                drop(Lock::take(&directory).unwrap());
            }
        });
        assert_eq!(SwitchRequest::read(&directory).unwrap().unwrap().asked, 199);
        assert_eq!(control::read(&directory).unwrap().workers, Some(199));
    }

    #[test]
    fn who_has_the_lock_is_known_to_whoever_asks_or_wants_it_as_long_as_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("journal");
        assert!(!Lock::is_taken(&directory));
        let lock = Lock::take(&directory).unwrap();
        assert!(Lock::is_taken(&directory));
        let error = Lock::take(&directory).unwrap_err();
        let JournalError::Locked { by, .. } = error else { panic!("{error}") };
        if by.is_none() && !Path::new("/proc/locks").exists() {
            return println!("SKIPPED: the system does not tell who holds a lock");
        }
        let process = std::process::id();
        assert_eq!(by, Some(process));
        assert!(error.to_string().contains(&format!("another storeshift process ({process}) works on")), "{error}");
        drop(lock);
        assert!(!Lock::is_taken(&directory));
    }

    #[test]
    fn a_lock_of_a_file_that_was_removed_before_is_worth_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path) && !locked_at(&file, &path).unwrap());
        let another = File::create(&path).unwrap();
        assert!(!is_at(&file, &path) && is_at(&another, &path));
        // Each has a lock of its own by now, and one of them is worth nothing.
        assert!(!locked_at(&file, &path).unwrap() && locked_at(&another, &path).unwrap());
        let later = File::open(&path).unwrap();
        assert!(matches!(locked_at(&later, &path), Err(TryLockError::WouldBlock)));
    }

    #[test]
    fn a_lock_that_is_removed_with_its_job_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("journal");
        for _ in 0..20 {
            let first = Lock::take(&directory).unwrap();
            std::thread::scope(|scope| {
                // It waits for the first one, or comes later; on a busy machine longer than its patience is.
                let second = scope.spawn(|| {
                    loop {
                        match Lock::take(&directory) {
                            Err(JournalError::Locked { .. }) => {}
                            taken => return taken.unwrap(),
                        }
                    }
                });
                std::fs::remove_file(directory.join(NAME)).unwrap();
                drop(first);
                let second = second.join().unwrap();
                assert!(matches!(Lock::take(&directory), Err(JournalError::Locked { .. })));
                drop(second);
            });
        }
    }

    #[test]
    fn a_job_that_goes_with_all_its_directories_is_waited_for_or_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        let directory = target.join("journal");
        let take = || match Lock::take(&directory) {
            Err(JournalError::Locked { .. }) => None,
            taken => Some(taken.unwrap()),
        };
        std::thread::scope(|scope| {
            let aborts = scope.spawn(|| {
                for _ in 0..500 {
                    let Some(_lock) = take() else { continue };
                    std::fs::remove_file(directory.join(NAME)).unwrap();
                    // Whoever comes now makes them again, which only keeps them.
                    let _kept = std::fs::remove_dir(&directory).and_then(|()| std::fs::remove_dir(&target));
                }
            });
            while !aborts.is_finished() {
                drop(take());
            }
        });
        assert!(take().is_some());
    }
}
