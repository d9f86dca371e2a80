//! Keeps a node from being started by mistake on a store/v1 that is no longer of record, as far as a file can.
//!
//! Owns the one thing that is ever changed in a node's database, after the switch and not before: where the engines look for their lock
//! there is a directory then, and each of them refuses to open the database, naming it. The lock's file is kept beside it, so that
//! one rename brings it back. What is in the database is not touched, and reading it needs no lock.
//!
//! Nothing depends on it: whether it is there decides nothing, and a crash between the switch and it leaves the database unguarded.

use crate::disk::{self, Making};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What a guard is made of.
struct Names {
    /// Where engines look: goleveldb, Pebble and RocksDB alike.
    lock: PathBuf,
    /// The file they had there.
    kept: PathBuf,
    /// The directory before it has its name, and after.
    aside: PathBuf,
}

impl Names {
    fn of(database: &Path) -> Names {
        let name = |name: &str| database.join(name);
        Names { lock: name("LOCK"), kept: name("LOCK.node"), aside: name("LOCK.storeshift") }
    }

    /// What opening the lock leads whoever looks there to.
    const README: &'static str = "README";
}

/// Whether it is there.
#[must_use]
pub fn is_placed(database: &Path) -> bool {
    let Names { lock, .. } = Names::of(database);
    lock.join(Names::README).is_file()
}

/// Places it. Repeatable, also after a crash half-way.
///
/// # Errors
/// The operating system's; a node may still be able to start.
pub fn place(database: &Path, why: &str) -> io::Result<()> {
    let Names { lock, kept, aside } = Names::of(database);
    if is_placed(database) {
        return Ok(());
    }
    if !aside.join(Names::README).is_file() {
        disk::clear_all(&aside)?;
        disk::make_directories(&aside)?;
        let text = format!(
            "{why}\n\nSo that no node is started on it by mistake, this directory is where its engine looks for its lock. `storeshift back`\n\
             gives the chain back to store/v1 and removes it. By hand: remove this directory, and rename LOCK.node to LOCK.\n"
        );
        disk::write(&aside.join(Names::README), Making::New, text.as_bytes())?;
        disk::sync(&aside)?;
    }
    if lock.is_file() {
        disk::rename(&lock, &kept)?;
    }
    disk::rename(&aside, &lock)?;
    disk::sync(database)
}

/// Removes it, if it is there. Repeatable, also after a crash half-way.
///
/// # Errors
/// The operating system's; the node's engine may still refuse to open the database.
pub fn lift(database: &Path) -> io::Result<()> {
    let Names { lock, kept, aside } = Names::of(database);
    if is_placed(database) {
        disk::rename(&lock, &aside)?;
    }
    if kept.is_file() {
        // A node that was started in the middle of placing it has made a new one.
        if lock.exists() { disk::remove(&kept)? } else { disk::rename(&kept, &lock)? }
    }
    disk::clear_all(&aside)?;
    disk::sync(database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_lock_is_out_of_the_way_while_the_guard_is_placed_and_the_same_file_again_after_it() {
        let dir = tempfile::tempdir().unwrap();
        for lock in [None, Some("a node's")] {
            let of_node = lock.map(|content| fs::write(dir.path().join("LOCK"), content).unwrap());
            let before = names(dir.path());
            for _ in 0..2 {
                place(dir.path(), "Since version 7 it is not.").unwrap();
                assert!(is_placed(dir.path()));
                let opened = fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(dir.path().join("LOCK"));
                assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::IsADirectory, "as the engines open it");
                let told = fs::read_to_string(dir.path().join("LOCK/README")).unwrap();
                assert!(told.contains("Since version 7 it is not.") && told.contains("rename LOCK.node to LOCK"));
            }
            for _ in 0..2 {
                lift(dir.path()).unwrap();
                assert!(!is_placed(dir.path()));
                assert_eq!(names(dir.path()), before);
            }
            if of_node.is_some() {
                assert_eq!(fs::read_to_string(dir.path().join("LOCK")).unwrap(), lock.unwrap());
            }
        }
    }

    /// A disk that fails from its n-th change on.
    #[derive(Debug)]
    struct Failing(std::sync::atomic::AtomicUsize);

    impl Failing {
        fn next(&self) -> io::Result<disk::Real> {
            use std::sync::atomic::Ordering::SeqCst;
            match self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => Ok(disk::Real),
                Err(_) => Err(io::ErrorKind::StorageFull.into()),
            }
        }
    }

    impl disk::Disk for Failing {
        fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn disk::DiskFile>> {
            self.next()?.make(path, making)
        }
        fn open(&self, path: &Path) -> io::Result<Box<dyn disk::DiskFile>> {
            self.next()?.open(path)
        }
        fn make_directory(&self, path: &Path) -> io::Result<()> {
            self.next()?.make_directory(path)
        }
        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.next()?.link(from, to)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.next()?.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.next()?.remove(path)
        }
        fn remove_directory(&self, path: &Path) -> io::Result<()> {
            self.next()?.remove_directory(path)
        }
        fn remove_all(&self, path: &Path) -> io::Result<()> {
            self.next()?.remove_all(path)
        }
        fn sync(&self, path: &Path) -> io::Result<()> {
            self.next()?.sync(path)
        }
    }

    #[test]
    fn placing_and_lifting_that_end_at_any_change_are_gone_on_with_and_the_lock_is_never_lost() {
        for placed in [false, true] {
            let mut whole = false;
            for changes in 0.. {
                assert!(changes < 40);
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join("LOCK"), "a node's").unwrap();
                if placed {
                    place(dir.path(), "why").unwrap();
                }
                let mounted = disk::mount(dir.path(), std::sync::Arc::new(Failing(changes.into())));
                let tried = if placed { lift(dir.path()) } else { place(dir.path(), "why") };
                drop(mounted);
                let kept = |name: &str| fs::read_to_string(dir.path().join(name)).is_ok_and(|is| is == "a node's");
                assert!(kept("LOCK") || kept("LOCK.node"));
                // Either way can be gone on from there.
                if changes % 2 == 0 {
                    place(dir.path(), "why").unwrap();
                    assert!(is_placed(dir.path()) && kept("LOCK.node"));
                }
                lift(dir.path()).unwrap();
                assert!(kept("LOCK"));
                assert_eq!(names(dir.path()), ["LOCK"]);
                if tried.is_ok() {
                    whole = true;
                    break;
                }
            }
            assert!(whole);
        }
    }
}
