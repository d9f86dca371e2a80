//! Tables as an older release reads them: Debian's `rocksdb-tools`, 7.8.

use super::{
    super::TableOptions,
    scratch::{Random, table, usual},
};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

fn dump(table: &Path, arguments: &[&str]) -> String {
    let file = format!("--file={}", table.to_str().unwrap());
    let output = Command::new("sst_dump").arg(file).args(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("orrupt") && !printed.contains("not supported"), "{printed}");
    printed
}

#[test]
fn an_older_rocksdb_reads_tables() {
    let there = Command::new("sst_dump").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "rocksdb-tools (sst_dump) is missing");
        // Past the test harness, which would swallow it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: rocksdb-tools (sst_dump) is missing");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut random = Random(2);
    for timestamps in [false, true] {
        let stamp = if timestamps { &300u64.to_le_bytes()[..] } else { &[] };
        let records: Vec<_> = (0..3000u32)
            .map(|n| {
                let value = if n % 500 < 250 { vec![n as u8; 200] } else { random.bytes(200) };
                ([&n.to_be_bytes(), stamp].concat(), value)
            })
            .collect();
        let options = TableOptions { column_family: Some((3, "pairs")), ..usual(timestamps) };
        let pairs = records.iter().map(|(key, value)| (&key[..], &value[..]));
        let table = table(scratch.path(), "000007.sst", &options, pairs);

        dump(&table, &["--command=check", "--verify_checksum"]);
        dump(&table, &["--command=verify"]);
        let scanned = dump(&table, &["--command=scan", "--output_hex"]);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let expected = records.iter().map(|(key, value)| format!("'{}' seq:0, type:1 => {}", hex(key), hex(value)));
        let found: Vec<_> = scanned.lines().filter(|line| line.starts_with('\'')).collect();
        assert!(found.iter().copied().eq(expected), "{} records: {:?}", found.len(), found.first());

        let properties = dump(&table, &["--show_properties", "--command=none"]);
        for line in [
            "# entries: 3000",
            "column family ID: 3",
            "column family name: pairs",
            &format!("comparator name: {}", options.comparator()),
            "SST file compression algo: LZ4",
            "# entries for filter: 3000",
        ] {
            assert!(properties.contains(line), "{line} is missing: {properties}");
        }
    }
}
