//! ICS-23 proofs: that a pair, or no pair, of a key was in a store when a version was committed.
//!
//! Owns the proof of a key in one store's tree ([`prove_key`]), the proof of the store's root in the app hash, both together as
//! the Cosmos SDK answers a query with `prove` ([`StoreProof`]), and their encoding. They are byte for byte those that
//! `rootmulti` of the Cosmos SDK (store v1.1) gives for the same database. What is handed out leads to the root that was asked
//! for: every node on the way is hashed. Verifying is the receiver's matter, with the `ics23` libraries and the specs
//! `iavl_spec` and `tendermint_spec`.
//!
//! Two true things have no proof that those libraries accept, whoever makes it: a pair whose value is empty (also as a neighbour of
//! an absent key), and the absence of a key in an empty tree. Of the latter the second half alone says it all: the store's
//! root is [`Hash::EMPTY`](crate::model::Hash::EMPTY).

mod key;
mod store;
mod wire;

pub use key::prove_key;
pub use store::{ProofOp, StoreProof, StoreProofError};
pub use wire::{CommitmentProof, ExistenceProof, InnerOp, NonExistenceProof};
