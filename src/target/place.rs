//! The target's directory: `sc/`, `ss/`, `staging/`, `spool/`, `runs/`, `checkpoint/`, and the identity files that tie them to one
//! job.
//!
//! Owns creating and wiping those directories. The journal's directory lies beside them and belongs to the journal, and what is
//! in `checkpoint/` is made and removed where sources are read.

use super::TargetError;
use crate::{
    disk::{self, Making},
    model::JobId,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Name of the identity file inside `sc/` and `ss/`. RocksDB leaves files alone whose names it does not know.
pub(super) const IDENTITY: &str = "storeshift.job";

/// A target's directory.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// The target at this path; nothing is touched.
    #[must_use]
    pub fn new(root: &Path) -> Place {
        Place { root: root.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where SC lives.
    #[must_use]
    pub fn sc(&self) -> PathBuf {
        self.root.join("sc")
    }

    /// Where SS lives.
    #[must_use]
    pub fn ss(&self) -> PathBuf {
        self.root.join("ss")
    }

    /// Where the journal lives.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Where files are built before an engine takes them over. Its contents never matter after a restart.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Where sorted runs are kept of stores that are not whole yet. Unlike `staging` it matters after a restart.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where a snapshot is unpacked. Derived: if it is lost it is made again.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Where the checkpoint of a running node's database lies that is migrated, unless elsewhere. Its contents matter after a
    /// restart; without them another one has to be made.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    /// Whether any engine directory exists and has something in it.
    ///
    /// # Errors
    /// The directory could not be read.
    pub fn occupied(&self) -> Result<Option<PathBuf>, TargetError> {
        for directory in [self.sc(), self.ss(), self.staging(), self.runs(), self.spool()] {
            if !is_empty(&directory)? {
                return Ok(Some(directory));
            }
        }
        Ok(None)
    }

    /// Prepares an engine directory for a job: creates it with the identity file, or checks the one that is there.
    ///
    /// # Errors
    /// [`TargetError::Foreign`] if what is there is not this job's.
    pub fn claim(&self, directory: &Path, job: JobId) -> Result<(), TargetError> {
        if self.is_of(directory, job)? {
            return Ok(());
        }
        let identity = directory.join(IDENTITY);
        disk::make_directories(directory).map_err(io_error(directory, "create"))?;
        // Renamed into place, so that a crash leaves a whole identity or none; the name is durable before the
        // engine writes its first byte, so that a crash never leaves an engine without one.
        let temporary = directory.join("storeshift.job.new");
        disk::write(&temporary, Making::Anew, job.to_string().as_bytes()).map_err(io_error(&temporary, "write"))?;
        disk::rename(&temporary, &identity).map_err(io_error(&identity, "rename into place"))?;
        sync(directory)?;
        sync(&self.root)
    }

    /// Whether an engine directory is this job's; not where there is none, or nothing in it. Nothing is made.
    ///
    /// # Errors
    /// [`TargetError::Foreign`] if what is there is somebody else's.
    pub fn is_of(&self, directory: &Path, job: JobId) -> Result<bool, TargetError> {
        let identity = directory.join(IDENTITY);
        let foreign = |what: String| Err(TargetError::Foreign { path: directory.to_owned(), what });
        match fs::read_to_string(&identity) {
            Ok(text) if text.trim() == job.to_string() => Ok(true),
            Ok(text) => foreign(format!("belongs to job {}, the journal here is of job {job}", text.trim())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                foreign("has an identity file that is no text: it is damaged, or was not made by this job".to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_empty(directory)? {
                    return Ok(false);
                }
                foreign("has files in it but no storeshift identity: it was not made by this job".to_owned())
            }
            Err(error) => Err(io_error(&identity, "read")(error)),
        }
    }

    /// Empties and recreates the staging directory.
    ///
    /// # Errors
    /// It could not be removed or created.
    pub fn clear_staging(&self) -> Result<(), TargetError> {
        let staging = self.staging();
        remove(&staging)?;
        disk::make_directories(&staging).map_err(io_error(&staging, "create"))
    }

    /// Removes what is of no use once everything is in the engines.
    ///
    /// # Errors
    /// It could not be removed.
    pub fn remove_temporary(&self) -> Result<(), TargetError> {
        remove(&self.staging())?;
        remove(&self.spool())?;
        remove(&self.runs())
    }

    /// Removes `sc/`, `ss/`, `staging/`, `spool/` and `runs/`, and makes that durable. Repeatable.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn wipe(&self) -> Result<(), TargetError> {
        for directory in [self.sc(), self.ss(), self.staging(), self.spool(), self.runs()] {
            remove(&directory)?;
        }
        if self.root.exists() { sync(&self.root) } else { Ok(()) }
    }
}

/// Whether a directory is missing or has nothing in it but an unfinished identity file.
fn is_empty(directory: &Path) -> Result<bool, TargetError> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(io_error(directory, "list"))?;
                if entry.file_name() != "storeshift.job.new" {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_error(directory, "list")(error)),
    }
}

fn remove(directory: &Path) -> Result<(), TargetError> {
    disk::clear_all(directory).map(drop).map_err(io_error(directory, "remove"))
}

fn sync(path: &Path) -> Result<(), TargetError> {
    disk::sync(path).map_err(io_error(path, "sync"))
}

pub(super) fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> TargetError {
    let path = path.to_owned();
    move |source| TargetError::Io { path, doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_directory_is_its_jobs_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        place.claim(&place.sc(), JobId([1; 16])).unwrap();
        place.claim(&place.sc(), JobId([1; 16])).unwrap();
        assert!(matches!(place.claim(&place.sc(), JobId([2; 16])), Err(TargetError::Foreign { .. })));
        assert_eq!(place.occupied().unwrap(), Some(place.sc()));
        place.wipe().unwrap();
        place.wipe().unwrap();
        assert_eq!(place.occupied().unwrap(), None);
    }

    #[test]
    fn a_directory_with_strange_files_is_not_claimed() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        fs::create_dir(place.ss()).unwrap();
        fs::write(place.ss().join("CURRENT"), "x").unwrap();
        assert!(matches!(place.claim(&place.ss(), JobId([1; 16])), Err(TargetError::Foreign { .. })));
    }

    #[test]
    fn a_claim_cut_short_before_its_rename_is_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        fs::create_dir(place.sc()).unwrap();
        fs::write(place.sc().join("storeshift.job.new"), "01").unwrap();
        assert_eq!(place.occupied().unwrap(), None);
        place.claim(&place.sc(), JobId([1; 16])).unwrap();
    }
}
