//! Owns what tells one engine of the LevelDB family from another. Each engine's module fills it in; everything else here is
//! the same for all of them.

use super::batch::Forms;
use super::block::Block;
use super::edit::OwnTags;
use super::error::Fault;
use super::footer::Footer;

/// What one engine has of its own.
#[derive(Debug)]
pub struct Dialect {
    /// The engine's name.
    pub name: &'static str,
    /// How the names of its tables end; the first is what it writes today.
    pub suffixes: &'static [&'static str],
    /// Bytes of the longest footer.
    pub footer_bytes: usize,
    /// Decodes the footer of a table of so many bytes from its last ones.
    pub footer: fn(&[u8], u64) -> Result<Footer, Fault>,
    /// What a block named in the metaindex is.
    pub meta: fn(&[u8]) -> Meta,
    /// Reads the block of properties.
    pub properties: fn(&Block) -> Result<Properties, Fault>,
    /// Its operations in write batches.
    pub forms: Forms,
    /// Its fields in manifests.
    pub own_tags: OwnTags,
    /// Whether logs are written into files of older ones, and no sequence number is left out between them.
    pub recycles_logs: bool,
    /// Whether a manifest may name no log, and then all count.
    pub journal_is_optional: bool,
}

/// What a block named in the metaindex is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// The table's properties.
    Properties,
    /// Something that may not be left out.
    Unsupported(&'static str),
    /// Of no use to a reader.
    Other,
}

/// What a table's properties say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties {
    /// The index block names index blocks.
    pub two_level: bool,
}
