//! The IAVL tree as pure code: node keys, records and hashes, proving subtrees, cutting trees into chunks, numbering
//! migrated nodes, the difference between versions, looking up pairs, and committing changes.
//!
//! Owns everything that is true of the tree wherever its records lie. Reads them through [`NodeReader`]; never does
//! input or output itself.

pub mod diff;
mod forest;
pub mod growth;
pub mod ics23;
pub mod legacy;
pub mod lookup;
mod memory;
mod merkle;
mod node;
mod node_id;
mod node_key;
pub mod numbering;
mod prove;
mod reader;
mod room;
mod root;
mod sample;
mod sha256;
#[cfg(test)]
mod speed;
mod spine;
mod sweep;
pub mod tree;
pub mod varint;

pub use forest::{Fit, Forest, LeafBytes, Numbered};
pub use memory::NodeMap;
pub use merkle::{inner_hash, leaf_hash};
pub use node::{Node, NodeError};
pub use node_id::NodeId;
pub use node_key::NodeKey;
pub use prove::{
    Claim, OpenedInner, Proof, ProveError, ProvenChildren, ProvenNode, open_inner, prove, prove_in_pieces,
};
pub use reader::{Access, NodeReader, ReadError, RecordStream, RecordWalk};
pub use root::RootRecord;
pub use sample::sample;
pub use spine::{Cut, SpineNode, cut};
pub use sweep::{LEAF_BYTES, Sweep, Swept};
