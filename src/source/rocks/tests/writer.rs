//! Writes RocksDB databases in many shapes, together with what is in them.

use crate::source::rocks::{Options, Rocks, RocksError};
use rocksdb::{BlockBasedOptions, DB, DBCompressionType, WriteBatch};
use std::{collections::BTreeMap, path::Path};

/// What a database holds.
pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a database is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) format: i32,
    pub(super) compression: DBCompressionType,
    /// Bytes of a write buffer: small ones make many files.
    pub(super) buffer: usize,
    /// Whether level 0 is left as it is.
    pub(super) level0: bool,
    /// Whether all is in tables in the end.
    pub(super) flushed: bool,
    pub(super) batches: u64,
}

pub(super) const USUAL: Shape = Shape {
    format: 5,
    compression: DBCompressionType::Snappy,
    buffer: 32 << 10,
    level0: false,
    flushed: false,
    batches: 120,
};

/// Random numbers from a seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Keys as a node has them: records by version and nonce, and some by hash.
pub(super) fn key(random: &mut Random) -> Vec<u8> {
    let store = ["acc", "bank", "staking"][random.below(3) as usize];
    let mut key = format!("s/k:{store}/").into_bytes();
    match random.below(10) {
        0 => {
            key.push(b'n');
            key.extend((0..32).map(|at| (at + random.below(3)) as u8));
        }
        _ => {
            key.push(b's');
            key.extend(random.below(30).to_be_bytes());
            key.extend((random.below(40) as u32).to_be_bytes());
        }
    }
    key
}

pub(super) fn options(shape: Shape) -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(shape.compression);
    options.set_write_buffer_size(shape.buffer);
    options.set_target_file_size_base(16 << 10);
    options.set_max_bytes_for_level_base(64 << 10);
    options.set_max_bytes_for_level_multiplier(3.0);
    options.set_level_compaction_dynamic_level_bytes(false);
    options.set_disable_auto_compactions(shape.level0);
    options.set_level_zero_slowdown_writes_trigger(1000);
    options.set_level_zero_stop_writes_trigger(2000);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_format_version(shape.format);
    blocks.set_block_size(1024);
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    options
}

/// Writes batches of puts and deletes.
pub(super) fn write(path: &Path, shape: Shape, seed: u64) -> Model {
    let db = DB::open(&options(shape), path).unwrap();
    let mut model = Model::new();
    let mut random = Random(seed);
    for nth in 0..shape.batches {
        let mut batch = WriteBatch::default();
        for _ in 0..40 {
            let key = key(&mut random);
            if random.below(5) == 0 {
                batch.delete(&key);
                model.remove(&key);
                continue;
            }
            let value: Vec<u8> = (0..random.below(150)).map(|at| (at * (1 + random.below(2))) as u8).collect();
            batch.put(&key, &value);
            model.insert(key, value);
        }
        db.write(batch).unwrap();
        // Left to itself RocksDB puts as many buffers into one file as are waiting.
        if shape.level0 && nth % 20 == 10 {
            db.flush().unwrap();
        }
    }
    if shape.flushed {
        db.flush().unwrap();
    }
    if !shape.level0 {
        db.wait_for_compact(&rocksdb::WaitForCompactOptions::default()).unwrap();
    }
    drop(db);
    for name in ["LOG", "LOCK"] {
        std::fs::remove_file(path.join(name)).unwrap();
    }
    model
}

/// RocksDB keeps ten files fewer open than this.
pub(super) fn open(path: &Path) -> Result<Rocks, RocksError> {
    Rocks::open(path, Options { cache_bytes: 1 << 20, open_files: 20, log_bytes: 64 << 20 })
}
