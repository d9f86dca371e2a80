//! The identity of one migration.

use super::to_hex;
use std::fmt;

/// What ties journal, target and capture to each other: 16 random bytes, drawn when a job is born.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JobId(pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
