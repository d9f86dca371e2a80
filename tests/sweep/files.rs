//! Faults in the files of a finished target on the disk. Opening it or `verify` finds them, or whatever readers read is what it was.

use crate::{
    bytes::{self, Others, fresh},
    hands::{Fault, caught, deal},
    records,
    support::{
        ondisk::{Files, Seen, read, see, write},
        random::seed,
    },
    table::{Fate, Scale},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
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

/// A node's database as RocksDB leaves it when its process is killed: the pairs of `flushed` are in a table, what `engine` has besides is
/// in the log.
pub fn rocks_source_with_log(path: &Path, flushed: &MemoryEngine, engine: &MemoryEngine) {
    rocks_source(path, flushed);
    let database = RocksDatabase::open(path, EngineTuning::default()).unwrap();
    let is_new = |key: &Vec<u8>| flushed.pairs.get(key) != engine.pairs.get(key);
    let pairs = engine.pairs.iter().map(|(key, value)| (key, Some(value.as_slice())));
    let gone = flushed.pairs.keys().filter(|key| !engine.pairs.contains_key(*key)).map(|key| (key, None));
    let mut changes = pairs.filter(|(key, _)| is_new(key)).chain(gone).map(|(key, value)| (key.as_slice(), value));
    database.write(&mut changes, true).unwrap();
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

fn is_read(name: &str) -> bool {
    !kind_of(name).contains("nobody")
}

struct Sweep {
    /// A target that is damaged again and again, and the files of the sound one, on the same disk.
    root: PathBuf,
    pristine: PathBuf,
    source: Paths,
    bounds: (u64, u64),
    sound: Arc<Files>,
    seen: Arc<Seen>,
    /// How errors that found something are to be handled.
    kinds: BTreeMap<String, u64>,
}

impl Sweep {
    /// Puts the sound target in place. Engines never write into a file of theirs that was there, so links to it do; the journal is
    /// written to.
    fn restore(&self) {
        let mut there = Files::new();
        read(&self.root, "", &mut there);
        for name in there.keys().filter(|name| !self.sound.contains_key(*name)) {
            fs::remove_file(self.root.join(name)).unwrap();
        }
        for (name, bytes) in self.sound.iter() {
            let path = self.root.join(name);
            if name.starts_with("journal/") {
                if !fs::read(&path).is_ok_and(|found| found == *bytes) {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(&path, bytes).unwrap();
                }
                continue;
            }
            let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).ok();
            let pristine = self.pristine.join(name);
            let found = inode(&path);
            if found != inode(&pristine) {
                if found.is_some() {
                    fs::remove_file(&path).unwrap();
                }
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::hard_link(&pristine, &path).unwrap();
            }
        }
    }

    fn inject(&mut self, name: &str, damaged: &[u8]) -> Fate {
        self.restore();
        let path = self.root.join(name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        caught(|| self.fate())
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
            let same = see(&job, self.bounds).is_ok_and(|seen| seen == *self.seen);
            return if same { Fate::Harmless } else { Fate::Silent };
        }
        drop(job);
        let repaired = self.repair().unwrap_or(false);
        *self.kinds.entry("Unsound".to_owned()).or_default() += 1;
        if findings.damaged.len() == 1 { Fate::Chunk { repaired } } else { Fate::Found { repaired } }
    }

    fn repair(&self) -> Result<bool, Error> {
        let job = migrator::inspect(&self.root, Some(&self.source), tuning(true))?;
        Ok(job.verify(false, true)?.is_sound() && see(&job, self.bounds)? == *self.seen)
    }
}

/// Every bit of every file of a target that anything reads, and seeded damage.
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
    let pristine = dir.path().join("pristine");
    write(&pristine, &sound);
    let job = migrator::inspect(&root, None, tuning(true)).unwrap();
    let seen = see(&job, (at, tip)).unwrap();
    drop(job);
    let (sound, seen) = (Arc::new(sound), Arc::new(seen));
    let files: Vec<(&String, &Vec<u8>)> = sound.iter().collect();
    let mut bits = Vec::new();
    for (file, (name, bytes)) in files.iter().enumerate() {
        // The journal has a sweep of its own.
        if *name != "journal/journal.redb" {
            let step = if is_read(name) { 1 } else { 331 };
            bits.extend((0..8 * bytes.len()).step_by(step).map(|bit| Fault::Bit { file, bit }));
        }
    }
    let stride = scale.stride(bits.len(), 120);
    println!("{} bits of {} files, one in {stride}", bits.len(), files.len());
    let mut faults: Vec<Fault> = bits.into_iter().skip(seed as usize % stride).step_by(stride).collect();
    faults.extend((0..scale.random(100, 5_000)).map(|trial| Fault::Random { trial }));
    let readable: Vec<usize> = (0..files.len()).filter(|file| is_read(files[*file].0)).collect();
    let begin = |hand: usize| Sweep {
        root: dir.path().join(format!("target-{hand}")),
        pristine: pristine.clone(),
        source: Paths { target: dir.path().join(format!("target-{hand}")), ..paths.clone() },
        bounds: (at, tip),
        sound: sound.clone(),
        seen: seen.clone(),
        kinds: BTreeMap::new(),
    };
    let (table, hands) = deal(&faults, begin, |hand, fault| match fault {
        Fault::Bit { file, bit } => {
            let (name, bytes) = files[file];
            let fate = hand.inject(name, &bytes::flipped(bytes, bit));
            Some((kind_of(name), "bit", fate, format!("bit {bit} of {name}")))
        }
        Fault::Random { trial } => {
            let mut random = Fault::numbers(seed, trial);
            let mut any = || files[readable[random.below(readable.len() as u64) as usize]];
            let ((name, bytes), (_, beside)) = (any(), any());
            let others = Others { earlier: earlier.get(name).map(Vec::as_slice), beside };
            let (kind, damaged) = bytes::random(bytes, &others, &mut random);
            (damaged != *bytes)
                .then(|| (kind_of(name), kind, hand.inject(name, &damaged), format!("{kind} of {name}, trial {trial}")))
        }
    });
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for (kind, count) in hands.into_iter().flat_map(|hand| hand.kinds) {
        *kinds.entry(kind).or_default() += count;
    }
    println!("{kinds:#?}");
    let mut after = Files::new();
    read(&pristine, "", &mut after);
    assert!(after == *sound, "a file that is linked was written to: later faults were not alone");
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
