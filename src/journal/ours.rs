//! What lies in a journal's directory under the names of our files, looked at before it is used.
//!
//! Owns the refusal of what is of another kind: a link, through which a file elsewhere would be read, written or removed; a pipe, at
//! which a process would wait for ever; a directory. The control file has its own rule, see [`super::control`].

use super::JournalError;
use crate::disk::{self, Making};
use std::{
    fs::{self, File, FileType, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
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

/// What is written under these names gets another one when it is whole.
const UNFINISHED: [&str; 4] = ["journal.redb.new", "status.json.new", "switch.json.new", "control.json.new"];
/// How often a file is written that is removed before it gets its name.
const TRIES: u32 = 16;

/// Writes a file durably under a name that gets another one when it is whole. While it has the first one it is locked: else somebody
/// who begins to work on the job would take it for what a crash left. Before it is locked that can happen, and it is written again.
pub(super) fn replace(temporary: &Path, path: &Path, content: &[u8]) -> Result<(), (&'static str, io::Error)> {
    let mut tries = 0..TRIES;
    loop {
        let made = disk::make(temporary, Making::Anew).and_then(|file| {
            // A file system without locks has the second try left.
            let _ = file.try_lock();
            file.write_at(0, content)?;
            file.sync()?;
            Ok(file)
        });
        let _locked = made.map_err(|error| ("write", error))?;
        match disk::rename(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {}
            renamed => return renamed.map_err(|error| ("replace", error)),
        }
    }
}

/// Removes what processes that died have left half written. Who calls has the job's lock; requests are made without that, and locked
/// themselves, see [`replace`].
pub(super) fn clear_unfinished(directory: &Path) {
    let left = UNFINISHED.iter().map(|name| directory.join(name)).filter(|path| path.is_file());
    for path in left {
        let is_in_work =
            open(&path).is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        if is_in_work {
            continue;
        }
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
    use crate::disk::{Disk, DiskFile, Real};
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    /// A disk that fails to rename so many times.
    #[derive(Debug)]
    struct Stubborn {
        kind: io::ErrorKind,
        fails: u32,
        asked: AtomicU32,
    }

    impl Disk for Stubborn {
        fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
            Real.make(path, making)
        }

        fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
            Real.open(path)
        }

        fn make_directory(&self, path: &Path) -> io::Result<()> {
            Real.make_directory(path)
        }

        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            Real.link(from, to)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            let before = self.asked.fetch_add(1, Ordering::SeqCst);
            assert!(before < 100, "it never gives up");
            if before < self.fails { Err(self.kind.into()) } else { Real.rename(from, to) }
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            Real.remove(path)
        }

        fn remove_directory(&self, path: &Path) -> io::Result<()> {
            Real.remove_directory(path)
        }

        fn remove_all(&self, path: &Path) -> io::Result<()> {
            Real.remove_all(path)
        }

        fn sync(&self, path: &Path) -> io::Result<()> {
            Real.sync(path)
        }
    }

    #[test]
    fn a_file_that_is_removed_before_it_has_its_name_is_written_again_but_not_for_ever_and_for_no_other_reason() {
        for (kind, fails, asked, is_there) in [
            (io::ErrorKind::NotFound, 0, 1, true),
            (io::ErrorKind::NotFound, 1, 2, true),
            (io::ErrorKind::NotFound, TRIES, TRIES + 1, true),
            (io::ErrorKind::NotFound, u32::MAX, TRIES + 1, false),
            (io::ErrorKind::PermissionDenied, 1, 1, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let disk = Arc::new(Stubborn { kind, fails, asked: AtomicU32::new(0) });
            let _mounted = disk::mount(dir.path(), disk.clone());
            let path = dir.path().join("switch.json");
            let replaced = replace(&dir.path().join("switch.json.new"), &path, b"whole");
            assert_eq!(disk.asked.load(Ordering::SeqCst), asked, "{kind} {fails} times");
            assert_eq!(fs::read(&path).is_ok_and(|found| found == b"whole"), is_there, "{kind} {fails} times");
            assert_eq!(
                replaced.map_err(|(doing, error)| (doing, error.kind())).err(),
                (!is_there).then_some(("replace", kind))
            );
        }
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
