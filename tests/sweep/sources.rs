//! Faults in a database while it is migrated: the run ends in an error that says where, or the target is that of the sound one.

use crate::{
    bytes::{self, Others, fresh},
    files::rocks_source,
    records,
    support::{
        disk::Disk,
        random::{Random, seed},
    },
    table::{Fate, Scale, Table},
};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
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
    sound: (MemoryCommitment, MemoryStorage),
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

/// Every `step`-th bit at least, and seeded damage.
fn sweep(name: &str, path: &Path, plan: Plan, (bits, random): (u64, u64), default_seed: u64) {
    let (scale, seed) = (Scale::asked(), seed(default_seed));
    let sweep = Sweep { path, tip: newest(path, &plan), sound: migrate(path, &plan).unwrap(), plan };
    let names: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut files: Vec<(String, PathBuf, Vec<u8>)> = names
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap(), path))
        .map(|(name, bytes, path)| (name, path, bytes))
        .collect();
    files.sort();
    let kind_of = |name: &str| match name.rsplit_once('.') {
        Some((_, kind)) => format!("*.{kind}"),
        None => name.split('-').next().unwrap_or(name).to_owned(),
    };
    let mut table = Table::default();
    let mut inject = |name: &str, path: &Path, kind, whole: &[u8], damaged: &[u8], what: &dyn Fn() -> String| {
        fs::write(path, damaged).unwrap();
        let fate = catch_unwind(AssertUnwindSafe(|| sweep.fate(name))).unwrap_or(Fate::Panic);
        table.count(&kind_of(name), kind, fate, what);
        fs::write(path, whole).unwrap();
    };
    let all: usize = files.iter().map(|(_, _, bytes)| 8 * bytes.len()).sum();
    let stride = scale.stride(all, bits).max(all / 300_000);
    let mut at = seed as usize % stride.max(1);
    for (name, path, bytes) in &files {
        while at < 8 * bytes.len() {
            inject(name, path, "bit", bytes, &bytes::flipped(bytes, at), &|| format!("bit {at} of {name}"));
            at += stride;
        }
        at -= 8 * bytes.len();
    }
    let mut numbers = Random(seed);
    for trial in 0..scale.random(random, 200 * random) {
        let (name, path, bytes) = &files[numbers.below(files.len() as u64) as usize];
        let beside = &files[numbers.below(files.len() as u64) as usize].2;
        let (kind, damaged) = bytes::random(bytes, &Others { earlier: None, beside }, &mut numbers);
        if damaged != *bytes {
            inject(name, path, kind, bytes, &damaged, &|| format!("{kind} of {name}, trial {trial}"));
        }
    }
    println!("{all} bits, one in {stride}");
    table.judge(name);
}

fn fixture(name: &str, default_seed: u64) {
    let dir = fresh();
    let path = dir.path().join("application.db");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db"), &path);
    let plan = Plan { at: At::Latest, chunk_leaves: 64, ..Plan::new() };
    let plan = Plan { at: At::Version(newest(&path, &plan)), ..plan };
    sweep(&format!("source {name}"), &path, plan, (120, 80), default_seed);
}

#[test]
fn a_fault_in_a_goleveldb_source_is_found_or_does_no_harm() {
    fixture("nofast", 79);
}

#[test]
fn a_fault_in_a_log_of_goleveldb_is_found_or_does_no_harm() {
    fixture("unflushed", 80);
}

#[test]
fn a_fault_in_a_pebble_source_is_found_or_does_no_harm() {
    fixture("pebble", 81);
}

#[test]
fn a_fault_in_a_rocksdb_source_is_found_or_does_no_harm() {
    fixture("pruned-rocksdb", 82);
}

#[test]
fn a_fault_in_a_small_rocksdb_source_of_several_versions_is_found_or_does_no_harm() {
    let dir = fresh();
    let path = dir.path().join("application.db");
    rocks_source(&path, &records::chain_up_to(8));
    let plan = Plan { at: At::Version(Version(4)), chunk_leaves: 4, ..Plan::new() };
    sweep("source of several versions (RocksDB)", &path, plan, (800, 300), 83);
}
