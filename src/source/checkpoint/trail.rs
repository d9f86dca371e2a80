//! A trail of checkpoints: what a running node's database was at one moment after the other.
//!
//! Owns the numbered directories under one. A node that prunes lets go of versions before they are applied; those that two
//! neighbours of a trail both retain close the gap between what each of them has alone.

use super::{Checkpoint, CheckpointError, Help, Request, error::io, find, remove, take_with};
use crate::disk;
use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// Checkpoints in numbered directories; a higher number is a later one.
#[derive(Clone, Debug)]
pub struct Trail {
    directory: PathBuf,
}

impl Trail {
    /// The trail under this directory, which need not exist. Nothing is touched.
    #[must_use]
    pub fn under(directory: &Path) -> Trail {
        Trail { directory: directory.to_owned() }
    }

    /// The directory they lie in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The complete ones, oldest first.
    ///
    /// # Errors
    /// The directory could not be listed.
    pub fn list(&self) -> Result<Vec<(u64, Checkpoint)>, CheckpointError> {
        let numbers = self.numbers()?;
        Ok(numbers.into_iter().filter_map(|number| Some((number, find(&self.place(number))?))).collect())
    }

    /// Makes another one, behind all others. Where tables cannot be linked, those that the newest one has are shared with it, and
    /// only what is new is copied. Given up once `ended` is set.
    ///
    /// # Errors
    /// As for every checkpoint; what was begun is removed, now or by [`Trail::clear`].
    pub fn take(
        &self,
        source: &Path,
        reserve: u64,
        ended: Option<&AtomicBool>,
    ) -> Result<(u64, Checkpoint), CheckpointError> {
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        let into = self.place(number);
        let earlier = self.list()?.pop().map(|(_, checkpoint)| checkpoint.path);
        let help = Help { earlier: earlier.as_deref(), ended };
        Ok((number, take_with(&Request { source, into: &into, reserve, copies: true }, help)?))
    }

    /// Removes one. Repeatable.
    ///
    /// # Errors
    /// What is there is no checkpoint; or a file could not be removed.
    pub fn drop(&self, number: u64) -> Result<(), CheckpointError> {
        remove(&self.place(number))
    }

    /// Removes those that were not finished, as a crash leaves them.
    ///
    /// # Errors
    /// As [`Trail::drop`].
    pub fn clear(&self) -> Result<(), CheckpointError> {
        for number in self.numbers()? {
            if find(&self.place(number)).is_none() {
                self.drop(number)?;
            }
        }
        Ok(())
    }

    /// Removes all of them, and the directory. Repeatable; what else is in the directory is left alone, and the directory then
    /// too.
    ///
    /// # Errors
    /// As [`Trail::drop`].
    pub fn remove(&self) -> Result<(), CheckpointError> {
        for number in self.numbers()? {
            self.drop(number)?;
        }
        match disk::remove_directory(&self.directory) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(io(&self.directory, "remove")(error))
            }
            _ => Ok(()),
        }
    }

    /// Bytes on the disk that only these checkpoints hold on to, because the node has done with the files since, or because they
    /// were copied.
    ///
    /// # Errors
    /// A directory could not be listed.
    pub fn held(&self) -> Result<u64, CheckpointError> {
        // By device and inode: links in the trail, links in all, bytes.
        let mut files: HashMap<(u64, u64), (u64, u64, u64)> = HashMap::new();
        for number in self.numbers()? {
            let place = self.place(number);
            for entry in fs::read_dir(&place).map_err(io(&place, "list"))? {
                let found = entry.and_then(|entry| entry.metadata()).map_err(io(&place, "list"))?;
                let file = files.entry((found.dev(), found.ino())).or_insert((0, found.nlink(), found.len()));
                file.0 += 1;
            }
        }
        Ok(files.values().filter(|(ours, all, _)| ours >= all).map(|(_, _, bytes)| bytes).sum())
    }

    fn place(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// Numbers that are given away, ascending.
    fn numbers(&self) -> Result<Vec<u64>, CheckpointError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(&self.directory, "list")(error)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(io(&self.directory, "list"))?.file_name();
            let number = name.to_str().and_then(|name| Some((name, name.parse::<u64>().ok()?)));
            numbers.extend(number.filter(|(name, number)| number.to_string() == *name).map(|(_, number)| number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}
