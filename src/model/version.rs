//! A version: the height a store committed.

use std::fmt;

/// The height a store committed. Positive in every valid database; 0 means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The largest version the Go code can hold: it keeps versions in a signed 64-bit integer.
    pub const MAX: Version = Version(i64::MAX as u64);

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
