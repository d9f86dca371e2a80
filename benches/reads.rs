//! Reads of a finished target against the same pairs filled in the ordinary way: point reads and scans of SC and SS, and
//! the shape of the files. One line per figure, separated by tabs, for the benchmark suite.
//!
//!     cargo run --release --example reads -- TARGET SCRATCH [READS]
//!
//! TARGET is opened read-only; SCRATCH gets two more databases per engine and is wiped before. Both are made in batches of
//! 1000 with compaction on, then left alone until nothing is left to compact: `ordered` in key order (the best a log
//! structured store can be given), `mixed` in 16 passes over the keys (so that files overlap, as in a database that lived).

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, LogLevel,
    Options, ReadOptions, WaitForCompactOptions, WriteBatch,
};
use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

const BATCH: usize = 1000;
const PASSES: usize = 16;
const ROUNDS: usize = 5;
const SCAN: usize = 100;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// SC or SS: where its records lie and how they are compared.
struct Engine {
    name: &'static str,
    family: &'static str,
    timestamps: bool,
}

const ENGINES: [Engine; 2] = [
    Engine { name: "sc", family: "default", timestamps: false },
    Engine { name: "ss", family: "state_storage", timestamps: true },
];

impl Engine {
    /// The same options for every database, as the target's own: what differs is how the files came to be.
    fn options(&self) -> Result<Options> {
        let mut options = Options::default();
        if self.timestamps {
            options = options.get_options_from_string("comparator=leveldb.BytewiseComparator.u64ts")?;
        }
        let mut blocks = BlockBasedOptions::default();
        blocks.set_format_version(5);
        blocks.set_block_size(16 << 10);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_block_cache(&Cache::new_lru_cache(32 << 20));
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(16 << 20);
        Ok(options)
    }

    fn open(&self, path: &Path, logs: &Path, write: bool) -> Result<DB> {
        let mut whole = Options::default();
        whole.create_if_missing(write);
        whole.create_missing_column_families(write);
        whole.set_max_open_files(200);
        whole.set_log_level(LogLevel::Warn);
        whole.set_db_log_dir(logs); // the target stays as it is
        let mut families = vec![ColumnFamilyDescriptor::new(self.family, self.options()?)];
        if self.family != "default" {
            families.push(ColumnFamilyDescriptor::new("default", Options::default()));
        }
        Ok(if write {
            DB::open_cf_descriptors(&whole, path, families)?
        } else {
            DB::open_cf_descriptors_read_only(&whole, path, families, false)?
        })
    }

    fn reading(&self) -> ReadOptions {
        let mut read = ReadOptions::default();
        if self.timestamps {
            read.set_timestamp(u64::MAX.to_le_bytes());
        }
        read
    }

