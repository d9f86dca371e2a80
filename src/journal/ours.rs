//! What lies in a journal's directory under the names of our files, looked at before it is used.
//!
//! Owns the refusal of what is of another kind: a link, through which a file elsewhere would be read, written or removed; a pipe, at
//! which a process would wait for ever; a directory. The control file has its own rule, see [`super::control`].

use super::JournalError;
use crate::disk::{self, Making};
use std::{
    fs::{self, File, FileType, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

const FILES: [&str; 8] = [
    "journal.redb",
    "journal.redb.new",
    "lock",
    "status.json",
    "status.json.new",
    "switch.json",
    "switch.json.new",
    "control.json.new",
];

/// What the owner of a job writes under these names gets another one when it is whole.
const UNFINISHED: [&str; 2] = ["journal.redb.new", "status.json.new"];
/// The same of whoever asks something of a job, owner or not.
const UNFINISHED_REQUESTS: [&str; 2] = ["switch.json.new", "control.json.new"];

/// However slow the disk is, a small file is written by then.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// A journal's directory, held by one who writes or removes a request in it: nobody else does while it lives.
///
/// It is apart from the job's lock, which its owner has for as long as it works, while anybody may ask something of it.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "the lock goes with it")] File);

impl Held {
    /// Waits for whoever has the directory, which is open here. That is the time in which a small file is written.
    pub(super) fn wait(directory: File) -> io::Result<Held> {
        Held::wait_for(directory, PATIENCE)
    }

    /// Not for ever: whoever may read the directory can lock it, and keep it locked.
    fn wait_for(directory: File, patience: Duration) -> io::Result<Held> {
        let began = Instant::now();
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Held(directory)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let what = "another process keeps it locked; `fuser` or `lslocks` tell which one";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
            }
        }
    }

    fn at_once(directory: File) -> Option<Held> {
        directory.try_lock().is_ok().then_some(Held(directory))
    }
}

/// Writes a request durably under a name that gets another one when it is whole. Without the directory, whoever begins to work on
/// the job would take what is half written for what a crash left.
pub(super) fn replace(
    _held: &Held,
    temporary: &Path,
    path: &Path,
    content: &[u8],
) -> Result<(), (&'static str, io::Error)> {
    disk::write(temporary, Making::Anew, content).map_err(|error| ("write", error))?;
    disk::rename(temporary, path).map_err(|error| ("replace", error))
}

/// Removes what processes that died have left half written. Who calls has the job's lock. Requests are made without that: while
/// somebody makes one they stay, for the next who takes the lock.
pub(super) fn clear_unfinished(directory: &Path) {
    let held = File::open(directory).ok().and_then(Held::at_once);
    let requests = held.iter().flat_map(|_| UNFINISHED_REQUESTS);
    let left = UNFINISHED.into_iter().chain(requests).map(|name| directory.join(name)).filter(|path| path.is_file());
    for path in left {
        if let Err(error) = disk::clear(&path) {
            // The next who writes it takes its place.
            tracing::warn!(%error, path = %path.display(), "what a crash left could not be removed");
        }
    }
}

/// Refuses a directory that is not one, or has something else than a file where one of ours belongs. What is missing is no matter,
/// and what cannot be looked at fails when it is used.
///
/// # Errors
/// [`JournalError::Foreign`].
pub(super) fn check(directory: &Path) -> Result<(), JournalError> {
    look(directory, "the directory of the journal", FileType::is_dir)?;
    FILES.iter().try_for_each(|name| look(&directory.join(name), "a file of the journal", FileType::is_file))
}

fn look(path: &Path, what: &str, is_right: impl Fn(&FileType) -> bool) -> Result<(), JournalError> {
    match fs::symlink_metadata(path).map(|meta| meta.file_type()) {
        Ok(kind) if !is_right(&kind) => {
            let what = format!("is {}, where {what} belongs", disk::kind(kind));
            Err(JournalError::Foreign { path: path.to_owned(), what })
        }
        _ => Ok(()),
    }
}

/// Opens a file for reading, and nothing else in its place: neither what a link points to nor a pipe that nobody writes to.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = guarded(OpenOptions::new().read(true), path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(io::Error::other(format!("it is {}", disk::kind(kind)))) }
}

/// Opens with these options, and neither follows a link nor waits at a pipe.
pub(super) fn guarded(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.custom_flags(flags.bits() as i32).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_written_goes_with_the_next_owner_unless_somebody_makes_a_request() {
        let dir = tempfile::tempdir().unwrap();
        let there = |name: &&str| dir.path().join(name).exists();
        let leave = |name: &&str| fs::write(dir.path().join(name), "{").unwrap();
        UNFINISHED.iter().chain(&UNFINISHED_REQUESTS).for_each(leave);
        let held = Held::wait(File::open(dir.path()).unwrap()).unwrap();
        clear_unfinished(dir.path());
        assert!(!UNFINISHED.iter().any(there) && UNFINISHED_REQUESTS.iter().all(there));
        drop(held);
        clear_unfinished(dir.path());
        assert!(!UNFINISHED_REQUESTS.iter().any(there));
    }

    #[test]
    fn who_keeps_the_directory_locked_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let theirs = open();
        theirs.lock().unwrap();
        let refused = Held::wait_for(open(), Duration::ZERO).unwrap_err();
        assert!(refused.to_string().contains("another process keeps it locked"), "{refused}");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| Held::wait(open()));
            drop(theirs);
            assert!(waits.join().unwrap().is_ok());
        });
        assert!(Held::wait_for(open(), Duration::ZERO).is_ok());
    }

    #[test]
    fn only_directories_and_files_of_their_own_kind_are_taken_for_a_journals() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        check(&journal).unwrap();
        fs::write(&journal, "").unwrap();
        assert!(check(&journal).unwrap_err().to_string().contains("is a file, where the directory of the journal"));
        fs::remove_file(&journal).unwrap();
        fs::create_dir(&journal).unwrap();
        for name in FILES {
            let (path, elsewhere) = (journal.join(name), dir.path().join("elsewhere"));
            fs::write(&path, "x").unwrap();
            check(&journal).unwrap();
            fs::rename(&path, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
            assert!(check(&journal).unwrap_err().to_string().contains("is a symbolic link, where a file"), "{name}");
            assert!(open(&path).is_err());
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            assert!(check(&journal).unwrap_err().to_string().contains("is a directory, where a file"), "{name}");
            assert!(open(&path).unwrap_err().to_string().contains("it is a directory"));
            fs::remove_dir(&path).unwrap();
        }
    }
}
