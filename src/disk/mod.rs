//! The one way in which anything durable of ours comes about: files and directories are made, written, named, removed and made
//! durable through a [`Disk`].
//!
//! Owns no file, and hands nobody's data on. Every path is on the real disk, unless another one is mounted at a directory above it: one
//! that remembers what is done to it, from which the images are made that a power cut could leave, or one that fails. Reading files is
//! not here, it changes nothing (of what kind a file is, and who has it locked, is); and neither is what an engine does with its files,
//! which are not ours.
//!
//! Disks are found by path, and not handed from function to function, because a path is all that everything that writes has in common.

mod file;
mod kind;
mod locks;
mod mount;
mod real;

pub use file::{Appender, DiskFile};
pub use kind::kind;
pub use locks::{FileLock, find_lock};
pub use mount::{Mounted, mount};
pub use real::Real;

use std::{fmt::Debug, io, path::Path, sync::Arc};

/// How a file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// It must not be there.
    New,
    /// What is there of this name goes first, also where that is a link.
    Anew,
}

/// Where files are made. Each of these is one operation, and what it changed survives a power cut only once the file, or for
/// names the directory, was synced.
pub trait Disk: Debug + Send + Sync {
    /// Makes a file, readable for all and writable for its owner if the umask lets it be.
    ///
    /// # Errors
    /// The operating system's, as for all of these.
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    /// The operating system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a directory whose parent is there.
    ///
    /// # Errors
    /// The operating system's.
    fn make_directory(&self, path: &Path) -> io::Result<()>;

    /// Gives a file one more name. It may lie on another disk as long as that is the same file system.
    ///
    /// # Errors
    /// The operating system's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, in place of what has that name.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything in it. Links are removed, and not followed.
    ///
    /// # Errors
    /// The operating system's; part of it may be gone.
    fn remove_all(&self, path: &Path) -> io::Result<()>;

    /// Makes what a file holds durable, or which names a directory has.
    ///
    /// # Errors
    /// The operating system's. Nothing is known then of what was to become durable.
    fn sync(&self, path: &Path) -> io::Result<()>;
}

/// The disk that a path is on.
#[must_use]
pub fn at(path: &Path) -> Arc<dyn Disk> {
    mount::find(path)
}

/// As [`Disk::make`].
///
/// # Errors
/// As there.
pub fn make(path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
    at(path).make(path, making)
}

/// As [`Disk::open`].
///
/// # Errors
/// As there.
pub fn open(path: &Path) -> io::Result<Box<dyn DiskFile>> {
    at(path).open(path)
}

/// Makes a directory and those above it, as far as they are not there, and makes their names durable.
///
/// # Errors
/// As [`Disk::make_directory`] and [`Disk::sync`].
pub fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directories(parent)?;
    }
    match at(path).make_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => made_by_another(path, error)?,
        made => made?,
    }
    // However durable what is in it may be, a power cut that takes its name takes all of that.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => at(path).sync(parent),
        _ => at(path).sync(Path::new(".")),
    }
}

/// Whether what is there already is as good as made. That it was removed just now is told as what it is: nothing is there.
fn made_by_another(path: &Path, error: io::Error) -> io::Result<()> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Err(gone) if gone.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Err(gone),
        _ => Err(error),
    }
}

/// As [`Disk::link`].
///
/// # Errors
/// As there.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    at(to).link(from, to)
}

/// As [`Disk::rename`].
///
/// # Errors
/// As there.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    at(to).rename(from, to)
}

/// As [`Disk::remove`].
///
/// # Errors
/// As there.
pub fn remove(path: &Path) -> io::Result<()> {
    at(path).remove(path)
}

/// As [`Disk::remove`], where it is there; whether it was.
///
/// # Errors
/// As there.
pub fn clear(path: &Path) -> io::Result<bool> {
    if_there(remove(path))
}

/// As [`Disk::remove_all`], where it is there; whether it was.
///
/// # Errors
/// As there.
pub fn clear_all(path: &Path) -> io::Result<bool> {
    if_there(remove_all(path))
}

fn if_there(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// As [`Disk::remove_directory`].
///
/// # Errors
/// As there.
pub fn remove_directory(path: &Path) -> io::Result<()> {
    at(path).remove_directory(path)
}

/// As [`Disk::remove_all`].
///
/// # Errors
/// As there.
pub fn remove_all(path: &Path) -> io::Result<()> {
    at(path).remove_all(path)
}

/// As [`Disk::sync`].
///
/// # Errors
/// As there.
pub fn sync(path: &Path) -> io::Result<()> {
    at(path).sync(path)
}

/// Makes a file that holds this, and makes that durable, but not its name.
///
/// # Errors
/// As for the operations it is made of.
pub fn write(path: &Path, making: Making, content: &[u8]) -> io::Result<()> {
    let file = make(path, making)?;
    file.write_at(0, content)?;
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::{make_directories, remove_directory};
    use std::{fs, io, os::unix::fs::symlink};

    #[test]
    fn a_directory_is_made_with_those_above_it_and_what_is_in_its_way_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        make_directories(&at("one/two")).unwrap();
        make_directories(&at("one/two")).unwrap();
        assert!(at("one/two").is_dir());
        fs::write(at("file"), "content").unwrap();
        symlink(at("nowhere"), at("link")).unwrap();
        for name in ["file", "file/in", "link", "link/in"] {
            let error = make_directories(&at(name)).unwrap_err().kind();
            assert!(matches!(error, io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory), "{name}: {error}");
        }
        assert_eq!(fs::read_to_string(at("file")).unwrap(), "content");
        assert!(at("link").is_symlink() && !at("nowhere").exists());
    }

    #[test]
    fn a_directory_that_others_make_and_remove_meanwhile_is_made_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one");
        let make = || {
            for _ in 0..20_000 {
                if let Err(error) = make_directories(&path) {
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
                }
            }
        };
        std::thread::scope(|scope| {
            let makers = [scope.spawn(make), scope.spawn(make)];
            while makers.iter().any(|maker| !maker.is_finished()) {
                // Whether it was there does not matter.
                let _gone = remove_directory(&path);
            }
        });
    }
}
