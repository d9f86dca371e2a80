//! What can go wrong with a root store: what happened, what is safe, what to do.

use crate::{
    error::{Error, Kind},
    iavl::{ProveError, tree::TreeError},
    model::{StoreKey, Version},
    source::SourceError,
    target::TargetError,
};
use std::fmt;

/// The versions a store can be read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The oldest.
    pub oldest: Version,
    /// The newest.
    pub latest: Version,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "versions {} to {}", self.oldest, self.latest)
    }
}

/// Every failure of a root store. Unless it says otherwise the store is as it was and goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A database in the rootmulti layout could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A database could not be written, or SC or SS not be read.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The version was pruned, or is not there yet. It is never taken for one without pairs.
    #[error("version {asked} cannot be read: {}", there.map_or("nothing was committed yet".to_owned(), |span| format!("there are {span}")))]
    NoVersion {
        /// The version asked for.
        asked: Version,
        /// What there is instead.
        there: Option<Span>,
    },
    /// The version has no such store.
    #[error("there is no store {store} at version {version}")]
    NoStore {
        /// The store asked for.
        store: StoreKey,
        /// The version.
        version: Version,
    },
    /// The changes cannot be committed; nothing of them was.
    #[error("the changes for version {version} cannot be committed: {what}")]
    Changes {
        /// The version they would have become.
        version: Version,
        /// What is wrong with them.
        what: String,
    },
    /// A tree could not take the changes; nothing of them was committed.
    #[error("store {store}, on the way to version {version}: {why}")]
    Tree {
        /// The store.
        store: StoreKey,
        /// The version that was to be committed.
        version: Version,
        /// What the tree ran into.
        why: Box<TreeError>,
    },
    /// A tree could not be read.
    #[error("store {store} at version {version}: {why}")]
    Nodes {
        /// The store.
        store: StoreKey,
        /// The version.
        version: Version,
        /// What is wrong.
        why: Box<ProveError>,
    },
    /// A store's tree begins with a node of IAVL 0.20 or older, on which nothing can be committed here.
    #[error(
        "store {store} has nodes that IAVL 0.20 or older wrote: this release reads them, but commits on trees of IAVL 1.x only"
    )]
    Legacy {
        /// The store.
        store: StoreKey,
    },
    /// Records contradict each other.
    #[error("damaged: {0}")]
    Damaged(String),
    /// SS has versions that SC has not.
    #[error(
        "SS is at version {ss}, and SC {}: no crash leaves them so, for SC is on disk before SS is written; one of them was put back \
         alone. Put both back from one backup; or remove SS, and a new one is read back from SC's trees when the store is opened",
        sc.map_or("has none".to_owned(), |sc| format!("at {sc}"))
    )]
    Ahead {
        /// SS's newest version.
        ss: Version,
        /// SC's newest version.
        sc: Option<Version>,
    },
    /// A write failed, and whether it is on disk is not known. Reads go on; to commit the store must be opened anew.
    #[error("an earlier commit could not be written ({0}): open the store anew, which tells whether it is there")]
    Broken(String),
    /// The new layout does not stand where the old one does; the old one goes on.
    #[error("the layouts do not stand at the same version: {0}")]
    NotTheSame(String),
}

impl StoreError {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            StoreError::NoVersion { .. } | StoreError::NoStore { .. } | StoreError::Changes { .. } => Kind::Usage,
            StoreError::Tree { why, .. } => match &**why {
                TreeError::Read(error) if !error.corrupt => Kind::Retry,
                TreeError::Legacy { .. } | TreeError::TooLarge(_) => Kind::Blocked,
                _ => Kind::Disagrees,
            },
            StoreError::Nodes { why, .. } => match &**why {
                ProveError::Read(error) if !error.corrupt => Kind::Retry,
                _ => Kind::Disagrees,
            },
            StoreError::Legacy { .. } | StoreError::Ahead { .. } => Kind::Blocked,
            StoreError::Damaged(_) | StoreError::NotTheSame(_) => Kind::Disagrees,
            StoreError::Broken(_) => Kind::Retry,
            StoreError::Source(error) => match error {
                error if error.is_corruption() => Kind::Disagrees,
                SourceError::Io { .. } | SourceError::Stopped => Kind::Retry,
                _ => Kind::Blocked,
            },
            StoreError::Target(error) => match error {
                TargetError::Corrupt { .. } => Kind::Disagrees,
                TargetError::Foreign { .. } => Kind::Blocked,
                TargetError::Order => Kind::Bug,
                _ => Kind::Retry,
            },
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::Source(error) => Error::Source(error),
            StoreError::Target(error) => Error::Target(error),
            error => Error::Blocked {
                what: error.to_string(),
                advice: match error.kind() {
                    Kind::Disagrees => "Nothing was written over. Take the database from a backup or another node.",
                    Kind::Retry => "What was committed before is there. Open the store anew.",
                    _ => "Nothing was written.",
                }
                .to_owned(),
            },
        }
    }
}
