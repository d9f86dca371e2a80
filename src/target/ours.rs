//! What lies in a target under the names of our directories, looked at before anything is touched.
//!
//! Owns the refusal of what is of another kind: a link, through which something elsewhere would be written or removed, on a disk that
//! nobody looks at; a pipe, at which a process would wait for ever. What is in the journal's directory is the journal's to look at.

use super::{
    Place, TargetError,
    place::{IDENTITY, io_error},
};
use crate::disk;
use std::{
    fs,
    path::{Path, PathBuf},
};

impl Place {
    /// Refuses a target that is no directory, or has something else than directories and files where those of a job belong. What is
    /// missing is no matter, and what cannot be looked at fails when it is used.
    ///
    /// # Errors
    /// [`TargetError::Foreign`].
    pub fn check(&self) -> Result<(), TargetError> {
        self.check_root()?;
        let directories = [self.sc(), self.ss(), self.staging(), self.runs(), self.spool()];
        directories.into_iter().try_for_each(check_tree)?;
        if let Some(path) = [self.sc(), self.ss()].map(|part| part.join(IDENTITY)).iter().find(|path| path.is_dir()) {
            return Err(foreign(path, "is a directory, where a file belongs".to_owned()));
        }
        check_directory(&self.checkpoint())?;
        check_directory(&self.journal())
    }

    /// As [`Place::check`], for a target that is to be wiped: links go, and what they point to stays.
    ///
    /// # Errors
    /// [`TargetError::Foreign`].
    pub fn check_to_wipe(&self) -> Result<(), TargetError> {
        self.check_root()?;
        let directories = [self.sc(), self.ss(), self.staging(), self.runs(), self.spool(), self.checkpoint()];
        directories.iter().filter(|directory| !directory.is_symlink()).try_for_each(|path| check_directory(path))?;
        check_directory(&self.journal())
    }

    /// Removes a link where the checkpoints belong, and nothing of what it points to. Repeatable.
    ///
    /// # Errors
    /// It could not be removed.
    pub fn unlink_checkpoint(&self) -> Result<(), TargetError> {
        let link = self.checkpoint();
        if link.is_symlink() { disk::remove(&link).map_err(io_error(&link, "remove")) } else { Ok(()) }
    }

    /// Where a target lies links have been followed already, those that lead somewhere.
    fn check_root(&self) -> Result<(), TargetError> {
        if let Some(link) = self.root().ancestors().find(|path| path.is_symlink()) {
            return Err(foreign(link, "is a symbolic link to what is not there".to_owned()));
        }
        self.root().ancestors().try_for_each(check_directory)
    }
}

fn check_directory(path: &Path) -> Result<(), TargetError> {
    match fs::symlink_metadata(path).map(|meta| meta.file_type()) {
        Ok(kind) if !kind.is_dir() => Err(foreign(path, format!("is {}, where a directory belongs", disk::kind(kind)))),
        _ => Ok(()),
    }
}

/// A directory of ours, and what is in it. Others may be at work there: what is gone when it is looked at is no matter.
fn check_tree(directory: PathBuf) -> Result<(), TargetError> {
    check_directory(&directory)?;
    let mut left = vec![directory];
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                Ok(kind) if !kind.is_file() => {
                    return Err(foreign(&entry.path(), format!("is {}, where a file belongs", disk::kind(kind))));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn foreign(path: &Path, what: String) -> TargetError {
    TargetError::Foreign { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn only_directories_and_files_are_taken_for_a_jobs() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let place = Place::new(&dir.path().join("target"));
        place.check().unwrap();
        fs::create_dir_all(place.runs().join("store")).unwrap();
        fs::write(place.runs().join("store/7"), "").unwrap();
        place.check().unwrap();
        for path in [place.sc(), place.spool(), place.checkpoint(), place.runs().join("link")] {
            symlink(&elsewhere, &path).unwrap();
            assert!(place.check().unwrap_err().to_string().contains("is a symbolic link, where a"), "{path:?}");
            place.check_to_wipe().unwrap();
            fs::remove_file(&path).unwrap();
            let _socket = UnixListener::bind(&path).unwrap();
            assert!(place.check().unwrap_err().to_string().contains("is a socket, where a"), "{path:?}");
            assert_eq!(place.check_to_wipe().is_ok(), path.parent() == Some(&place.runs()), "{path:?}");
            fs::remove_file(&path).unwrap();
        }
        place.check().unwrap();
    }

    #[test]
    fn a_target_is_not_made_where_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("missing"), &link).unwrap();
        for path in [link.clone(), link.join("deeper")] {
            let error = Place::new(&path).check().unwrap_err().to_string();
            assert!(error.contains("is a symbolic link to what is not there"), "{error}");
        }
    }
}
