//! Owns the files of a checkpoint in the making: links, and copies where links are refused, under a disk budget. What it reads
//! of the node's files it opens read-only.

use super::{CheckpointError, Help, Request, error::io, pass::first_log};
use crate::disk::{self, Appender, Making};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

/// Bytes copied between two looks at the disk.
const STRIDE: u64 = 64 << 20;
const BUFFER: usize = 1 << 20;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Linked,
    Copied,
    /// Linked from an earlier copy.
    Shared,
    /// It is not there any more.
    Gone,
    /// It has another size than it should.
    Odd(u64),
}

/// Brings files over.
pub(super) struct Files<'a> {
    request: &'a Request<'a>,
    help: Help<'a>,
    /// The first log that counts in the earlier checkpoint, once tables are to be shared with it.
    first_log: Option<u64>,
    /// Why links are refused, once one was because of where the two directories lie.
    refused: Option<String>,
    since_look: u64,
}

impl<'a> Files<'a> {
    pub(super) fn new(request: &'a Request<'a>, help: Help<'a>) -> Files<'a> {
        Files { request, help, first_log: None, refused: None, since_look: 0 }
    }

    /// Brings over a file that never changes any more: links it, shares it, or copies it. `left` are those that are still to come,
    /// by number with their sizes.
    pub(super) fn bring(
        &mut self,
        number: u64,
        name: &str,
        size: Option<u64>,
        left: &BTreeMap<u64, Option<u64>>,
    ) -> Result<Got, CheckpointError> {
        self.heed_end()?;
        let (from, to) = (self.request.source.join(name), self.request.into.join(name));
        if self.refused.is_none() {
            match disk::link(&from, &to) {
                Ok(()) => {
                    let there = fs::symlink_metadata(&to).map_err(io(&to, "look at"))?;
                    if there.is_file() {
                        return Ok(match size {
                            Some(size) if size != there.len() => Got::Odd(there.len()),
                            _ => Got::Linked,
                        });
                    }
                    // A symbolic link was linked, and not what it points to.
                    disk::remove(&to).map_err(io(&to, "remove"))?;
                    return self.copy_table(number, name, size);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Got::Gone),
                Err(error) if of_this_file(&error) => return self.copy_table(number, name, size),
                Err(error) if is_refusal(&error) => {
                    if !self.request.copies {
                        let (path, into) = (self.request.source.to_owned(), self.request.into.to_owned());
                        return Err(CheckpointError::NoLinks { path, into, why: error });
                    }
                    self.refused = Some(error.to_string());
                    self.first_log = self.help.earlier.and_then(first_log);
                    // Those that may be shared take no room. If in the end they may not, the look at the disk stops it in time.
                    let copied = left.iter().filter(|(number, _)| self.first_log.is_none_or(|first| **number >= first));
                    self.check_room(copied.filter_map(|(_, size)| *size).sum::<u64>() + size.unwrap_or(0))?;
                }
                Err(error) => return Err(io(&from, "link")(error)),
            }
        }
        self.copy_table(number, name, size)
    }

    fn copy_table(&mut self, number: u64, name: &str, size: Option<u64>) -> Result<Got, CheckpointError> {
        let (from, to) = (&self.request.source.join(name), &self.request.into.join(name));
        let mut file = match File::open(from) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Got::Gone),
            Err(error) => return Err(io(from, "open")(error)),
        };
        let found = file.metadata().map_err(io(from, "look at"))?;
        let length = found.len();
        if size.is_some_and(|size| size != length) {
            return Ok(Got::Odd(length));
        }
        if let Some(earlier) = self.same_in_earlier(number, name, &found)
            && disk::link(&earlier, to).is_ok()
        {
            return Ok(Got::Shared);
        }
        let done = self.copy(&mut file, from, to, length, true)?;
        if done < length {
            let what = format!("ends at byte {done}, where it had {length} bytes a moment ago");
            return Err(CheckpointError::Damaged { path: from.to_owned(), what });
        }
        if let Ok(modified) = found.modified() {
            // By this a later checkpoint knows the table again; without it, it is copied again.
            let _ = File::options().write(true).open(to).and_then(|copy| copy.set_modified(modified));
        }
        Ok(Got::Copied)
    }

    /// The copy that an earlier checkpoint has of a table, if it is certain that it is one of this table.
    ///
    /// Tables never change, and the numbers below the earlier one's first log are not given away again. But an older state of the
    /// database may have been put in its place since, and given them away another time: then it was at another time, which the
    /// copy would have kept.
    fn same_in_earlier(&self, number: u64, name: &str, found: &fs::Metadata) -> Option<PathBuf> {
        let earlier = self.help.earlier?.join(name);
        if number >= self.first_log? {
            return None;
        }
        let copy = fs::symlink_metadata(&earlier).ok()?;
        let is_same = copy.is_file() && copy.len() == found.len() && copy.modified().ok()? == found.modified().ok()?;
        is_same.then_some(earlier)
    }

    /// Copies the first `length` bytes of an open file, or all if it has fewer by now; says how many.
    ///
    /// `whole` is for tables only. Reading all of a database once would push out of the page cache what the node reads often,
    /// so what was read is let go again at once; a page that the node needs comes back when it asks for it. A log is let be:
    /// it is small, the node is writing to it, and letting go of its pages would write them out early.
    pub(super) fn copy(
        &mut self,
        file: &mut File,
        from: &Path,
        to: &Path,
        length: u64,
        whole: bool,
    ) -> Result<u64, CheckpointError> {
        let mut copy = Appender::new(disk::make(to, Making::New).map_err(io(to, "create"))?);
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < length {
            let room = usize::try_from(length - done).unwrap_or(BUFFER).min(BUFFER);
            let part = buffer.get_mut(..room).unwrap_or_default();
            let got = file.read(part).map_err(io(from, "read"))?;
            if got == 0 {
                break;
            }
            copy.write_all(part.get(..got).unwrap_or_default()).map_err(io(to, "write"))?;
            if whole {
                let range = std::num::NonZeroU64::new(got as u64);
                // Only advice: where the file system does not take it, nothing is wrong.
                let _ = rustix::fs::fadvise(&*file, done, range, rustix::fs::Advice::DontNeed);
            }
            done += got as u64;
            self.spent(got as u64)?;
        }
        Ok(done)
    }

    /// Looks at the disk now and then.
    fn spent(&mut self, bytes: u64) -> Result<(), CheckpointError> {
        self.heed_end()?;
        self.since_look += bytes;
        if self.since_look < STRIDE {
            return Ok(());
        }
        self.since_look = 0;
        self.check_room(0)
    }

    fn heed_end(&self) -> Result<(), CheckpointError> {
        if self.help.ended.is_some_and(|ended| ended.load(Ordering::SeqCst)) {
            return Err(CheckpointError::GivenUp { path: self.request.source.to_owned() });
        }
        Ok(())
    }

    fn check_room(&self, needed: u64) -> Result<(), CheckpointError> {
        let Ok(stat) = rustix::fs::statvfs(self.request.into) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= needed.saturating_add(self.request.reserve) {
            return Ok(());
        }
        Err(CheckpointError::NoRoom {
            path: self.request.source.to_owned(),
            into: self.request.into.to_owned(),
            why: self.refused.clone().unwrap_or_else(|| "some of them".to_owned()),
            needed: needed.div_ceil(1 << 20),
            free: free >> 20,
            reserve: self.request.reserve.div_ceil(1 << 20),
        })
    }

    /// Removes a file of the checkpoint that is not part of it any more.
    pub(super) fn drop(&self, name: &str) -> Result<(), CheckpointError> {
        let path = self.request.into.join(name);
        disk::remove(&path).map_err(io(&path, "remove"))
    }
}

/// Whether linking failed because of this one file: it has as many links as it may have.
fn of_this_file(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::TooManyLinks
}

/// Whether linking will fail for all files: another file system, one without links, or files of another user, which Linux
/// lets nobody link by default (`fs.protected_hardlinks`).
fn is_refusal(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::CrossesDevices | ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// Whether a name still is that open file's.
pub(super) fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}

/// Makes a file or directory of ours durable.
pub(super) fn sync(path: &Path) -> Result<(), CheckpointError> {
    disk::sync(path).map_err(io(path, "sync"))
}

/// Writes a file of ours.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), CheckpointError> {
    disk::write(path, Making::Anew, content).map_err(io(path, "write"))
}
