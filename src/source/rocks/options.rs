//! The library's options for reading somebody else's directory: nothing is written, every checksum is checked, memory has
//! bounds. What is on disk says by itself how it was written; only the filter has to be named.

use super::Options as Bounds;
use rocksdb::{BlockBasedOptions, Cache, DBRecoveryMode, InfoLogger, LogLevel, LruCacheOptions, Options, ReadOptions};

/// Bytes read at once in runs. What RocksDB chooses by itself begins small and is a fifth slower; with more than this, records that
/// lie far apart cost more than they have to.
const READAHEAD: usize = 64 << 10;

/// Options of a database that is only read.
pub(super) fn database(bounds: Bounds) -> Options {
    let mut blocks = BlockBasedOptions::default();
    let mut cache = LruCacheOptions::default();
    cache.set_capacity(bounds.cache_bytes);
    // Few shards: the filter of a large table must fit into one.
    cache.set_num_shard_bits(1);
    blocks.set_block_cache(&Cache::new_lru_cache_opts(&cache));
    // Indexes and filters grow with the state: they belong in the cache, which has a bound.
    blocks.set_cache_index_and_filter_blocks(true);
    // Filters are only looked at where a policy is set; any built-in one reads all of them.
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    // RocksDB begins a file LOG in the directory unless it has another place to tell things to. What matters comes back as errors.
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| {}));
    options.set_paranoid_checks(true);
    options.set_max_open_files(i32::try_from(bounds.open_files).unwrap_or(i32::MAX));
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_advise_random_on_open(false);
    // Logs are not read past damage as if they ended there, which the default does: only a last record that was never
    // finished is left out, which a killed writer leaves.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

/// How single records are read.
pub(super) fn points() -> ReadOptions {
    let mut read = ReadOptions::default();
    read.set_verify_checksums(true);
    read
}

/// How long runs of neighbours are read: each part of the database once, so nothing is kept for later.
pub(super) fn runs() -> ReadOptions {
    let mut read = points();
    read.fill_cache(false);
    read.set_readahead_size(READAHEAD);
    read
}
