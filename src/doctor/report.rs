//! What an examination ends in, with stable names for JSON.

use super::{
    finding::{Finding, Kind, Severity},
    survey::Tallies,
};
use serde::Serialize;

/// What an examination found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of the names and their meaning: 1.
    pub format: u32,
    /// Whether there is no damage.
    pub sound: bool,
    /// All in one sentence.
    pub verdict: String,
    /// Engine of the source.
    pub engine: String,
    /// `s/latest`; none if it cannot be read.
    pub latest: Option<u64>,
    /// The version that was proven completely; none if no version could be.
    pub proven: Option<u64>,
    /// App hash of that version, hex.
    pub app_hash: Option<String>,
    /// Whether older versions were walked as well.
    pub history: bool,
    /// Damages found, those included that are not in `findings`.
    pub damages: u64,
    /// Notices, likewise.
    pub notices: u64,
    /// The first thousand findings: damage first, then by store, the newest version first.
    pub findings: Vec<Finding>,
    /// How many of each kind there are.
    pub counts: Vec<Count>,
    /// Versions that `run` can take as its snapshot: they and all later ones are whole.
    pub migratable: Vec<Migratable>,
    /// Versions all trees of which prove.
    pub whole: Vec<Range>,
    /// Versions that cannot be migrated, newest first, and why. The first thousand ranges.
    pub excluded: Vec<Excluded>,
    /// The stores by name, those of no commit info included.
    pub stores: Vec<StoreReport>,
}

/// How many findings of a kind there are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Count {
    /// The kind.
    pub kind: Kind,
    /// How bad.
    pub severity: Severity,
    /// How many.
    pub count: u64,
}

/// Versions, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Versions that can be migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Migratable {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Whether memory stores have to be left out.
    pub leave_out_memory_stores: bool,
}

/// Versions that cannot be migrated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

/// One store.
#[derive(Clone, Debug, Serialize)]
pub struct StoreReport {
    /// Its name.
    pub name: String,
    /// Whether the version that was proven has it.
    pub live: bool,
    /// Whether its tree of that version is sound.
    pub sound: bool,
    /// Its keys at that version.
    pub keys: Option<u64>,
    /// The first version up to `s/latest` that has a root record.
    pub first_version: Option<u64>,
    /// The last one.
    pub last_version: Option<u64>,
    /// How many have one.
    pub versions: u64,
    /// `m storage_version`: what the fast index says of itself.
    pub storage_version: Option<String>,
    /// Records and bytes by kind.
    pub records: Tallies,
}
