//! Changesets: all pairs set or removed in one version.

use super::{StoreKey, Version};

/// One key set (`Some`, possibly empty) or removed (`None`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The new value, or none for a removal.
    pub value: Option<Vec<u8>>,
}

/// A change whose bytes are borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRef<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The new value, or none for a removal.
    pub value: Option<&'a [u8]>,
}

impl Change {
    /// The change, borrowed.
    #[must_use]
    pub fn borrow(&self) -> ChangeRef<'_> {
        ChangeRef { key: &self.key, value: self.value.as_deref() }
    }
}

/// The changes of one store, in the order store/v1 wrote them: ascending keys, sets and removals interleaved. The
/// shape of the tree, and so its root, depends on that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreChanges {
    /// The store.
    pub store: StoreKey,
    /// Its changes.
    pub changes: Vec<Change>,
}

/// All changes of one version, by store in order of name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeset {
    /// The version these changes led to.
    pub version: Version,
    /// The stores that changed.
    pub stores: Vec<StoreChanges>,
}
