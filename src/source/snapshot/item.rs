//! The messages of a state sync snapshot: protobuf `SnapshotItem` of the stream and `Snapshot` of the metadata (Cosmos SDK
//! `store/snapshots/types`; package names differ between releases and are not on the wire).
//!
//! Owns their decoding. Hands borrowed items to [`super::rebuild`]; proto3 leaves zero values out, so what is absent is
//! zero or empty.

use super::super::commit_info::{Field, for_each_field};
use crate::model::{Hash, Version};

/// One item of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The nodes that follow are of this store.
    Store {
        /// Its name.
        name: &'a str,
    },
    /// A node, in post-order: children before parents, left before right.
    Node(NodeItem<'a>),
    /// What follows is of an extension, which is no part of the trees.
    Extension {
        /// Its name.
        name: &'a str,
        /// The format of its payloads.
        format: u32,
    },
    /// A piece of an extension's data.
    Payload {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// A node as a snapshot has it: without a hash, without a node key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeItem<'a> {
    /// The key; of an inner node the smallest of its right subtree.
    pub key: &'a [u8],
    /// The value; empty for an inner node.
    pub value: &'a [u8],
    /// The version that created it.
    pub version: Version,
    /// Height above the leaves.
    pub height: u8,
}

/// What the metadata says of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The version.
    pub height: u64,
    /// The format.
    pub format: u32,
    /// How many chunks there are.
    pub chunks: u32,
    /// SHA-256 of each chunk; empty if none were recorded.
    pub chunk_hashes: Vec<Hash>,
}

impl<'a> Item<'a> {
    /// Decodes one item. Fields that are not known are skipped, as Go does.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Item<'a>, &'static str> {
        let mut item = None;
        for_each_field(bytes, |number, field| {
            // Of several members of a `oneof` the last one counts.
            match (number, field) {
                (1, Field::Bytes(store)) => item = Some(decode_store(store)?),
                (2, Field::Bytes(node)) => item = Some(Item::Node(NodeItem::decode(node)?)),
                (3, Field::Bytes(extension)) => item = Some(decode_extension(extension)?),
                (4, Field::Bytes(payload)) => item = Some(Item::Payload { bytes: payload_bytes(payload)? }),
                (5 | 6, _) => return Err("an item is of a kind that only early builds of SDK 0.46 wrote"),
                (1..=4, _) => return Err("an item has the wrong wire type"),
                _ => {}
            }
            Ok(())
        })?;
        item.ok_or("an item is of no known kind")
    }
}

impl<'a> NodeItem<'a> {
    fn decode(bytes: &'a [u8]) -> Result<NodeItem<'a>, &'static str> {
        let mut node = NodeItem { key: &[], value: &[], version: Version(0), height: 0 };
        for_each_field(bytes, |number, field| {
            match (number, field) {
                (1, Field::Bytes(key)) => node.key = key,
                (2, Field::Bytes(value)) => node.value = value,
                (3, Field::Varint(version)) if version <= Version::MAX.0 => node.version = Version(version),
                (3, Field::Varint(_)) => return Err("a node's version is negative"),
                // An int32 that is negative has ten bytes and is far above 127.
                (4, Field::Varint(height)) => {
                    let height = u8::try_from(height).ok().filter(|height| *height <= 127);
                    node.height = height.ok_or("a node's height is not 0 to 127")?;
                }
                (1..=4, _) => return Err("a node has a field of the wrong wire type"),
                _ => {}
            }
            Ok(())
        })?;
        Ok(node)
    }
}

impl Metadata {
    /// Decodes a `Snapshot` message.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Metadata, &'static str> {
        let mut metadata = Metadata::default();
        let small = |value: u64| u32::try_from(value).map_err(|_| "a number is larger than 32 bits");
        for_each_field(bytes, |number, field| {
            match (number, field) {
                (1, Field::Varint(height)) => metadata.height = height,
                (2, Field::Varint(format)) => metadata.format = small(format)?,
                (3, Field::Varint(chunks)) => metadata.chunks = small(chunks)?,
                (5, Field::Bytes(inner)) => for_each_field(inner, |number, field| {
                    if let (1, Field::Bytes(hash)) = (number, field) {
                        metadata.chunk_hashes.push(Hash(hash.try_into().map_err(|_| "a chunk hash is not 32 bytes")?));
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(metadata)
    }
}

fn decode_extension(bytes: &[u8]) -> Result<Item<'_>, &'static str> {
    let (mut of, mut format) = ("", 0);
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(text)) => of = name(text)?,
            (2, Field::Varint(number)) => {
                format = u32::try_from(number).map_err(|_| "an extension's format is larger than 32 bits")?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(Item::Extension { name: of, format })
}

fn decode_store(bytes: &[u8]) -> Result<Item<'_>, &'static str> {
    let mut of = "";
    for_each_field(bytes, |number, field| {
        if let (1, Field::Bytes(text)) = (number, field) {
            of = name(text)?;
        }
        Ok(())
    })?;
    Ok(Item::Store { name: of })
}

fn name(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "a name is not UTF-8")
}

fn payload_bytes(bytes: &[u8]) -> Result<usize, &'static str> {
    let mut length = 0;
    for_each_field(bytes, |number, field| {
        if let (1, Field::Bytes(payload)) = (number, field) {
            length = payload.len();
        }
        Ok(())
    })?;
    Ok(length)
}
