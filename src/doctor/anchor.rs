//! Where an examination begins: what `s/latest` and its commit info say, and if they say nothing, what can be had instead.

use super::{
    Examination, Interrupted, Scope,
    finding::{Finding, Kind},
};
use crate::{
    model::{CommitInfo, Hash, StoreKey, StoreKeyError, Version, check_store_keys},
    source::{SourceError, is_memory_store},
};
use std::collections::BTreeSet;

/// The version that is proven completely.
pub(super) struct Anchor {
    /// `s/latest`; where it says nothing, the newest version with a commit info.
    pub latest: Version,
    /// Whether `s/latest` says so.
    pub is_said: bool,
    /// The version that was asked for.
    pub asked: Version,
    /// The newest version up to that with a commit info that can be read.
    pub info: Option<CommitInfo>,
    /// Whether that version has no commit info at all; said once it is known whether there are trees of it.
    pub lacks_info: Option<String>,
    /// Whether `run` could begin with this version, as far as its commit info tells.
    pub is_usable: bool,
}

/// How far down a commit info is looked for.
const FAR: u64 = 1000;

impl Anchor {
    pub fn find(exam: &Examination<'_>, scope: Scope) -> Result<Anchor, Interrupted> {
        let said = match exam.source.latest() {
            Ok(latest) => Some(latest),
            Err(error) if error.is_corruption() || matches!(error, SourceError::NoVersion) => {
                let newest = newest_recorded(exam, Version::MAX)?;
                if newest.is_none() && matches!(error, SourceError::NoVersion) {
                    return Err(error.into());
                }
                let newest = newest.map_or("none".to_owned(), |newest| newest.to_string());
                let words = match error {
                    SourceError::NoVersion => "there is no record s/latest, or it says 0".to_owned(),
                    error => error.to_string(),
                };
                let words = format!("{words}; the newest commit info is that of version {newest}");
                exam.findings.add(Finding::new(Kind::BadLatest, words));
                None
            }
            Err(error) => return Err(error.into()),
        };
        let latest = match said {
            Some(latest) => latest,
            None => newest_recorded(exam, Version::MAX)?.unwrap_or_default(),
        };
        let asked = scope.at.unwrap_or(latest);
        if asked > latest {
            return Err(Interrupted::NoSuchVersion { asked, latest });
        }
        let mut anchor =
            Anchor { latest, is_said: said.is_some(), asked, info: None, lacks_info: None, is_usable: false };
        anchor.info = anchor.read_info(exam, asked)?;
        anchor.is_usable = match &anchor.info {
            Some(info) => check_info(exam, info),
            None => false,
        };
        if anchor.info.is_none() && scope.at.is_none() {
            let below = newest_recorded(exam, Version(asked.0.saturating_sub(1)))?.map_or(0, |below| below.0);
            for version in (below.saturating_sub(FAR)..=below).rev() {
                match exam.source.commit_info(Version(version)) {
                    Ok(None) => {}
                    Ok(info) => {
                        anchor.info = info;
                        break;
                    }
                    Err(error) if error.is_corruption() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(anchor)
    }

    /// The version that is proven.
    pub fn version(&self) -> Option<Version> {
        self.info.as_ref().map(|info| info.version)
    }

    /// Its stores that have trees, each once.
    pub fn stores(&self) -> Vec<(StoreKey, Option<Hash>)> {
        self.info.as_ref().map(trees_of).unwrap_or_default()
    }

    fn read_info(&mut self, exam: &Examination<'_>, version: Version) -> Result<Option<CommitInfo>, Interrupted> {
        match exam.source.commit_info(version) {
            Ok(Some(info)) => Ok(Some(info)),
            Ok(None) => {
                let newest = newest_recorded(exam, self.latest)?;
                let newest = newest.map_or("there is none".to_owned(), |at| format!("the newest is that of {at}"));
                let words = format!(
                    "there is no commit info of version {version} ({newest}): nothing says which stores the version has, \
                     nor their hashes"
                );
                self.lacks_info = Some(words);
                Ok(None)
            }
            Err(error) if error.is_corruption() => {
                let kind = match error {
                    SourceError::Record { .. } => Kind::BadCommitInfo,
                    _ => Kind::Unreadable,
                };
                exam.findings.add(Finding::new(kind, error.to_string()).version(version));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The stores of a commit info that have trees, each once, and the roots they are recorded with.
pub(super) fn trees_of(info: &CommitInfo) -> Vec<(StoreKey, Option<Hash>)> {
    let mut seen = BTreeSet::new();
    let trees = info.stores.iter().filter(|store| !is_memory_store(store) && seen.insert(&store.name));
    trees.map(|store| (store.name.clone(), store.root)).collect()
}

/// What is wrong with a commit info that can be decoded, one sentence each, with the store.
pub(super) fn objections(info: &CommitInfo) -> Vec<(StoreKey, String)> {
    let mut found = Vec::new();
    for (store, next) in info.stores.iter().zip(info.stores.iter().skip(1)) {
        if store.name == next.name {
            let words = format!("the commit info of version {} names the store twice", info.version);
            found.push((store.name.clone(), words));
        }
    }
    for store in info.stores.iter().filter(|store| !is_memory_store(store)) {
        if store.version != info.version {
            let words = format!(
                "the commit info of version {} has the store at version {}: no node loads that, or it is no IAVL store",
                info.version, store.version
            );
            found.push((store.name.clone(), words));
        } else if store.root.is_none() {
            let words = format!(
                "the commit info of version {} has no root for the store: a very old release recorded empty trees so, which \
                 no store/v2 can reproduce",
                info.version
            );
            found.push((store.name.clone(), words));
        }
    }
    found
}

fn check_info(exam: &Examination<'_>, info: &CommitInfo) -> bool {
    let objections = objections(info);
    let mut is_usable = objections.is_empty();
    for (store, words) in objections {
        exam.findings.add(Finding::new(Kind::BadCommitInfo, words).store(&store).version(info.version));
    }
    let names: Vec<StoreKey> = trees_of(info).into_iter().map(|(name, _)| name).collect();
    if let Err(error) = check_store_keys(&names) {
        is_usable = false;
        let mut finding = Finding::new(Kind::StoreName, error.to_string()).version(info.version);
        let name = match error {
            StoreKeyError::Empty => String::new(),
            StoreKeyError::TooLong(name) | StoreKeyError::Memory(name) | StoreKeyError::Twice(name) => name,
            StoreKeyError::Character { name, .. } | StoreKeyError::Ambiguous { longer: name, .. } => name,
        };
        finding = finding.store(&StoreKey::from(name));
        exam.findings.add(finding);
    }
    is_usable
}

/// The newest version up to `most` that has a commit info record.
fn newest_recorded(exam: &Examination<'_>, most: Version) -> Result<Option<Version>, Interrupted> {
    let mut newest = None;
    let walked = exam.source.recorded_versions(&mut |version| {
        if version <= most {
            newest = newest.max(Some(version));
        }
    });
    match walked {
        Err(error) if !error.is_corruption() => Err(error.into()),
        _ => Ok(newest),
    }
}
