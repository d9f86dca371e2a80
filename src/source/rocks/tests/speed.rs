//! How fast records are read: `cargo test --release --lib source::rocks::tests::speed -- --ignored --nocapture`.

use crate::{
    iavl::Access,
    source::{
        Engine as _,
        rocks::{Options, Rocks},
    },
};
use rocksdb::{BlockBasedOptions, DB, DBCompressionType};
use std::{path::Path, time::Instant};

const VERSIONS: u64 = 200;
const NODES: u32 = 4000;

fn key(version: u64, nonce: u32) -> Vec<u8> {
    [&b"s/k:bank/s"[..], &version.to_be_bytes(), &nonce.to_be_bytes()].concat()
}

fn write(path: &Path) {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Snappy);
    options.set_target_file_size_base(16 << 20);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    blocks.set_format_version(5);
    options.set_block_based_table_factory(&blocks);
    let db = DB::open(&options, path).unwrap();
    let mut value = vec![0; 130];
    let mut state = 1u64;
    for version in 1..=VERSIONS {
        for nonce in 1..=NODES {
            for word in value.chunks_mut(8) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                word.copy_from_slice(&(state >> 11).to_le_bytes()[..word.len()]);
            }
            db.put(key(version, nonce), &value).unwrap();
        }
    }
    db.flush().unwrap();
    db.compact_range(None::<&[u8]>, None::<&[u8]>);
}

#[test]
#[ignore = "measures"]
fn records_are_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let orders: [(&str, u32, usize); 6] = [
        ("every", 1, 1),
        ("every 5th", 5, 1),
        ("every 20th", 20, 1),
        ("every 100th", 100, 1),
        ("every 1000th", 1000, 1),
        ("scattered", 1, 77_777),
    ];
    for cache in [6usize << 20, 64 << 20] {
        let source =
            Rocks::open(dir.path(), Options { cache_bytes: cache, open_files: 360, log_bytes: 1 << 30 }).unwrap();
        for (name, every, stride) in orders {
            let mut keys: Vec<Vec<u8>> =
                (1..=VERSIONS).flat_map(|v| (1..=NODES).step_by(every as usize).map(move |n| key(v, n))).collect();
            if stride > 1 {
                let count = keys.len();
                keys = (0..20_000).map(|at| keys[at * stride % count].clone()).collect();
            }
            for access in [Access::Runs, Access::Points] {
                let mut reader = source.reader(access);
                let began = Instant::now();
                let mut out = Vec::new();
                for key in &keys {
                    out.clear();
                    assert!(reader.read(key, &mut out).unwrap());
                }
                let each = began.elapsed().as_nanos() as usize / keys.len();
                println!("measured\trocks, {} MiB, {name}, {access:?}\t{each}\tns/key", cache >> 20);
            }
            let few = keys.len().min(200_000);
            let began = Instant::now();
            for key in &keys[..few] {
                assert!(source.get(key).unwrap().is_some());
            }
            println!(
                "measured\trocks, {} MiB, {name}, get\t{}\tns/key",
                cache >> 20,
                began.elapsed().as_nanos() as usize / few
            );
        }
    }
}
