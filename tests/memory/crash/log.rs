//! What was done to a disk, operation by operation, and to the engines that stand beside it.

use std::{collections::BTreeMap, sync::Arc};
use storeshift::target::{CommitmentData, StorageData};

/// A file, whatever names it has.
pub type FileId = usize;
/// A directory, whatever its name is.
pub type DirectoryId = usize;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    File(FileId),
    Directory(DirectoryId),
}

/// What an engine of a test holds at one moment.
#[derive(Clone, Debug)]
pub enum Held {
    Sc(Arc<CommitmentData>),
    Ss(Arc<StorageData>),
    V1(Arc<BTreeMap<Vec<u8>, Vec<u8>>>),
    /// An engine that is not ours, by its files.
    #[cfg_attr(not(feature = "rocksdb"), allow(dead_code, reason = "only RocksDB has files"))]
    Files(Arc<BTreeMap<String, Vec<u8>>>),
}

impl Held {
    /// The same for what is the same.
    pub fn address(&self) -> usize {
        match self {
            Held::Sc(held) => Arc::as_ptr(held) as usize,
            Held::Ss(held) => Arc::as_ptr(held) as usize,
            Held::V1(held) => Arc::as_ptr(held) as usize,
            Held::Files(held) => Arc::as_ptr(held) as usize,
        }
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// A directory has this name stand for something else, or for nothing.
    Name {
        directory: DirectoryId,
        name: String,
        to: Option<Node>,
    },
    /// In one step what one name stood for has the other.
    Rename {
        directory: DirectoryId,
        from: String,
        to: String,
        node: Node,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Arc<[u8]>,
    },
    Length {
        file: FileId,
        length: u64,
    },
    SyncFile(FileId),
    SyncDirectory(DirectoryId),
    /// An engine holds this now; durable or, until the next one that is, perhaps not.
    Engine {
        engine: usize,
        held: Held,
        durable: bool,
    },
    /// Somebody was told that something is so from here on.
    Told(String),
}

impl Op {
    /// What it is called in figures.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Name { to: Some(Node::File(_)), .. } => "make or link a file",
            Op::Name { to: Some(Node::Directory(_)), .. } => "make a directory",
            Op::Name { to: None, .. } => "remove",
            Op::Rename { .. } => "rename",
            Op::Write { .. } => "write",
            Op::Length { .. } => "set a length",
            Op::SyncFile(_) => "sync a file",
            Op::SyncDirectory(_) => "sync a directory",
            Op::Engine { durable: true, .. } => "an engine's sync",
            Op::Engine { durable: false, .. } => "an engine's write",
            Op::Told(_) => "told",
        }
    }
}
