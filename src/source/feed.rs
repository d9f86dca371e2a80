//! Feeds: where versions after the snapshot come from.

use super::{Source, SourceError, changes::Changes};
use crate::model::{Hash, Version};
use std::sync::Arc;

/// Gives versions after the snapshot.
pub trait Feed: Send + Sync {
    /// The newest version store/v1 has committed.
    ///
    /// # Errors
    /// The feed is broken.
    fn tip(&self) -> Result<Version, SourceError>;

    /// The source whose newest versions are trees, up to its latest.
    fn retained(&self) -> &dyn Source;

    /// The versions after those that are retained as trees, if they come as changes.
    fn changes(&self) -> Option<&dyn Changes> {
        None
    }

    /// What store/v1 recorded as the app hash of a version, if that is known.
    ///
    /// # Errors
    /// The source could not be read.
    fn app_hash(&self, version: Version) -> Result<Option<Hash>, SourceError> {
        if let Some(hash) = self.changes().and_then(|changes| changes.app_hash(version)) {
            return Ok(Some(hash));
        }
        Ok(self.retained().commit_info(version)?.map(|info| info.app_hash()))
    }
}

/// The feed of a database: the versions it retains.
pub struct RetainedVersions {
    source: Arc<dyn Source>,
}

impl RetainedVersions {
    /// The versions of this source.
    #[must_use]
    pub fn new(source: Arc<dyn Source>) -> RetainedVersions {
        RetainedVersions { source }
    }
}

impl Feed for RetainedVersions {
    fn tip(&self) -> Result<Version, SourceError> {
        self.source.latest()
    }

    fn retained(&self) -> &dyn Source {
        self.source.as_ref()
    }
}

/// The feed of changesets: the versions a source retains, then those that come as changes.
pub struct ChangesetFeed<C> {
    source: Arc<dyn Source>,
    changes: C,
}

impl<C: Changes> ChangesetFeed<C> {
    /// These changes on top of this source.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, changes: C) -> ChangesetFeed<C> {
        ChangesetFeed { source, changes }
    }
}

impl<C: Changes> Feed for ChangesetFeed<C> {
    fn tip(&self) -> Result<Version, SourceError> {
        Ok(self.source.latest()?.max(self.changes.tip()))
    }

    fn retained(&self) -> &dyn Source {
        self.source.as_ref()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(&self.changes)
    }
}
