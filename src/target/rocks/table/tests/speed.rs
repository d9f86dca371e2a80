//! A measurement, run by `make bench`, and by hand:
//! `cargo test --release --lib table::tests::speed -- --ignored --nocapture`.

use super::{
    super::TableWriter,
    scratch::{Database, Random, usual},
};
use rocksdb::SstFileWriter;
use std::{
    fs::{self, File},
    io::Write,
    time::{Duration, Instant},
};

const RECORDS: usize = 1_000_000;
const KEY: usize = 29;
const VALUE: usize = 250;
/// As large as the files of a load.
const FILE: u64 = 64 << 20;

#[test]
#[ignore = "a measurement"]
fn speed_against_rocksdbs_writer() {
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let mut keys: Vec<[u8; KEY]> = (0..RECORDS)
        .map(|_| {
            let mut key = *b"s/k:bank/....................";
            key[9..].copy_from_slice(&random.bytes(20));
            key
        })
        .collect();
    keys.sort_unstable();
    let stamp = 1000u64.to_le_bytes();
    let noise = random.bytes(32 << 20);
    let text: Vec<u8> =
        (0..(4usize << 20)).map(|n| b"{\"denom\":\"uatom\",\"amount\":"[n % 26] ^ (n % 97 == 0) as u8).collect();
    let database = Database::open(&scratch.path().join("db"));
    let path = scratch.path().join("a.sst");
    let each = |time: Duration| time.as_nanos() as f64 / RECORDS as f64;

    for (name, values) in [("incompressible", &noise), ("compressible", &text)] {
        let value = |nth: usize| &values[(nth * 259) % (values.len() - VALUE)..][..VALUE];
        for _ in 0..3 {
            let (mut bytes, mut written) = (0, Vec::new());
            let start = Instant::now();
            let mut writer = TableWriter::create(&path, &usual(true)).unwrap();
            let mut full = [0; KEY + 8];
            for (nth, key) in keys.iter().enumerate() {
                full[..KEY].copy_from_slice(key);
                full[KEY..].copy_from_slice(&stamp);
                writer.add(&full, &[value(nth)]).unwrap();
                if writer.bytes() >= FILE {
                    writer.finish().unwrap();
                    bytes += fs::metadata(&path).unwrap().len();
                    writer = TableWriter::create(&path, &usual(true)).unwrap();
                }
            }
            writer.finish().unwrap();
            let ours = start.elapsed();
            bytes += fs::metadata(&path).unwrap().len();

            // What of that is the operating system's.
            written.resize(1 << 20, 1u8);
            fs::remove_file(&path).unwrap();
            let start = Instant::now();
            let mut left = bytes;
            while left > 0 {
                let _ = fs::remove_file(&path);
                let mut file = File::create_new(&path).unwrap();
                for _ in 0..FILE >> 20 {
                    let part = left.min(1 << 20);
                    file.write_all(&written[..part as usize]).unwrap();
                    left -= part;
                }
            }
            let writing = start.elapsed();

            let mut theirs_bytes = 0;
            let start = Instant::now();
            let mut writer = SstFileWriter::create(&database.versioned);
            writer.open(&path).unwrap();
            for (nth, key) in keys.iter().enumerate() {
                writer.put_with_ts(key, stamp, value(nth)).unwrap();
                if writer.file_size() >= FILE {
                    writer.finish().unwrap();
                    theirs_bytes += fs::metadata(&path).unwrap().len();
                    writer = SstFileWriter::create(&database.versioned);
                    writer.open(&path).unwrap();
                }
            }
            writer.finish().unwrap();
            let theirs = start.elapsed();
            theirs_bytes += fs::metadata(&path).unwrap().len();
            // Lines that the benchmark suite looks for.
            for (what, figure, unit) in [
                ("ours", each(ours), "ns"),
                ("of it writing", each(writing), "ns"),
                ("RocksDB's", each(theirs), "ns"),
                ("size of ours", bytes as f64 / RECORDS as f64, "B"),
                ("size of RocksDB's", theirs_bytes as f64 / RECORDS as f64, "B"),
            ] {
                println!("measured\ttable: a record, {name}: {what}\t{figure:.0}\t{unit}");
            }
        }
    }
}
