//! Which disk a path is on.

use super::{Disk, Real};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// Few, and mostly none: the one with the longest path that is above a file has it.
static MOUNTS: RwLock<Vec<(PathBuf, Arc<dyn Disk>)>> = RwLock::new(Vec::new());

/// A disk is mounted as long as this is there.
#[derive(Debug)]
#[must_use]
pub struct Mounted {
    path: PathBuf,
}

/// Has everything under a directory be done by this disk. For tests; nothing in the library mounts anything. The path is to be
/// given as those that are worked with are.
pub fn mount(path: &Path, disk: Arc<dyn Disk>) -> Mounted {
    MOUNTS.write().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), disk));
    Mounted { path: path.to_owned() }
}

pub(super) fn find(path: &Path) -> Arc<dyn Disk> {
    let mounts = MOUNTS.read().unwrap_or_else(PoisonError::into_inner);
    let above = mounts.iter().filter(|(at, _)| path.starts_with(at));
    above
        .max_by_key(|(at, _)| at.as_os_str().len())
        .map_or_else(|| Arc::new(Real) as Arc<dyn Disk>, |(_, disk)| disk.clone())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut mounts = MOUNTS.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = mounts.iter().rposition(|(path, _)| *path == self.path) {
            mounts.remove(at);
        }
    }
}
