//! Proofs as values, and as protobuf `cosmos.ics23.v1.CommitmentProof` (cosmos/ics23 `proofs.proto`).
//!
//! Only what trees of the Cosmos SDK need: all hashes are SHA-256, lengths are varints, values are hashed before the leaf is.
//! Fields go in order and empty ones are left out, as Go writes them.

use crate::{
    iavl::varint::{put_bytes, put_uv, uv_len},
    model::{Hash, Sibling},
};

/// `HashOp.SHA256`.
const SHA256: u64 = 1;
/// `LengthOp.VAR_PROTO`.
const VAR_PROTO: u64 = 1;

/// That a key has a value, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitmentProof {
    /// It has.
    Exist(ExistenceProof),
    /// It has not.
    Nonexist(NonExistenceProof),
}

/// That a key has a value: hashing the leaf and then going up the path gives the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistenceProof {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// What the leaf's hash is taken over before key and value.
    pub leaf_prefix: Vec<u8>,
    /// The inner nodes from the leaf up to the root.
    pub path: Vec<InnerOp>,
}

/// One inner node on a path: its hash is taken over `prefix`, the hash from below, and `suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerOp {
    /// What comes before the hash from below, a left sibling included.
    pub prefix: Vec<u8>,
    /// What comes after it: a right sibling, or nothing.
    pub suffix: Vec<u8>,
}

/// That a key has no value: its neighbours are there, and next to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonExistenceProof {
    /// The key.
    pub key: Vec<u8>,
    /// The largest key below it; none if there is none.
    pub left: Option<ExistenceProof>,
    /// The smallest key above it; none if there is none.
    pub right: Option<ExistenceProof>,
}

impl InnerOp {
    /// `head`, then both children's hashes, `length` before each.
    pub(super) fn new(head: &[u8], length: &[u8], sibling: Sibling) -> InnerOp {
        match sibling {
            Sibling::Left(left) => {
                InnerOp { prefix: [head, length, left.0.as_slice(), length].concat(), suffix: Vec::new() }
            }
            Sibling::Right(right) => {
                InnerOp { prefix: [head, length].concat(), suffix: [length, right.0.as_slice()].concat() }
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.prefix.len() + self.suffix.len());
        put_number(&mut out, 1, SHA256);
        put_field(&mut out, 2, &self.prefix);
        put_field(&mut out, 3, &self.suffix);
        out
    }
}

impl ExistenceProof {
    /// The root it leads to.
    #[must_use]
    pub fn root(&self) -> Hash {
        let length = |bytes: &[u8]| {
            let mut out = Vec::with_capacity(10);
            put_uv(&mut out, bytes.len() as u64);
            out
        };
        let value = Hash::of(&[&self.value]).0;
        let leaf = Hash::of(&[&self.leaf_prefix, &length(&self.key), &self.key, &length(&value), &value]);
        self.path.iter().fold(leaf, |hash, node| Hash::of(&[&node.prefix, &hash.0, &node.suffix]))
    }

    fn encode(&self) -> Vec<u8> {
        let mut leaf = Vec::with_capacity(32);
        put_number(&mut leaf, 1, SHA256);
        put_number(&mut leaf, 3, SHA256);
        put_number(&mut leaf, 4, VAR_PROTO);
        put_field(&mut leaf, 5, &self.leaf_prefix);
        let mut out = Vec::with_capacity(64 + self.key.len() + self.value.len() + 96 * self.path.len());
        put_field(&mut out, 1, &self.key);
        put_field(&mut out, 2, &self.value);
        put_message(&mut out, 3, &leaf);
        self.path.iter().for_each(|node| put_message(&mut out, 4, &node.encode()));
        out
    }
}

impl NonExistenceProof {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, &self.key);
        self.left.iter().for_each(|left| put_message(&mut out, 2, &left.encode()));
        self.right.iter().for_each(|right| put_message(&mut out, 3, &right.encode()));
        out
    }
}

impl CommitmentProof {
    /// The value, if the key has one.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            CommitmentProof::Exist(proof) => Some(&proof.value),
            CommitmentProof::Nonexist(_) => None,
        }
    }

    /// Protobuf `cosmos.ics23.v1.CommitmentProof`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (number, message) = match self {
            CommitmentProof::Exist(proof) => (1, proof.encode()),
            CommitmentProof::Nonexist(proof) => (2, proof.encode()),
        };
        let mut out = Vec::with_capacity(1 + uv_len(message.len() as u64) + message.len());
        put_message(&mut out, number, &message);
        out
    }
}

/// A number that is not 0.
fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_uv(out, field << 3);
    put_uv(out, number);
}

/// A string or bytes: left out when empty.
pub(super) fn put_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_message(out, field, bytes);
    }
}

/// A message: there, even if it is empty.
pub(super) fn put_message(out: &mut Vec<u8>, field: u64, message: &[u8]) {
    put_uv(out, field << 3 | 2);
    put_bytes(out, message);
}
