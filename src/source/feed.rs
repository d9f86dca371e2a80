//! Feeds: where versions after the snapshot come from, and how store/v1 is stopped for the switch.

use super::{Source, SourceError};
use crate::model::Version;
use std::sync::Arc;

/// Gives versions after the snapshot.
pub trait Feed: Send + Sync {
    /// The newest version store/v1 has committed.
    ///
    /// # Errors
    /// The feed is broken.
    fn tip(&self) -> Result<Version, SourceError>;

    /// The database that retains the versions.
    fn retained(&self) -> &dyn Source;

    /// Stops store/v1 and says at which version it stands.
    ///
    /// # Errors
    /// It could not be stopped.
    fn fence(&self) -> Result<Version, SourceError>;
}

/// The feed of a database that stands still: the versions it retains.
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

    fn fence(&self) -> Result<Version, SourceError> {
        // Nothing writes to a database that stands still, so it is fenced where it is.
        self.tip()
    }
}
