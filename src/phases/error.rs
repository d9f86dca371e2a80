//! Why a step could not be carried out.

use crate::{
    iavl::{ProveError, tree::TreeError},
    model::{StoreKey, StoreKeyError, Verdict, Version},
    source::SourceError,
    target::TargetError,
};

/// A step was not finished. What it did before is repeatable.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target could not be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A version, or the one before, is not retained.
    #[error("{what} of version {version} is not in the database any more: it was pruned, or never written")]
    Gone {
        /// The version.
        version: Version,
        /// Which record or root.
        what: String,
    },
    /// The source does not prove against its own commit info.
    #[error("the source, store {store} at version {version}: {why}")]
    Unproven {
        /// The store.
        store: StoreKey,
        /// The version read.
        version: Version,
        /// What does not prove.
        why: Box<ProveError>,
    },
    /// The source's tree breaks a rule that no hash covers.
    #[error("the source, store {store} at version {version}: {what}")]
    Damaged {
        /// The store.
        store: StoreKey,
        /// The version read.
        version: Version,
        /// Which rule, and where.
        what: String,
    },
    /// A tree in the target could not be read or continued.
    #[error("the target's tree of store {store} at version {version}: {why}")]
    Tree {
        /// The store.
        store: StoreKey,
        /// The version being applied.
        version: Version,
        /// What went wrong.
        why: Box<TreeError>,
    },
    /// The source cannot be migrated as planned; nothing was written.
    #[error("{0}")]
    Refused(String),
    /// Store names that cannot be laid out; nothing was written.
    #[error("{0}")]
    StoreKeys(#[from] StoreKeyError),
    /// The data disagrees with store/v1; to be recorded.
    #[error("{0}")]
    Verdict(Verdict),
    /// What was found could not be recorded.
    #[error("{0}")]
    Record(Box<dyn std::error::Error + Send + Sync>),
    /// A promise of the code to itself was broken.
    #[error("a bug in storeshift: {0}")]
    Bug(&'static str),
}

impl PhaseError {
    /// Turns a proof that failed while reading the source into an error; a failed read stays what it was.
    pub(super) fn unproven(store: &StoreKey, version: Version, why: ProveError) -> PhaseError {
        PhaseError::Unproven { store: store.clone(), version, why: Box::new(why) }
    }
}
