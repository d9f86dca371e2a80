//! Changeset files as a feed: the versions after the snapshot, as what each of them set and removed.
//!
//! A directory with any number of files `*.bin`, each a sequence of records ([`record`]) with ascending versions, and one file
//! `app_hashes`: a line `<version> <app hash>` for each, and ` +name` or ` -name` for stores that begin or end with it. Names
//! and cuts of the files mean nothing; every version after the source's newest must be in exactly one of them, without a gap,
//! and have its app hash. Versions the source has are passed over.
//!
//! Owns the index over the files. Hands out changesets; whether they lead to their app hash is told by who applies them.

mod app_hashes;
pub mod record;
#[cfg(test)]
mod tests;

use super::SourceError;
use crate::model::{Changeset, Hash, Version};
use record::{Measure, MeasureError};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

pub use app_hashes::{Upgrades, parse as parse_app_hashes};

/// Name of the file with the app hashes.
const APP_HASHES: &str = "app_hashes";

/// Versions as what they changed, each with the app hash it has to come to.
pub trait Changes: Send + Sync {
    /// The newest version.
    fn tip(&self) -> Version;

    /// The app hash of a version.
    fn app_hash(&self, version: Version) -> Option<Hash>;

    /// The stores that begin or end with a version.
    fn upgrades(&self, version: Version) -> Upgrades;

    /// About how many bytes the changes of a version take in memory.
    fn bytes(&self, version: Version) -> u64;

    /// Bytes of all versions.
    fn total_bytes(&self) -> u64;

    /// The changes of a version.
    ///
    /// # Errors
    /// They could not be read, or are damaged.
    fn read(&self, version: Version) -> Result<Changeset, SourceError>;

    /// What a version came from, for errors.
    fn place(&self, version: Version) -> PathBuf;
}

/// Changeset files.
#[derive(Debug)]
pub struct ChangesetFiles {
    directory: PathBuf,
    files: Vec<PathBuf>,
    /// The version before the first one.
    after: Version,
    /// One for each version after it.
    versions: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    at: u64,
    length: u64,
    app_hash: Hash,
    upgrades: Upgrades,
}

impl ChangesetFiles {
    /// The versions after `after` in a directory's files. Looks at every record's lengths, not at keys and values.
    ///
    /// # Errors
    /// A file is damaged; or a version is missing, is there twice, or has no app hash.
    pub fn open(directory: &Path, after: Version) -> Result<ChangesetFiles, SourceError> {
        let unfit = |what: String| SourceError::Unrecognised { path: directory.display().to_string(), what };
        let entries = std::fs::read_dir(directory).map_err(|error| unfit(format!("cannot be read: {error}")))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
        files.sort();
        let mut found = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            for (version, at, length) in measure(file)? {
                if version <= after {
                    continue;
                }
                if let Some((other, ..)) = found.insert(version, (number, at, length)) {
                    let other = files.get(other).unwrap_or(file).display();
                    return Err(unfit(format!("version {version} is there twice, in {other} and {}", file.display())));
                }
            }
        }
        let hashes = directory.join(APP_HASHES);
        let text = std::fs::read_to_string(&hashes)
            .map_err(|error| unfit(format!("its file {APP_HASHES} cannot be read: {error}")))?;
        let mut hashes = app_hashes::parse(&text)
            .map_err(|what| SourceError::Unrecognised { path: hashes.display().to_string(), what })?;
        let mut versions = Vec::with_capacity(found.len());
        let mut expected = after.next();
        for (version, (file, at, length)) in found {
            if version != expected {
                return Err(unfit(format!(
                    "version {expected} is missing: the source's newest version is {after}, and the files go up to a later one"
                )));
            }
            let (app_hash, upgrades) = hashes
                .remove(&version)
                .ok_or_else(|| unfit(format!("version {version} has no app hash in {APP_HASHES}")))?;
            versions.push(Entry { file, at, length, app_hash, upgrades });
            expected = version.next();
        }
        if let Some(beyond) = hashes.keys().find(|version| **version > after) {
            return Err(unfit(format!("version {beyond} has an app hash, but no file has its changes")));
        }
        Ok(ChangesetFiles { directory: directory.to_owned(), files, after, versions })
    }

    fn entry(&self, version: Version) -> Option<&Entry> {
        let number = version.0.checked_sub(self.after.0 + 1)?;
        self.versions.get(usize::try_from(number).ok()?)
    }
}

/// Version, place and length of each record of a file.
fn measure(path: &Path) -> Result<Vec<(Version, u64, u64)>, SourceError> {
    let file = File::open(path).map_err(SourceError::io(path, "open"))?;
    let length = file.metadata().map_err(SourceError::io(path, "look at"))?.len();
    let mut measure = Measure::new(file, length);
    let mut records: Vec<(Version, u64, u64)> = Vec::new();
    loop {
        let at = measure.at();
        let damaged = |what: &str| SourceError::Damaged {
            path: path.to_owned(),
            what: format!("the record at byte {at}: {what}"),
        };
        match measure.next_version() {
            Ok(None) => return Ok(records),
            Ok(Some(version)) => {
                if records.last().is_some_and(|(last, ..)| *last >= version) {
                    return Err(damaged("its version is not above that of the record before"));
                }
                records.push((version, at, measure.at() - at));
            }
            Err(MeasureError::Io(error)) => return Err(SourceError::io(path, "read")(error)),
            Err(MeasureError::Damaged(what)) => return Err(damaged(what)),
        }
    }
}

impl Changes for ChangesetFiles {
    fn tip(&self) -> Version {
        Version(self.after.0 + self.versions.len() as u64)
    }

    fn app_hash(&self, version: Version) -> Option<Hash> {
        self.entry(version).map(|entry| entry.app_hash)
    }

    fn upgrades(&self, version: Version) -> Upgrades {
        self.entry(version).map(|entry| entry.upgrades.clone()).unwrap_or_default()
    }

    fn bytes(&self, version: Version) -> u64 {
        self.entry(version).map_or(0, |entry| entry.length)
    }

    fn total_bytes(&self) -> u64 {
        self.versions.iter().map(|entry| entry.length).sum()
    }

    fn read(&self, version: Version) -> Result<Changeset, SourceError> {
        let path = self.place(version);
        let damaged = |what: String| SourceError::Damaged { path: path.clone(), what };
        let entry = self.entry(version).ok_or_else(|| damaged(format!("version {version} is not there")))?;
        // As long as the file was when it was looked at.
        let mut bytes = vec![0; usize::try_from(entry.length).unwrap_or(usize::MAX)];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, entry.at));
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("is shorter than it was when the run began".to_owned()));
            }
            Err(error) => return Err(SourceError::io(&path, "read")(error)),
        }
        match record::decode(&bytes) {
            Ok(set) if set.version == version => Ok(set),
            Ok(set) => Err(damaged(format!("has version {} where version {version} was", set.version))),
            Err(what) => Err(damaged(format!("version {version}: {what}"))),
        }
    }

    fn place(&self, version: Version) -> PathBuf {
        self.entry(version).and_then(|entry| self.files.get(entry.file)).unwrap_or(&self.directory).clone()
    }
}
