//! PebbleDB (cockroachdb/pebble 1.x, as cosmos-db writes it), strictly read only: what its directories have of their own.
//! The reading is done by [`super::lsm`].
//!
//! Sources of the formats: pebble v1.1.2, `record/record.go`, `internal/manifest/version_edit.go`, `sstable/table.go`,
//! `sstable/format.go`, `sstable/value_block.go`, `vfs/atomicfs/marker.go`, `format_major_version.go`.

mod directory;
mod edit;
mod footer;

use std::path::Path;

use super::lsm::{
    Database, LsmError, Malformed, Options,
    batch::Form,
    block::{Block, Spot},
    dialect::{Dialect, Meta, Properties},
    error::Fault,
    footer::LEVELDB_FOOTER,
    key::{Kind, Kinds},
    listing::Listing,
};

pub use directory::NEWEST_FORMAT;

/// Bytes of the footer that Pebble has from RocksDB.
const FOOTER: usize = 53;

/// What the engine writes.
pub static DIALECT: Dialect = Dialect {
    name: "PebbleDB",
    suffixes: &["sst"],
    footer_bytes: FOOTER,
    footer: footer::decode,
    meta,
    properties,
    forms: form,
    own_tags: edit::own_tags,
    recycles_logs: true,
    journal_is_optional: true,
};

const _: () = assert!(FOOTER > LEVELDB_FOOTER);

/// Kinds of entries and of operations in batches.
mod kind {
    pub(super) const DELETE: u8 = 0;
    pub(super) const SET: u8 = 1;
    pub(super) const MERGE: u8 = 2;
    pub(super) const LOG_DATA: u8 = 3;
    pub(super) const SINGLE_DELETE: u8 = 7;
    pub(super) const RANGE_DELETE: u8 = 15;
    pub(super) const SET_WITH_DELETE: u8 = 18;
    pub(super) const RANGE_KEY_DELETE: u8 = 19;
    pub(super) const RANGE_KEY_UNSET: u8 = 20;
    pub(super) const RANGE_KEY_SET: u8 = 21;
    pub(super) const INGEST: u8 = 22;
    pub(super) const DELETE_SIZED: u8 = 23;
    /// Set in tables of the newest format where a newer entry of the key is in the same table.
    pub(super) const OBSOLETE: u8 = 64;
}

/// What the kinds of entries in tables mean, but for those of the newest format.
static KINDS: Kinds = Kinds(kinds(0));
/// The same, and with the mark of obsolete entries.
static KINDS_AND_OBSOLETE: Kinds = Kinds(kinds(kind::OBSOLETE));

const fn kinds(mark: u8) -> [Kind; 256] {
    const MEANINGS: [(u8, Kind); 10] = [
        (kind::DELETE, Kind::Delete),
        (kind::SET, Kind::Put),
        (kind::MERGE, Kind::Merge),
        (kind::SINGLE_DELETE, Kind::Delete),
        (kind::RANGE_DELETE, Kind::RangeDelete),
        (kind::SET_WITH_DELETE, Kind::Put),
        (kind::RANGE_KEY_DELETE, Kind::RangeKey),
        (kind::RANGE_KEY_UNSET, Kind::RangeKey),
        (kind::RANGE_KEY_SET, Kind::RangeKey),
        (kind::DELETE_SIZED, Kind::Delete),
    ];
    let mut kinds = [Kind::Unknown; 256];
    let mut at = 0;
    while at < MEANINGS.len() {
        let (byte, meaning) = MEANINGS[at];
        kinds[byte as usize] = meaning;
        kinds[(byte | mark) as usize] = meaning;
        at += 1;
    }
    kinds
}

fn form(byte: u8) -> Option<Form> {
    match byte {
        kind::SET => Some(Form::Put),
        kind::DELETE | kind::SINGLE_DELETE => Some(Form::Delete),
        kind::DELETE_SIZED => Some(Form::DeleteSized),
        kind::LOG_DATA => Some(Form::Comment),
        kind::MERGE => Some(Form::Unsupported("a merge operand, whose value only the program that wrote it knows")),
        kind::RANGE_DELETE => Some(Form::Unsupported("a range deletion")),
        kind::RANGE_KEY_DELETE | kind::RANGE_KEY_UNSET | kind::RANGE_KEY_SET => Some(Form::Unsupported("a range key")),
        kind::INGEST => Some(Form::Unsupported("tables that were ingested and are in no level yet")),
        _ => None,
    }
}

fn meta(name: &[u8]) -> Meta {
    match name {
        b"rocksdb.properties" => Meta::Properties,
        b"rocksdb.range_del" | b"rocksdb.range_del2" => Meta::Unsupported("range deletions"),
        b"pebble.range_key" => Meta::Unsupported("range keys"),
        _ => Meta::Other,
    }
}

fn properties(block: &Block) -> Result<Properties, Fault> {
    let mut properties = Properties::default();
    let mut spot = Spot::default();
    while block.step_plain(&mut spot)? {
        let value = block.value(&spot);
        match spot.key() {
            b"rocksdb.comparator" if value != super::lsm::COMPARATOR => {
                let name = String::from_utf8_lossy(value);
                return Err(Fault::Unsupported(format!("its keys are in the order of {name}")));
            }
            b"rocksdb.block.based.table.index.type" => {
                properties.two_level = match value {
                    [0, 0, 0, 0] => false,
                    [2, 0, 0, 0] => true,
                    [_, _, _, _] => {
                        return Err(Fault::Unsupported(format!("its index is of type {}", value.escape_ascii())));
                    }
                    _ => return Err(Malformed::new(0, "the type of the index is not four bytes").into()),
                }
            }
            _ => {}
        }
    }
    Ok(properties)
}

/// Opens the PebbleDB database in `dir` without locking, creating or changing anything, and every table of it once.
///
/// # Errors
/// `dir` is no database, one with another key order, or of a newer Pebble; a file is missing, damaged or too large, or has
/// what this release does not read: range deletions, range keys, merge operands in logs, virtual tables. An unfinished last
/// record of the manifest or of the newest log is no error: that is how a killed writer leaves them.
pub fn open(dir: &Path, options: Options) -> Result<Database, LsmError> {
    let listing = Listing::read(dir, DIALECT.suffixes)?;
    let manifest = directory::manifest(&listing, dir)?;
    let database = Database::open(dir, &DIALECT, &listing, &manifest, options)?;
    database.check_tables()?;
    Ok(database)
}

#[cfg(test)]
mod tests;
