//! Every input in `fuzz/corpus` runs through the body its fuzz target runs, on stable Rust: what the fuzzers found once
//! stays found. `cargo +nightly fuzz run <target>` finds more.

use crate::{
    crash::schedule as crash_schedule,
    support::random::{Random, seed},
};
use std::{fs, path::Path};

#[path = "../../fuzz/support/crc32c.rs"]
mod crc32c;
#[path = "../../fuzz/support/log.rs"]
mod log;

#[path = "../../fuzz/bodies/changeset_file.rs"]
mod changeset_file;
#[path = "../../fuzz/bodies/commit_info.rs"]
mod commit_info;
#[path = "../../fuzz/bodies/database.rs"]
mod database;
#[path = "../../fuzz/bodies/doctor.rs"]
mod doctor;
#[path = "../../fuzz/bodies/journal_record.rs"]
mod journal_record;
#[path = "../../fuzz/bodies/legacy_record.rs"]
mod legacy_record;
#[path = "../../fuzz/bodies/leveldb_block.rs"]
mod leveldb_block;
#[path = "../../fuzz/bodies/leveldb_log.rs"]
mod leveldb_log;
#[path = "../../fuzz/bodies/leveldb_table.rs"]
mod leveldb_table;
#[path = "../../fuzz/bodies/machine_events.rs"]
mod machine_events;
#[path = "../../fuzz/bodies/manifest_edits.rs"]
mod manifest_edits;
#[path = "../../fuzz/bodies/node_record.rs"]
mod node_record;
#[path = "../../fuzz/bodies/pebble_log.rs"]
mod pebble_log;
#[path = "../../fuzz/bodies/pebble_manifest.rs"]
mod pebble_manifest;
#[path = "../../fuzz/bodies/pebble_table.rs"]
mod pebble_table;
#[path = "../../fuzz/bodies/proof.rs"]
mod proof;
#[path = "../../fuzz/bodies/rocks_log.rs"]
mod rocks_log;
#[path = "../../fuzz/bodies/rocks_manifest.rs"]
mod rocks_manifest;
#[path = "../../fuzz/bodies/snapshot_stream.rs"]
mod snapshot_stream;

/// A fuzz target's name and its body.
type Body = (&'static str, fn(&[u8]));

const BODIES: &[Body] = &[
    ("changeset_file", changeset_file::run),
    ("commit_info", commit_info::run),
    ("crash_schedule", crash_schedule::run),
    ("database", database::run),
    ("doctor", doctor::run),
    ("journal_record", journal_record::run),
    ("legacy_record", legacy_record::run),
    ("leveldb_block", leveldb_block::run),
    ("leveldb_log", leveldb_log::run),
    ("leveldb_table", leveldb_table::run),
    ("machine_events", machine_events::run),
    ("manifest_edits", manifest_edits::run),
    ("node_record", node_record::run),
    ("pebble_log", pebble_log::run),
    ("pebble_manifest", pebble_manifest::run),
    ("pebble_table", pebble_table::run),
    ("proof", proof::run),
    ("rocks_log", rocks_log::run),
    ("rocks_manifest", rocks_manifest::run),
    ("snapshot_stream", snapshot_stream::run),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz"))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_input_of_the_corpus_runs_through_its_target() {
    for (target, run) in BODIES {
        let directory = root().join("corpus").join(target);
        let inputs = names(&directory);
        assert!(inputs.len() >= 3, "{target} has {} inputs", inputs.len());
        for input in inputs {
            let path = directory.join(&input);
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn every_fuzz_target_has_its_body_and_its_corpus_here() {
    let targets: Vec<String> = BODIES.iter().map(|(target, _)| (*target).to_owned()).collect();
    let files: Vec<String> = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&root().join("bodies")), files);
    assert_eq!(names(&root().join("fuzz_targets")), files);
    assert_eq!(names(&root().join("corpus")), targets);
}

/// A fuzzer's work without a fuzzer: less clever, but on every run of the tests.
#[test]
fn damaged_and_crossed_inputs_of_the_corpus_are_answered_too() {
    const RUNS: usize = 20_000;
    // A whole chain or directory each time, or many lives of one.
    const SLOW: [(&str, usize); 3] = [("database", 20), ("doctor", 20), ("crash_schedule", 200)];
    let seed = seed(71);
    let mut random = Random(seed);
    for (target, run) in BODIES {
        let directory = root().join("corpus").join(target);
        let inputs: Vec<Vec<u8>> =
            names(&directory).iter().map(|name| fs::read(directory.join(name)).unwrap()).collect();
        let pick = |random: &mut Random| inputs[random.below(inputs.len() as u64) as usize].clone();
        let runs = RUNS / SLOW.iter().find(|(slow, _)| slow == target).map_or(1, |(_, times)| *times);
        for _ in 0..runs {
            let mut input = pick(&mut random);
            for _ in 0..=random.below(4) {
                let at = random.below(input.len() as u64 + 1) as usize;
                match random.below(5) {
                    0 => input.truncate(at),
                    1 => input.insert(at, random.next() as u8),
                    2 => input.push(random.next() as u8),
                    3 => {
                        let other = pick(&mut random);
                        let from = random.below(other.len() as u64 + 1) as usize;
                        input.truncate(at);
                        input.extend_from_slice(&other[from..]);
                    }
                    _ if at < input.len() => input[at] ^= 1 << random.below(8),
                    _ => {}
                }
            }
            let ran = std::panic::catch_unwind(|| run(&input));
            assert!(ran.is_ok(), "{target}, seed {seed}: {input:02x?}");
        }
        println!("{target}: {runs} inputs");
    }
}
