//! Faults in a database while it is migrated: the run ends in an error that says where, or the target is that of the sound one.

use crate::{
    bytes::{self, Others, fresh},
    files::{rocks_source, rocks_source_with_log},
    hands::{Fault, caught, deal},
    records,
    support::{disk::Disk, random::seed},
    table::{Fate, Scale},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use storeshift::{
    Error, Kind, Migrator,
    journal::{Job, Journal, SourceIdentity},
    machine::State,
    model::{CommitInfo, JobId, Version},
    phases,
    plan::{At, Plan, Tuning},
    source::{self, Source},
    target::{MemoryCommitment, MemoryStorage, Outage, Target},
};

/// Migrates a database into memory; the target.
fn migrate(path: &Path, plan: &Plan) -> Result<(MemoryCommitment, MemoryStorage), Error> {
    let source: Arc<dyn Source> = Arc::from(source::open(path, 1 << 20)?);
    let info = phases::snapshot::preflight(source.as_ref(), plan)?;
    let app_hash = |info: &CommitInfo| info.app_hash();
    let tip = source.latest()?;
    let gone = || Error::Blocked { what: format!("version {tip} is not there"), advice: String::new() };
    let identity = SourceIdentity {
        engine: source.engine().to_owned(),
        height: info.version,
        app_hash: app_hash(&info),
        tip,
        tip_app_hash: app_hash(&source.commit_info(tip)?.ok_or_else(gone)?),
    };
    let job = Job { id: JobId([7; 16]), plan: plan.clone(), source: identity };
    let journal = Journal::on_backend(Disk::new(), Some((&job, &State::new(info.version))))?;
    let (sc, ss) = (MemoryCommitment::new(None, Outage::never()), MemoryStorage::new(None, Outage::never()));
    let target = Target { sc: Some(Box::new(sc.clone())), ss: Some(Box::new(ss.clone())) };
    let tuning = Tuning { workers: 1, memory: 1 << 20, reserve: 0, ..Tuning::default() };
    Migrator::assemble(source, target, journal, tuning)?.run()?;
    Ok((sc, ss))
}

/// Which version it is that a fault may not turn into an older one.
fn newest(path: &Path, plan: &Plan) -> Version {
    migrate(path, plan).unwrap().0.data().latest.unwrap()
}

struct Sweep<'a> {
    path: &'a Path,
    plan: Plan,
    tip: Version,
    sound: &'a (MemoryCommitment, MemoryStorage),
}

impl Sweep<'_> {
    fn fate(&self, file: &str) -> Fate {
        match migrate(self.path, &self.plan) {
            Ok((sc, ss)) => {
                let same = *sc.data() == *self.sound.0.data() && *ss.data() == *self.sound.1.data();
                if same {
                    return Fate::Harmless;
                }
                // A log that ends early is an older state, whole, with its own app hash; the journal has that, and a later run
                // goes on from there.
                let latest = sc.data().latest;
                let is_older = latest.is_some_and(|latest| latest < self.tip) && is_prefix(&sc, &self.sound.0);
                if is_older { Fate::Older } else { Fate::Silent }
            }
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked), "{:?} {error}", error.kind());
                let words = error.to_string();
                let named = words.contains(file) || words.contains("store ") || words.contains("version ");
                if named { Fate::Chunk { repaired: false } } else { Fate::Found { repaired: false } }
            }
        }
    }
}

/// Whether every version of the one is a version of the other, the same.
fn is_prefix(older: &MemoryCommitment, newer: &MemoryCommitment) -> bool {
    let (older, newer) = (older.data(), newer.data());
    older.infos.iter().all(|(version, info)| newer.infos.get(version) == Some(info))
}

fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), into.join(entry.file_name())).unwrap();
    }
}

/// How many bits and random faults there are by default, and at most.
struct Most {
    bits: (u64, u64),
    random: (u64, u64),
}

/// A small database: every bit of it may be flipped.
const SMALL: Most = Most { bits: (400, u64::MAX), random: (200, 4_000) };
/// One of hundreds of kilobytes: a sample of its bits.
const LARGE: Most = Most { bits: (120, 3_000), random: (80, 1_000) };

