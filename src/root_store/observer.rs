//! Who is told of every commit: the migration, beside the store.

use super::ChangeSet;
use crate::model::{CommitInfo, Version};
use std::{sync::Arc, time::Duration};

/// Is told of every version once it is durable, in order and without a gap, on the thread that commits.
///
/// It must neither fail nor block: whatever it does, commits go on. So it hands the clone on without waiting, or drops it.
pub trait Observer: Send + Sync {
    /// A version was committed.
    fn committed(&self, version: Version, changes: &Arc<ChangeSet>, info: &Arc<CommitInfo>);

    /// How long that commit took, from when it came.
    fn took(&self, time: Duration) {
        let _ = time;
    }
}
