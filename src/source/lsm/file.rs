//! Owns a table's file. Hands out its bytes; what is read ahead of a file that somebody else has too is not left in the page cache,
//! where it would push out what the node there reads.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// `RWF_DONTCACHE` (Linux 6.14): pages that this very read brings in are given up after it, those that were there stay.
#[cfg(target_os = "linux")]
const DONT_CACHE: u32 = 0x80;

/// A file that does not change.
#[derive(Debug)]
pub(crate) struct TableFile {
    file: File,
    /// It has another name, which is a node's if this one is a checkpoint's; and the system can read past the cache.
    passes_cache: AtomicBool,
}

impl TableFile {
    pub(crate) fn open(path: &Path) -> io::Result<TableFile> {
        let file = File::open(path)?;
        let has_other_name = file.metadata()?.nlink() > 1;
        Ok(TableFile { file, passes_cache: AtomicBool::new(has_other_name && cfg!(target_os = "linux")) })
    }

    /// Fills `raw` from the file at `at`.
    pub(crate) fn read(&self, raw: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(raw, at)
    }

    /// As [`TableFile::read`], of a stretch that is read from beginning to end.
    pub(crate) fn read_ahead(&self, raw: &mut [u8], at: u64) -> io::Result<()> {
        let done = if self.passes_cache.load(Ordering::Relaxed) { self.read_past_cache(raw, at)? } else { 0 };
        self.read(raw.get_mut(done..).unwrap_or_default(), at + done as u64)
    }

    /// How many bytes it could read so.
    #[cfg(target_os = "linux")]
    fn read_past_cache(&self, raw: &mut [u8], at: u64) -> io::Result<usize> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};
        let flags = ReadWriteFlags::from_bits_retain(DONT_CACHE);
        let mut done = 0;
        while let Some(rest) = raw.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match preadv2(&self.file, &mut [io::IoSliceMut::new(rest)], at + done as u64, flags) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(Errno::INTR) => {}
                // An older kernel, or a file system that does not do it.
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    self.passes_cache.store(false, Ordering::Relaxed);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    #[cfg(not(target_os = "linux"))]
    fn read_past_cache(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::{
        fs::{Advice, fadvise},
        io::{Errno, ReadWriteFlags, preadv2},
    };

    const BYTES: usize = 4 << 20;

    /// Whether the page cache has the page there: a read that must not wait says so.
    fn is_cached(file: &File, at: u64) -> Option<bool> {
        match preadv2(file, &mut [io::IoSliceMut::new(&mut [0; 1])], at, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    #[test]
    fn what_is_read_ahead_of_a_file_with_another_name_is_right_and_leaves_the_page_cache_as_it_was() {
        let dir = tempfile::tempdir_in(std::env::var_os("CARGO_TARGET_TMPDIR").unwrap_or("/var/tmp".into())).unwrap();
        let (own, others) = (dir.path().join("000005.ldb"), dir.path().join("link.ldb"));
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at / 7 % 251) as u8).collect();
        std::fs::write(&own, &bytes).unwrap();
        for is_shared in [false, true] {
            if is_shared {
                std::fs::hard_link(&own, &others).unwrap();
            }
            let file = File::open(&own).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            // The node has read one place.
            let hot = 3 << 20;
            file.read_exact_at(&mut [0; 4096], hot).unwrap();
            let table = TableFile::open(&own).unwrap();
            let (mut read, piece) = (vec![0; BYTES], 64 << 10);
            for at in (0..BYTES).step_by(piece) {
                table.read_ahead(&mut read[at..at + piece], at as u64).unwrap();
            }
            assert!(read == bytes);
            assert!(table.read_ahead(&mut [0; 16], BYTES as u64 - 8).is_err(), "the file ends before");
            let cold = 1 << 20;
            let (Some(hot), Some(cold)) = (is_cached(&file, hot), is_cached(&file, cold)) else {
                eprintln!("this file system does not tell what is cached");
                return;
            };
            assert!(hot, "what the node has read stays");
            if is_shared && !table.passes_cache.load(Ordering::Relaxed) {
                eprintln!("this system cannot read past the page cache");
                return;
            }
            assert_eq!(cold, !is_shared, "another name: {is_shared}");
        }
    }
}