/// Bits, and seeded damage.
fn sweep(name: &str, path: &Path, plan: &Plan, most: &Most, default_seed: u64) {
    let (scale, seed) = (Scale::asked(), seed(default_seed));
    let (tip, sound) = (newest(path, plan), migrate(path, plan).unwrap());
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, Vec<u8>)> =
        names.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect();
    files.sort();
    let kind_of = |name: &str| match name.rsplit_once('.') {
        Some((_, kind)) => format!("*.{kind}"),
        None => name.split('-').next().unwrap_or(name).to_owned(),
    };
    let bits = files.iter().enumerate().flat_map(|(file, (_, bytes))| (0..8 * bytes.len()).map(move |bit| (file, bit)));
    let all: usize = files.iter().map(|(_, bytes)| 8 * bytes.len()).sum();
    let stride = scale.stride(all, most.bits.0).max((all as u64).div_ceil(most.bits.1) as usize);
    let bits = bits.skip(seed as usize % stride).step_by(stride).map(|(file, bit)| Fault::Bit { file, bit });
    let random = (0..scale.random(most.random.0, most.random.1)).map(|trial| Fault::Random { trial });
    let faults: Vec<Fault> = bits.chain(random).collect();
    println!("{all} bits of {} files, one in {stride}", files.len());
    let inject = |root: &PathBuf, name: &str, whole: &[u8], damaged: &[u8]| {
        let path = root.join(name);
        fs::write(&path, damaged).unwrap();
        let sweep = Sweep { path: root, plan: plan.clone(), tip, sound: &sound };
        let fate = caught(|| sweep.fate(name));
        fs::write(&path, whole).unwrap();
        fate
    };
    let begin = |hand: usize| {
        let root = path.with_file_name(format!("of-hand-{hand}.db"));
        copy(path, &root);
        root
    };
    let (table, roots) = deal(&faults, begin, |root, fault| match fault {
        Fault::Bit { file, bit } => {
            let (name, bytes) = &files[file];
            let fate = inject(root, name, bytes, &bytes::flipped(bytes, bit));
            Some((kind_of(name), "bit", fate, format!("bit {bit} of {name}")))
        }
        Fault::Random { trial } => {
            let mut random = Fault::numbers(seed, trial);
            let mut any = || &files[random.below(files.len() as u64) as usize];
            let ((name, bytes), (_, beside)) = (any(), any());
            let (kind, damaged) = bytes::random(bytes, &Others { earlier: None, beside }, &mut random);
            (damaged != *bytes).then(|| {
                let fate = inject(root, name, bytes, &damaged);
                (kind_of(name), kind, fate, format!("{kind} of {name}, trial {trial}"))
            })
        }
    });
    for root in roots {
        let found = files.iter().all(|(name, bytes)| fs::read(root.join(name)).is_ok_and(|found| found == *bytes));
        assert!(found && fs::read_dir(&root).unwrap().count() == files.len(), "the source was written to");
    }
    table.judge(name);
}

fn fixture(name: &str, plan: &Plan, most: &Most, default_seed: u64) {
    let dir = fresh();
    let path = dir.path().join("application.db");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db"), &path);
    let plan = match plan.at {
        At::Latest => Plan { at: At::Version(newest(&path, plan)), ..plan.clone() },
        _ => plan.clone(),
    };
    sweep(&format!("source {name}"), &path, &plan, most, default_seed);
}

fn large(name: &str, default_seed: u64) {
    fixture(name, &Plan { at: At::Latest, chunk_leaves: 64, ..Plan::new() }, &LARGE, default_seed);
}

/// From its first version on, so that all of it is read.
fn tiny(name: &str, default_seed: u64) {
    fixture(name, &Plan { at: At::Version(Version(1)), chunk_leaves: 2, ..Plan::new() }, &SMALL, default_seed);
}

#[test]
fn a_fault_in_a_goleveldb_source_is_found_or_does_no_harm() {
    large("nofast", 79);
}

#[test]
fn a_fault_in_a_log_of_goleveldb_is_found_or_does_no_harm() {
    large("unflushed", 80);
}

#[test]
fn a_fault_in_a_pebble_source_is_found_or_does_no_harm() {
    large("pebble", 81);
}

#[test]
fn a_fault_in_a_rocksdb_source_is_found_or_does_no_harm() {
    large("pruned-rocksdb", 82);
}

#[test]
fn no_bit_of_a_tiny_goleveldb_source_goes_unnoticed_or_it_does_no_harm() {
    tiny("tiny", 84);
}

#[test]
fn no_bit_of_a_tiny_pebble_source_goes_unnoticed_or_it_does_no_harm() {
    tiny("tiny-pebble", 85);
}

#[test]
fn no_bit_of_a_tiny_log_of_pebble_goes_unnoticed_or_it_does_no_harm() {
    tiny("tiny-pebble-log", 86);
}

#[test]
fn no_bit_of_a_small_rocksdb_source_of_several_versions_goes_unnoticed_or_it_does_no_harm() {
    let dir = fresh();
    let path = dir.path().join("application.db");
    rocks_source(&path, &records::chain_up_to(8));
    let plan = Plan { at: At::Version(Version(4)), chunk_leaves: 4, ..Plan::new() };
    sweep("source of several versions (RocksDB)", &path, &plan, &SMALL, 83);
}

#[test]
fn no_bit_of_a_tiny_rocksdb_source_with_a_log_goes_unnoticed_or_it_does_no_harm() {
    let dir = fresh();
    let path = dir.path().join("application.db");
    let after = records::tiny_chain();
    rocks_source_with_log(&path, &after[1], &after[2]);
    let logs = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap());
    let logged: u64 = logs
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(logged > 200, "nothing is in the log");
    let plan = Plan { at: At::Version(Version(1)), chunk_leaves: 2, ..Plan::new() };
    sweep("tiny source (RocksDB)", &path, &plan, &SMALL, 87);
}