    fn records<'a>(&self, db: &'a DB) -> Result<DBRawIterator<'a>> {
        let mut records = db.raw_iterator_cf_opt(self.of(db)?, self.reading());
        records.seek_to_first();
        Ok(records)
    }

    fn of<'a>(&self, db: &'a DB) -> Result<&'a ColumnFamily> {
        db.cf_handle(self.family).ok_or_else(|| format!("no column family {}", self.family).into())
    }

    /// Writes the records of `from`, of every pass those whose turn it is.
    fn fill(&self, from: &DB, to: &DB, passes: usize) -> Result<()> {
        let family = self.of(to)?;
        let mut batch = WriteBatch::default();
        for pass in 0..passes {
            let mut records = self.records(from)?;
            let mut number = 0;
            while let Some((key, value)) = records.item() {
                if number % passes == pass {
                    match records.timestamp() {
                        Some(timestamp) if self.timestamps => batch.put_cf_with_ts(family, key, timestamp, value),
                        _ => batch.put_cf(family, key, value),
                    }
                    if batch.len() == BATCH {
                        to.write(std::mem::take(&mut batch))?;
                    }
                }
                number += 1;
                records.next();
            }
            records.status()?;
        }
        to.write(batch)?;
        to.flush_cf(family)?;
        Ok(to.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    /// Nanoseconds per point read, and bytes read.
    fn points(&self, db: &DB, keys: &[Vec<u8>]) -> Result<(f64, u64)> {
        let (family, read, mut bytes) = (self.of(db)?, self.reading(), 0);
        let began = Instant::now();
        for key in keys {
            bytes += db.get_pinned_cf_opt(family, key, &read)?.ok_or("a key is missing")?.len() as u64;
        }
        Ok((began.elapsed().as_nanos() as f64 / keys.len() as f64, bytes))
    }

    /// Nanoseconds per record of scans that begin at each key, and bytes read.
    fn scans(&self, db: &DB, keys: &[Vec<u8>]) -> Result<(f64, u64)> {
        let (mut bytes, mut count) = (0, 0_u64);
        let began = Instant::now();
        let mut records = db.raw_iterator_cf_opt(self.of(db)?, self.reading());
        for key in keys {
            records.seek(key);
            for _ in 0..SCAN {
                let Some((key, value)) = records.item() else { break };
                bytes += (key.len() + value.len()) as u64;
                count += 1;
                records.next();
            }
            records.status()?;
        }
        Ok((began.elapsed().as_nanos() as f64 / count as f64, bytes))
    }

    /// Keys all over the database in random order.
    fn sample(&self, db: &DB, wanted: usize) -> Result<(usize, Vec<Vec<u8>>)> {
        let (mut total, mut records) = (0, self.records(db)?);
        while records.valid() {
            total += 1;
            records.next();
        }
        let step = (total / wanted).max(1);
        let (mut keys, mut number, mut records) = (Vec::new(), 0, self.records(db)?);
        while let Some(key) = records.key() {
            if number % step == 0 {
                keys.push(key.to_vec());
            }
            number += 1;
            records.next();
        }
        let mut random = 1_u64;
        for at in (1..keys.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            keys.swap(at, (random >> 33) as usize % (at + 1));
        }
        Ok((total, keys))
    }

    fn shape(&self, name: &str, db: &DB) -> Result<()> {
        let number = |what: &str| db.property_int_value_cf(self.of(db)?, what).map_err(Box::<dyn Error>::from);
        let files: Vec<_> =
            db.live_files()?.into_iter().filter(|file| file.column_family_name == self.family).collect();
        let mut levels: Vec<_> = files.iter().map(|file| file.level).collect();
        levels.sort_unstable();
        levels.dedup();
        let bytes = files.iter().map(|file| file.size as u64).sum::<u64>();
        let debt = number("rocksdb.estimate-pending-compaction-bytes")?.unwrap_or_default();
        let level0 = files.iter().filter(|file| file.level == 0).count();
        println!("shape\t{}\t{name}\t{bytes}\t{}\t{}\t{level0}\t{debt}", self.name, files.len(), levels.len());
        Ok(())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [target, scratch, rest @ ..] = args.as_slice() else { return Err("TARGET and SCRATCH, please".into()) };
    let wanted = rest.first().and_then(|text| text.to_str()).map_or(Ok(100_000), str::parse)?;
    if scratch.exists() {
        std::fs::remove_dir_all(scratch)?;
    }
    std::fs::create_dir_all(scratch)?;
    for engine in &ENGINES {
        let from = engine.open(&target.join(engine.name), scratch, false)?;
        let mut all = vec![("target", from)];
        for (name, passes) in [("ordered", 1), ("mixed", PASSES)] {
            let path = scratch.join(format!("{}-{name}", engine.name));
            let to = engine.open(&path, scratch, true)?;
            engine.fill(&all[0].1, &to, passes)?;
            drop(to);
            all.push((name, engine.open(&path, scratch, false)?));
        }
        for (name, db) in &all {
            engine.shape(name, db)?;
        }
        let (records, keys) = engine.sample(&all[0].1, wanted)?;
        println!("records\t{}\t{records}\t{}", engine.name, keys.len());
        let few = &keys[..keys.len().min(wanted / 20 + 1)];
        let mut figures = vec![[Vec::new(), Vec::new()]; all.len()];
        for round in 0..=ROUNDS {
            let mut read = None;
            for turn in 0..all.len() {
                let at = (turn + round) % all.len(); // nobody is always first
                let (points, scans) = (engine.points(&all[at].1, &keys)?, engine.scans(&all[at].1, few)?);
                assert_eq!(*read.get_or_insert((points.1, scans.1)), (points.1, scans.1), "the databases differ");
                if round > 0 {
                    figures[at][0].push(points.0);
                    figures[at][1].push(scans.0);
                }
            }
        }
        for ((name, _), [points, scans]) in all.iter().zip(figures) {
            println!("reads\t{}\t{name}\t{:.0}\t{:.0}", engine.name, median(points), median(scans));
        }
    }
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}
