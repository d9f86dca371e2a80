//! Owns the reading of the kernel's list of file locks, and hands a file's lock to whoever asks who has it: trying the lock oneself could
//! make a process fail that wants it at that very moment.

use std::{
    fs::{File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
};

/// A lock that somebody has or waits for, which keeps all others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// Made by `flock`, and not by `fcntl`.
    pub is_flock: bool,
    /// Somebody else has it still.
    pub is_awaited: bool,
    /// Its number, if the system tells.
    pub process: Option<u32>,
}

/// So often the list is looked at before a lock is believed not to be in it.
const LOOKS: usize = 4;
/// More than the kernel hands out at once, which is a page.
const GULP: usize = 16 << 10;

/// The first exclusive lock of a file that is of the kind asked for.
///
/// The kernel lists only processes that ours may know of: those in another container are not noticed. Where there is no list, nothing is
/// found. Devices are not compared, since on btrfs and overlayfs the list has another one than a file tells: the lock may be that of a file
/// with the same number elsewhere.
#[must_use]
pub fn find_lock(file: &Metadata, wanted: impl Fn(&FileLock) -> bool) -> Option<FileLock> {
    look(list, file.ino(), wanted)
}

fn look(mut list: impl FnMut() -> Option<String>, inode: u64, wanted: impl Fn(&FileLock) -> bool) -> Option<FileLock> {
    // The kernel hands the list out by the page, and goes on by counting: a lock that is let go of between two pages hides another one.
    (0..LOOKS).find_map(|_| find_in(&list()?, inode, &wanted))
}

fn list() -> Option<String> {
    // Into as much room as there is in the pages: a small first piece, as for a file of no length, would end after its first lines.
    let mut list = Vec::with_capacity(GULP);
    File::open("/proc/locks").ok()?.read_to_end(&mut list).ok()?;
    String::from_utf8(list).ok()
}

/// In the words of `/proc/locks`: `7: FLOCK  ADVISORY  WRITE 1234 fe:00:56789 0 EOF`, with `->` behind the number where it is waited for.
fn find_in(list: &str, inode: u64, wanted: impl Fn(&FileLock) -> bool) -> Option<FileLock> {
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1).peekable();
        let is_awaited = words.next_if_eq(&"->").is_some();
        let is_flock = match words.next()? {
            "FLOCK" => true,
            "POSIX" | "OFDLCK" => false,
            _ => return None,
        };
        let is_exclusive = words.nth(1)? == "WRITE";
        let process = words.next()?.parse().ok().filter(|process| *process > 0);
        let is_its = words.next()?.rsplit(':').next()?.parse() == Ok(inode);
        let lock = FileLock { is_flock, is_awaited, process };
        (is_exclusive && is_its && wanted(&lock)).then_some(lock)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_lock_is_found_among_those_of_other_files_and_other_kinds() {
        let list = "1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 12 fe:00:177 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 13 fe:00:77 0 EOF\n\
                    3: -> FLOCK  ADVISORY  WRITE 14 fe:00:77 0 EOF\n\
                    4: LEASE  ACTIVE    WRITE 15 fe:00:78 0 EOF\n\
                    5: FLOCK\n\
                    6: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF\n\
                    7: FLOCK  ADVISORY  WRITE 16 00:1b:78 0 EOF\n\
                    8: OFDLCK ADVISORY  WRITE -1 00:1b:79 0 EOF\n";
        let process = |inode, wanted: fn(&FileLock) -> bool| find_in(list, inode, wanted).map(|lock| lock.process);
        assert_eq!(process(77, |_| true), Some(Some(11)));
        assert_eq!(process(77, |lock| lock.is_flock), Some(Some(14)));
        assert_eq!(process(77, |lock| lock.is_flock && !lock.is_awaited), None, "who shares it keeps nobody out");
        assert_eq!(process(177, |_| true), Some(Some(12)));
        assert_eq!(process(78, |_| true), Some(None), "a lease is no lock");
        assert_eq!(process(78, |lock| lock.process.is_some()), Some(Some(16)));
        assert_eq!(process(79, |lock| !lock.is_flock), Some(None));
        assert_eq!(process(7, |_| true), None);
    }

    #[test]
    fn a_lock_that_others_hid_is_looked_for_again_and_not_for_ever() {
        let held = "1: FLOCK  ADVISORY  WRITE 11 fe:00:77 0 EOF\n";
        for hidden in [0, 1, LOOKS - 1, LOOKS] {
            let mut looks = 0;
            let list = || {
                looks += 1;
                Some(if looks > hidden { held } else { "" }.to_owned())
            };
            let found = look(list, 77, |_| true);
            assert_eq!((found.is_some(), looks), (hidden < LOOKS, LOOKS.min(hidden + 1)), "hidden {hidden} times");
        }
        const { assert!(LOOKS > 1) };
    }

    #[test]
    fn a_lock_that_is_held_is_found_whichever_others_come_and_go_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let held = File::create(dir.path().join("held")).unwrap();
        let metadata = held.metadata().unwrap();
        if list().is_none() {
            return println!("SKIPPED: the system does not tell who holds a lock");
        }
        held.lock().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for number in 0..2 {
                let (path, is_over) = (dir.path().join(number.to_string()), &is_over);
                scope.spawn(move || {
                    let other = File::create(path).unwrap();
                    while !is_over.load(Ordering::Relaxed) {
                        other.lock().unwrap();
                        other.unlock().unwrap();
                    }
                });
            }
            let missed = (0..2000).filter(|_| find_lock(&metadata, |lock| lock.is_flock).is_none()).count();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(missed, 0);
        });
        held.unlock().unwrap();
        assert_eq!(find_lock(&metadata, |_| true), None);
    }
}
