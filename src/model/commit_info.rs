//! Commit info: the roots of all stores at one version, and the app hash over them.

use super::{Hash, StoreKey, Version};

/// Block header time recorded beside a commit info. It is in no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: i32,
}

impl Timestamp {
    /// Go's zero time, midnight of 1 January of the year 1: what is recorded where no block time is known.
    pub const ZERO: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };

    /// Unix nanoseconds with Go's wrap-around for times out of range (the zero time is one).
    #[must_use]
    pub fn unix_nanos(self) -> i64 {
        self.seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(self.nanos))
    }
}

/// One store in a commit info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// The store's name.
    pub name: StoreKey,
    /// The version recorded beside the root.
    pub version: Version,
    /// The root as recorded: 32 bytes, or none at all for memory stores of old releases.
    pub root: Option<Hash>,
}

/// The other child of an inner node on the way from a leaf to a Merkle root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sibling {
    /// It is hashed before what comes from the leaf.
    Left(Hash),
    /// It is hashed after that.
    Right(Hash),
}

/// The stores of one version with their roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The version.
    pub version: Version,
    /// The stores in ascending order of name.
    pub stores: Vec<StoreInfo>,
    /// Block time, if recorded.
    pub timestamp: Option<Timestamp>,
}

impl CommitInfo {
    /// The app hash: the RFC 6962 Merkle root over the stores' leaves in order of name, each leaf
    /// `SHA-256(00 ‖ uv(len name) ‖ name ‖ 20 ‖ SHA-256(root))` (Cosmos SDK `store/internal/maps`).
    #[must_use]
    pub fn app_hash(&self) -> Hash {
        merkle_root(&self.leaves().1)
    }

    /// What a store's leaf is hashed with, from the leaf up, until the app hash comes out; nothing for the only store. `None`
    /// if there is no such store.
    #[must_use]
    pub fn siblings(&self, name: &StoreKey) -> Option<Vec<Sibling>> {
        let (stores, leaves) = self.leaves();
        let mut at = stores.iter().position(|store| store.name == *name)?;
        let mut leaves = leaves.as_slice();
        let mut siblings = Vec::new();
        while leaves.len() > 1 {
            let (left, right) = halves(leaves);
            if let Some(in_right) = at.checked_sub(left.len()) {
                siblings.push(Sibling::Left(merkle_root(left)));
                (leaves, at) = (right, in_right);
            } else {
                siblings.push(Sibling::Right(merkle_root(right)));
                leaves = left;
            }
        }
        siblings.reverse();
        Some(siblings)
    }

    /// The stores in order of name, and the leaf of each.
    fn leaves(&self) -> (Vec<&StoreInfo>, Vec<Hash>) {
        let mut stores: Vec<&StoreInfo> = self.stores.iter().collect();
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        let leaves = stores.iter().map(|store| leaf(store)).collect();
        (stores, leaves)
    }

    /// The recorded info of one store.
    #[must_use]
    pub fn store(&self, name: &StoreKey) -> Option<&StoreInfo> {
        self.stores.iter().find(|store| store.name == *name)
    }
}

fn leaf(store: &StoreInfo) -> Hash {
    let root_hash = store.root.map_or(Hash::EMPTY, |root| Hash::of(&[&root.0]));
    let name = store.name.as_str().as_bytes();
    let mut length = Vec::with_capacity(2);
    let mut rest = name.len();
    while rest >= 0x80 {
        length.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    Hash::of(&[&[0], &length, name, &[0x20], &root_hash.0])
}

fn merkle_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY,
        [only] => *only,
        _ => {
            let (left, right) = halves(leaves);
            Hash::of(&[&[1], &merkle_root(left).0, &merkle_root(right).0])
        }
    }
}

/// Two leaves or more below one inner node: to the left the largest power of two strictly below their count.
fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}
