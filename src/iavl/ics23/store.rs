//! The proof of one key against an app hash: the tree's proof, and that of the store's root.
//!
//! Owns how the two are chained, and what the Cosmos SDK answers a query with: `tendermint.crypto.ProofOps` (CometBFT
//! `proof.proto`) of an operation `ics23:iavl` and one `ics23:simple`.

use super::{
    key::prove_key,
    wire::{CommitmentProof, ExistenceProof, InnerOp, put_field, put_message},
};
use crate::{
    iavl::{Claim, NodeId, NodeReader, ProveError},
    model::{CommitInfo, Hash, StoreInfo, StoreKey},
};

/// That a key of a store has a value, or none, in the version that an app hash belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreProof {
    /// The key, or its absence, in the store's tree (`iavl_spec`).
    pub tree: CommitmentProof,
    /// The store's name and root in the app hash (`tendermint_spec`); its value is the root that `tree` leads to.
    pub store: ExistenceProof,
    key: Vec<u8>,
}

/// One operation of a chained proof, protobuf `tendermint.crypto.ProofOp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofOp {
    /// `ics23:iavl` or `ics23:simple`.
    pub kind: &'static str,
    /// What is proven: a key of the store, or the store's name.
    pub key: Vec<u8>,
    /// Protobuf `cosmos.ics23.v1.CommitmentProof`.
    pub data: Vec<u8>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum StoreProofError {
    /// The version has no such store.
    #[error("version {version} has no store {store}; ask for one of its commit info")]
    NoStore {
        /// The version.
        version: crate::model::Version,
        /// The name.
        store: StoreKey,
    },
    /// The commit info and the tree do not agree whether there is anything in the store.
    #[error("store {store} {what}; nothing was proven: the database is damaged, or not of this commit info")]
    Root {
        /// The name.
        store: StoreKey,
        /// What does not fit.
        what: &'static str,
    },
    /// The tree does not prove.
    #[error("store {store}: {why}")]
    Tree {
        /// The name.
        store: StoreKey,
        /// Why.
        #[source]
        why: ProveError,
    },
}

impl StoreProof {
    /// Proves a key of a store from its nodes against the app hash of `info`. `root` is the store's root node in that version with
    /// references resolved, none for the empty tree.
    ///
    /// # Errors
    /// The commit info does not have the store, or the tree does not lead to the root that the commit info has for it.
    pub fn prove<R: NodeReader + ?Sized>(
        reader: &mut R,
        root: Option<NodeId>,
        info: &CommitInfo,
        store: &StoreKey,
        key: &[u8],
    ) -> Result<StoreProof, StoreProofError> {
        let no_store = || StoreProofError::NoStore { version: info.version, store: store.clone() };
        let recorded = info.store(store).ok_or_else(no_store)?;
        let in_app_hash = store_existence(info, recorded).ok_or_else(no_store)?;
        let unlike = |what| Err(StoreProofError::Root { store: store.clone(), what });
        let claim = match (root, recorded.root) {
            (Some(at), Some(hash)) => Some(Claim { at, hash }),
            (Some(_), None) => return unlike("has a tree and is recorded without a root, as memory stores are"),
            (None, None | Some(Hash::EMPTY)) => None,
            (None, Some(_)) => return unlike("has no tree and is recorded with the root of one"),
        };
        let tree = prove_key(reader, claim, key).map_err(|why| StoreProofError::Tree { store: store.clone(), why })?;
        Ok(StoreProof { tree, store: in_app_hash, key: key.to_vec() })
    }

    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The key's value, if it has one.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.tree.value()
    }

    /// The app hash it leads to.
    #[must_use]
    pub fn app_hash(&self) -> Hash {
        self.store.root()
    }

    /// The two operations, in the order in which they are to be verified.
    #[must_use]
    pub fn ops(&self) -> [ProofOp; 2] {
        let simple = CommitmentProof::Exist(self.store.clone());
        [
            ProofOp { kind: "ics23:iavl", key: self.key.clone(), data: self.tree.encode() },
            ProofOp { kind: "ics23:simple", key: self.store.key.clone(), data: simple.encode() },
        ]
    }

    /// Protobuf `tendermint.crypto.ProofOps`: what a query with `prove` is answered with beside the value.
    #[must_use]
    pub fn encode_ops(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.ops().iter().for_each(|op| put_message(&mut out, 1, &op.encode()));
        out
    }
}

impl ProofOp {
    /// Protobuf `tendermint.crypto.ProofOp`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.key.len() + self.data.len());
        put_field(&mut out, 1, self.kind.as_bytes());
        put_field(&mut out, 2, &self.key);
        put_field(&mut out, 3, &self.data);
        out
    }
}

/// A store's root in the app hash (Cosmos SDK `store/internal/proofs`).
fn store_existence(info: &CommitInfo, store: &StoreInfo) -> Option<ExistenceProof> {
    let path = info.siblings(&store.name)?.into_iter().map(|sibling| InnerOp::new(&[1], &[], sibling));
    Some(ExistenceProof {
        key: store.name.as_str().as_bytes().to_vec(),
        value: store.root.map_or(Vec::new(), |root| root.0.to_vec()),
        leaf_prefix: vec![0],
        path: path.collect(),
    })
}
