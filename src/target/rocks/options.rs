//! How the target's RocksDB directories are tuned. Layout is fixed by the format; this is about speed and memory only.

use super::table::TableOptions;
use crate::target::EngineTuning;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, LruCacheOptions, Options};

/// The engine compacts by its own rules.
pub(super) const COMPACTING: [(&str, &str); 1] = [("disable_auto_compactions", "false")];
/// It does not, as when it is opened.
pub(super) const HELD: [(&str, &str); 1] = [("disable_auto_compactions", "true")];

/// A block cache. It has few shards: the filter of one table must fit into one.
pub(super) fn cache(bytes: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(1);
    Cache::new_lru_cache_opts(&options)
}

/// Gives a cache so much room. Its memory is taken as it is filled.
pub(super) fn resize(cache: &Cache, bytes: usize) {
    cache.clone().set_capacity(bytes);
}

/// Options for a database as a whole.
pub(super) fn database(tuning: EngineTuning, cache: &Cache) -> Options {
    let mut options = Options::default();
    column_family(&mut options, tuning, cache);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(tuning.jobs.max(2) as i32);
    options.set_max_subcompactions(tuning.jobs.max(1) as u32);
    options.set_max_open_files(200);
    // By default there would be sixteen, even for a database without a table.
    options.set_max_file_opening_threads(tuning.jobs.max(1) as i32);
    // Nobody reads RocksDB's own log at night; what matters comes back as errors.
    options.set_log_level(LogLevel::Warn);
    // Tables are read in order while they are proven; the system may read ahead.
    options.set_advise_random_on_open(false);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

/// Has RocksDB compact by its own rules from the start, and slow writers down where it cannot keep up.
pub(super) fn compact_as_usual(options: &mut Options) {
    options.set_disable_auto_compactions(false);
    options.set_level_zero_slowdown_writes_trigger(20);
    options.set_level_zero_stop_writes_trigger(36);
}

/// Bytes of a data block.
const BLOCK: usize = 16 << 10;
/// Bits of the filter for each key.
const BLOOM_BITS: u8 = 10;

/// The form of the tables that are loaded in bulk: that of the tables RocksDB writes with [`column_family`].
pub(super) fn table(timestamps: bool) -> TableOptions {
    TableOptions { timestamps, column_family: None, block_size: BLOCK, bloom_bits: usize::from(BLOOM_BITS) }
}

/// Options for a column family.
pub(super) fn column_family(options: &mut Options, tuning: EngineTuning, cache: &Cache) {
    let mut blocks = BlockBasedOptions::default();
    // RocksDB 7.8 reads format 5 and refuses what newer releases write by default.
    blocks.set_format_version(5);
    blocks.set_block_size(BLOCK);
    blocks.set_bloom_filter(f64::from(BLOOM_BITS), false);
    blocks.set_block_cache(cache);
    // Indexes and filters grow with the state: they belong in the cache, which has a bound.
    blocks.set_cache_index_and_filter_blocks(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(tuning.write_buffer);
    options.set_max_write_buffer_number(3);
    // Bulk runs arrive sorted; `settle` gives the final shape once, instead of compacting on the way. What later versions
    // leave is compacted when there is much of it, and at the end: see `compaction`.
    options.set_disable_auto_compactions(true);
    options.set_level_zero_slowdown_writes_trigger(1 << 20);
    options.set_level_zero_stop_writes_trigger(1 << 20);
}
