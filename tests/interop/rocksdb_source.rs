//! A source written by an older RocksDB's own tool (`ldb load` of Debian's `rocksdb-tools`, 7.8): the target is that of the
//! goleveldb database it was copied from.

use super::{
    go::check,
    older_rocksdb::tools_are_there,
    reader,
    set::{self, Set, scratch, text},
};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};
use storeshift::source::leveldb;

/// Has `ldb` write all pairs of a goleveldb database.
pub fn load(from: &Path, to: &Path, options: &[&str]) {
    let mut ldb = Command::new("ldb")
        .args(["load", "--hex", "--create_if_missing", &format!("--db={}", text(to))])
        .args(options)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines = std::io::BufWriter::new(ldb.stdin.take().unwrap());
    let source = leveldb::open(from, Default::default()).unwrap();
    let mut pairs = source.iter(b"", None);
    while let Some((key, value)) = pairs.next().unwrap() {
        writeln!(lines, "0x{} ==> 0x{}", hex(key), hex(value)).unwrap();
    }
    drop(lines);
    assert!(ldb.wait().unwrap().success());
}

/// What a target holds: SC pairs, and SS records with their versions.
#[derive(PartialEq)]
pub struct Records {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    entries: Vec<(Vec<u8>, u64, Option<Vec<u8>>)>,
}

fn records(set: &Set, source: &Path) -> Records {
    let dir = scratch();
    let mut run = Command::new(env!("CARGO_BIN_EXE_storeshift"));
    run.args(["run", "--at", "oldest", "--source", text(source), "--target", text(dir.path())]);
    let printed = check(&mut run);
    let app_hash = set.version(set.latest())["app_hash"].as_str().unwrap();
    assert!(printed.contains(app_hash), "{printed}");
    Records::of(dir.path())
}

impl Records {
    /// Of a finished target.
    pub fn of(target: &Path) -> Records {
        let (mut pairs, mut entries) = (Vec::new(), Vec::new());
        reader::pairs(&target.join("sc"), |key, value| pairs.push((key.to_vec(), value.to_vec())));
        reader::entries(&target.join("ss"), |entry| {
            entries.push((entry.key.to_vec(), entry.version, entry.value.map(<[u8]>::to_vec)));
        });
        entries.sort();
        Records { pairs, entries }
    }
}

#[test]
fn what_an_older_rocksdb_wrote_migrates_to_the_same_target() {
    if !tools_are_there() {
        return;
    }
    let set = set::fixture("small");
    let wanted = records(&set, &set.database());
    let shapes: [&[&str]; 3] = [
        // Tables at several levels, and a log.
        &["--write_buffer_size=131072", "--file_size=65536", "--compression_type=snappy"],
        &["--disable_wal", "--bulk_load", "--compression_type=zstd", "--block_size=1024", "--bloom_bits=10"],
        // A log and nothing else.
        &["--write_buffer_size=67108864"],
    ];
    for options in shapes {
        let dir = scratch();
        let source = dir.path().join("application.db");
        load(&set.database(), &source, options);
        assert!(records(&set, &source) == wanted, "{options:?}");
    }
}
