//! Faults in the files of a finished target on the disk. Opening it or `verify` finds them, or whatever readers read is what it was.

use crate::{
    bytes::{self, Others, fresh},
    records,
    support::{
        ondisk::{Files, Seen, read, see, write},
        random::{Random, seed},
    },
    table::{Fate, Scale, Table},
};
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};
use storeshift::{
    Error, Kind, migrator,
    model::Version,
    plan::{At, Paths, Plan, Tuning},
    source::MemoryEngine,
    target::rocks::{EngineTuning, RocksDatabase},
};

fn tuning(switch: bool) -> Tuning {
    Tuning { workers: 1, memory: 32 << 20, reserve: 0, switch, ..Tuning::default() }
}

/// A node's database with these pairs, written by RocksDB.
pub fn rocks_source(path: &Path, engine: &MemoryEngine) {
    let database = RocksDatabase::open(path, EngineTuning::default()).unwrap();
    let mut pairs = engine.pairs.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    database.write(&mut pairs, true).unwrap();
    database.flush().unwrap();
}

/// What a kind of file is called, by what is done with it.
fn kind_of(name: &str) -> String {
    let (engine, file) = name.rsplit_once('/').unwrap_or(("", name));
    let file = match file {
        file if file.ends_with(".sst") => "table",
        file if file.ends_with(".log") => "log",
        file if file.starts_with("MANIFEST") => "MANIFEST",
        file if file.starts_with("OPTIONS") => "OPTIONS (nobody reads it)",
        file if file.starts_with("LOG") => "LOG (nobody reads it)",
        file @ ("LOCK" | "lock" | "status.json") => return format!("{engine}/{file} (nobody reads it)"),
        file => file,
    };
    format!("{engine}/{file}")
}

struct Sweep {
    root: PathBuf,
    source: Paths,
    bounds: (u64, u64),
    sound: Files,
    seen: Seen,
    /// How errors that found something are to be handled.
    kinds: BTreeMap<String, u64>,
}

impl Sweep {
    fn inject(&mut self, name: &str, damaged: &[u8]) -> Fate {
        let mut files = self.sound.clone();
        files.insert(name.to_owned(), damaged.to_vec());
        write(&self.root, &files);
        let this = AssertUnwindSafe(&mut *self);
        catch_unwind(move || {
            let this = this;
            this.0.fate()
        })
        .unwrap_or(Fate::Panic)
    }

    fn found(&mut self, error: &Error) -> Fate {
        let words =
            if matches!(error.kind(), Kind::Disagrees | Kind::Blocked) { String::new() } else { error.to_string() };
        *self.kinds.entry(format!("{:?} {words}", error.kind())).or_default() += 1;
        assert_ne!(error.kind(), Kind::Bug, "{error}");
        Fate::Found { repaired: false }
    }

    fn fate(&mut self) -> Fate {
        let job = match migrator::inspect(&self.root, None, tuning(true)) {
            Ok(job) => job,
            Err(error) => return self.found(&error),
        };
        let findings = match job.verify(false, false) {
            Ok(findings) => findings,
            Err(error) => return self.found(&error),
        };
        if findings.is_sound() {
            let same = see(&job, self.bounds).is_ok_and(|seen| seen == self.seen);
            return if same { Fate::Harmless } else { Fate::Silent };
        }
        drop(job);
        let repaired = self.repair().unwrap_or(false);
        *self.kinds.entry("Unsound".to_owned()).or_default() += 1;
        if findings.damaged.len() == 1 { Fate::Chunk { repaired } } else { Fate::Found { repaired } }
    }

    fn repair(&self) -> Result<bool, Error> {
        let job = migrator::inspect(&self.root, Some(&self.source), tuning(true))?;
        Ok(job.verify(false, true)?.is_sound() && see(&job, self.bounds)? == self.seen)
    }
}

/// Every bit of every file of a target, and seeded damage.
fn sweep(name: &str, at: u64, tip: u64, default_seed: u64) {
    let (scale, seed) = (Scale::asked(), seed(default_seed));
    let dir = fresh();
    let (root, source) = (dir.path().join("target"), dir.path().join("application.db"));
    let paths = Paths { source: source.clone(), target: root.clone(), ..Paths::default() };
    let plan = Plan { at: At::Version(Version(at)), chunk_leaves: 4, ..Plan::new() };
    // First up to an earlier version, so that there are files as they were earlier.
    let mut earlier = Files::new();
    for (tip, switch) in [((at + tip) / 2, false), (tip, true)] {
        let _ = fs::remove_dir_all(&source);
        rocks_source(&source, &records::chain_up_to(tip));
        let mut job = migrator::open(&paths, &plan, tuning(switch)).unwrap();
        job.run().unwrap();
        drop(job);
        if !switch {
            read(&root, "", &mut earlier);
        }
    }
    let mut sound = Files::new();
    read(&root, "", &mut sound);
    let job = migrator::inspect(&root, None, tuning(true)).unwrap();
    let seen = see(&job, (at, tip)).unwrap();
    drop(job);
    let mut sweep = Sweep { root, source: paths, bounds: (at, tip), sound, seen, kinds: BTreeMap::new() };
    let mut table = Table::default();
    let mut faults: Vec<(&str, usize)> = Vec::new();
    let sound = sweep.sound.clone();
    for (name, bytes) in &sound {
        let unread = kind_of(name).contains("nobody");
        // The journal has a sweep of its own.
        if name != "journal/journal.redb" {
            faults.extend((0..8 * bytes.len()).step_by(if unread { 331 } else { 1 }).map(|bit| (name.as_str(), bit)));
        }
    }
    println!("{} bits of {} files", faults.len(), sound.len());
    let stride = scale.stride(faults.len(), 120);
    for (name, bit) in faults.iter().skip(seed as usize % stride).step_by(stride) {
        let fate = sweep.inject(name, &bytes::flipped(&sound[*name], *bit));
        table.count(&kind_of(name), "bit", fate, || format!("bit {bit} of {name}"));
    }
    let mut random = Random(seed);
    let names: Vec<&String> = sound.keys().filter(|name| !kind_of(name).contains("nobody")).collect();
    for trial in 0..scale.random(100, 60_000) {
        let name = names[random.below(names.len() as u64) as usize];
        let beside = names[random.below(names.len() as u64) as usize];
        let others = Others { earlier: earlier.get(name).map(Vec::as_slice), beside: &sound[beside] };
        let (kind, damaged) = bytes::random(&sound[name], &others, &mut random);
        if damaged == sound[name] {
            continue;
        }
        let fate = sweep.inject(name, &damaged);
        table.count(&kind_of(name), kind, fate, || format!("{kind} of {name}, trial {trial}"));
    }
    eprintln!("{:#?}", sweep.kinds);
    table.judge(name);
}

#[test]
fn no_fault_in_a_file_of_a_restored_target_goes_unnoticed() {
    sweep("files of a restored target", 4, 4, 77);
}

#[test]
fn no_fault_in_a_file_of_a_target_with_later_versions_goes_unnoticed() {
    sweep("files of a target with versions after the snapshot", 4, 8, 78);
}
