//! A disk whose files are the operating system's, and that may fail at every write to the journal.

use std::{io, path::Path, sync::Arc};
use storeshift::disk::{Disk, DiskFile, Making, Real};

/// What happens at a write, a change of length or a sync.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Happens,
    /// It does not happen, and that is said.
    Fails,
    /// It is said to fail, and has happened all the same.
    SeemsToFail,
}

type Asked = Arc<dyn Fn() -> Fate + Send + Sync>;

/// Asks at each write to a journal's file, on whichever thread, what comes of it.
#[derive(Clone)]
pub struct Failing(pub Asked);

impl std::fmt::Debug for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failing")
    }
}

#[derive(Debug)]
struct File {
    file: Box<dyn DiskFile>,
    of: Failing,
}

impl Failing {
    fn ask(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let fate = (self.0)();
        if fate != Fate::Fails {
            act()?;
        }
        if fate == Fate::Happens { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let is_journal = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal.redb"));
        if is_journal { Box::new(File { file, of: self.clone() }) } else { file }
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.of.ask(|| self.file.write_at(offset, data))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.of.ask(|| self.file.set_len(length))
    }

    fn sync(&self) -> io::Result<()> {
        self.of.ask(|| self.file.sync())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

impl Disk for Failing {
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, Real.make(path, making)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, Real.open(path)?))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        Real.make_directory(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
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
