//! Owns the properties block: what RocksDB must know to take over a table and to open it, and what its tools show.

use super::TableOptions;
use crate::iavl::varint::put_uv;
use std::{
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Metaindex key.
pub(super) const NAME: &str = "rocksdb.properties";

/// What `rocksdb.column.family.id` is for a table that may go anywhere.
const ANY_COLUMN_FAMILY: u64 = i32::MAX as u64;

/// What is counted while a table is written.
#[derive(Debug)]
pub(super) struct Properties {
    session: String,
    pub(super) entries: u64,
    pub(super) blocks: u64,
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
    pub(super) data_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) filter_bytes: u64,
    pub(super) filter_keys: u64,
    oldest: u64,
    newest: u64,
}

impl Properties {
    pub(super) fn new(path: &Path) -> Properties {
        Properties {
            session: session(path),
            entries: 0,
            blocks: 0,
            key_bytes: 0,
            value_bytes: 0,
            data_bytes: 0,
            index_bytes: 0,
            filter_bytes: 0,
            filter_keys: 0,
            oldest: u64::MAX,
            newest: 0,
        }
    }

    /// Notes the timestamp of a record.
    #[inline]
    pub(super) fn timestamp(&mut self, timestamp: u64) {
        self.oldest = self.oldest.min(timestamp);
        self.newest = self.newest.max(timestamp);
    }

    /// All properties, in order.
    pub(super) fn sorted(&self, options: &TableOptions) -> Vec<(&'static str, Vec<u8>)> {
        let text = |text: &str| text.as_bytes().to_vec();
        let mut all = vec![
            // What makes it a table to take over: made outside, all records at sequence 0.
            ("rocksdb.external_sst_file.version", 2u32.to_le_bytes().to_vec()),
            ("rocksdb.external_sst_file.global_seqno", 0u64.to_le_bytes().to_vec()),
            // How to read it. RocksDB refuses tables without the type of their index (binary search).
            ("rocksdb.block.based.table.index.type", 0u32.to_le_bytes().to_vec()),
            ("rocksdb.block.based.table.whole.key.filtering", text("1")),
            ("rocksdb.block.based.table.prefix.filtering", text("0")),
            ("rocksdb.index.key.is.user.key", varint(1)),
            ("rocksdb.index.value.is.delta.encoded", varint(1)),
            ("rocksdb.comparator", text(options.comparator())),
            ("rocksdb.format.version", varint(0)),
            ("rocksdb.fixed.key.length", varint(0)),
            ("rocksdb.compression", text("LZ4")),
            ("rocksdb.merge.operator", text("nullptr")),
            ("rocksdb.prefix.extractor.name", text("nullptr")),
            ("rocksdb.property.collectors", text("[]")),
            ("rocksdb.data.block.restart.interval", varint(super::DATA_INTERVAL.into())),
            ("rocksdb.index.block.restart.interval", varint(super::index::INTERVAL.into())),
            // What it holds.
            ("rocksdb.num.entries", varint(self.entries)),
            ("rocksdb.deleted.keys", varint(0)),
            ("rocksdb.merge.operands", varint(0)),
            ("rocksdb.num.range-deletions", varint(0)),
            ("rocksdb.num.data.blocks", varint(self.blocks)),
            ("rocksdb.num.filter_entries", varint(self.filter_keys)),
            ("rocksdb.raw.key.size", varint(self.key_bytes)),
            ("rocksdb.raw.value.size", varint(self.value_bytes)),
            ("rocksdb.data.size", varint(self.data_bytes)),
            ("rocksdb.tail.start.offset", varint(self.data_bytes)),
            ("rocksdb.index.size", varint(self.index_bytes)),
            ("rocksdb.filter.size", varint(self.filter_bytes)),
            ("rocksdb.key.largest.seqno", varint(0)),
            ("rocksdb.key.smallest.seqno", varint(0)),
            // Where it comes from. Zero is unknown.
            ("rocksdb.creation.time", varint(0)),
            ("rocksdb.oldest.key.time", varint(0)),
            ("rocksdb.creating.db.identity", text("storeshift")),
            ("rocksdb.creating.session.identity", text(&self.session)),
            ("rocksdb.original.file.number", varint(1)),
        ];
        if let Some((id, name)) = options.column_family {
            all.push(("rocksdb.column.family.id", varint(id.into())));
            all.push(("rocksdb.column.family.name", text(name)));
        } else {
            all.push(("rocksdb.column.family.id", varint(ANY_COLUMN_FAMILY)));
        }
        if options.bloom_bits > 0 {
            all.push(("rocksdb.filter.policy", text("bloomfilter")));
        }
        if options.timestamps {
            // Reads below the oldest pass the table by.
            all.push(("rocksdb.timestamp_min", self.oldest.to_le_bytes().to_vec()));
            all.push(("rocksdb.timestamp_max", self.newest.to_le_bytes().to_vec()));
        }
        all.sort_by_key(|(name, _)| *name);
        all
    }
}

/// Twenty digits in base 36 that no other table has: RocksDB caches blocks under it, and checks that files are not swapped.
fn session(path: &Path) -> String {
    static TABLES: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut hash = blake3::Hasher::new();
    hash.update(&now.as_nanos().to_le_bytes());
    hash.update(&process::id().to_le_bytes());
    hash.update(&TABLES.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    hash.update(path.as_os_str().as_encoded_bytes());
    let digit = |byte: &u8| match byte % 36 {
        digit @ 0..10 => char::from(b'0' + digit),
        letter => char::from(b'A' + letter - 10),
    };
    hash.finalize().as_bytes().iter().take(20).map(digit).collect()
}

fn varint(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    put_uv(&mut out, number);
    out
}
