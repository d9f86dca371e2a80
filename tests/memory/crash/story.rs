//! A node in memory that migrates itself while it commits: recorded once from the first block to long after the switch, and carried on
//! from whatever a power cut left of it.

use super::{
    log::{Held, Op},
    recorder::{Recorder, Tree},
    twins::Twins,
};
use crate::{
    root_store::{
        blocks::block,
        worlds::{Chain, plain},
    },
    support::{random::Random, tuning::tiny},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use storeshift::{
    Outcome, disk,
    journal::{Journal, control},
    live::{Begin, Keeping, LiveStore, Places},
    machine::Phase,
    model::Version,
    plan::Tuning,
};

/// Blocks before the migration begins.
const BEFORE: u64 = 9;
/// Blocks after which it may switch.
const SWITCH: u64 = 26;
/// Blocks after the switch.
const AFTER: u64 = 4;
/// Versions that the chain commits while a job is away.
const AWAY: u64 = 4;
/// All that are ever needed.
const BLOCKS: u64 = 200;
/// Operations on the disk between two commits.
const PACE: usize = 25;

/// What is certain about a chain: each of its versions, computed a second way.
pub struct Story {
    /// Versions there are before anything is recorded.
    before: u64,
    pub chain: Chain,
}

/// A recorded run.
pub struct Recording {
    pub base: Tree,
    pub engines: Vec<Option<Held>>,
    pub ops: Vec<Op>,
}

/// What is recorded once, and carried on from every image of it.
pub trait Tale: Sync {
    /// What a directory says without being changed in what matters: those that say the same are carried on in the same way. And how many
    /// events are in its journal, if it has one.
    fn says(&self, dir: &Path) -> (Option<u64>, String);

    /// Opens what is there, checks it against what was told, carries it on to the end, and checks it again.
    fn recover(&self, dir: &Path, twins: &Twins, told: &[String], recorder: Option<&Recorder>);
}

/// Which of a target's files there may be when all is done.
pub const LEFT: &[&str] = &[
    "v2/journal/control.json",
    "v2/journal/journal.redb",
    "v2/journal/lock",
    "v2/journal/status.json",
    "v2/sc/storeshift.job",
    "v2/sc/twin",
    "v2/ss/storeshift.job",
    "v2/ss/twin",
];

impl Story {
    pub fn new(seed: u64) -> Story {
        let (mut random, mut chain) = (Random(seed), Chain::default());
        for _ in 0..BLOCKS {
            let set = Arc::new(block(&mut random, &chain));
            chain.commit(set);
        }
        Story { chain, before: BEFORE }
    }

    /// One whose recording begins later.
    pub fn anew(seed: u64) -> Story {
        Story { before: BEFORE + AWAY, ..Story::new(seed) }
    }

    fn open(&self, dir: &Path, twins: &Twins, begin: Option<Begin>) -> LiveStore {
        let keeping = Keeping { store: plain(), ..Keeping::default() };
        LiveStore::open_with(Arc::new(twins.clone()), &places(dir), keeping, begin).unwrap()
    }

    fn commit(&self, store: &LiveStore, recorder: Option<&Recorder>) -> Version {
        let version = store.latest().map_or(Version(1), |info| info.version.next());
        let info = store.commit(self.chain.sets[&version].clone()).unwrap();
        assert_eq!(info.app_hash(), self.chain.infos[&version].app_hash(), "version {version}");
        if let Some(recorder) = recorder {
            recorder.note(Op::Told(format!("commit {version}")));
        }
        if version.0.is_multiple_of(4) {
            store.prune_below(Version(version.0 - 3)).unwrap();
        }
        version
    }

    /// Runs it once in an empty directory.
    pub fn record(&self, dir: &Path) -> Recording {
        let twins = Twins::holding(Vec::new(), None);
        let store = self.open(dir, &twins, None);
        for _ in 0..BEFORE {
            self.commit(&store, None);
        }
        drop(store);
        let engines = twins.held().clone();
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(engines.clone(), Some(recorder.clone()));
        let store = self.open(dir, &twins, Some(begin(false)));
        let commit = || self.commit(&store, Some(&recorder));
        for block in 1.. {
            recorder.wait(block * PACE, &|| !store.is_migrating());
            let version = commit();
            if version.0 == SWITCH - 3 {
                control::change(&places(dir).v2.join("journal"), |control| control.workers = Some(3)).unwrap();
                recorder.note(Op::Told("limited".to_owned()));
            }
            if version.0 >= SWITCH {
                store.switch(true);
            }
            if !store.is_migrating() {
                break;
            }
        }
        assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
        for _ in 0..AFTER {
            commit();
        }
        drop(store);
        drop(mounted);
        Recording { base: Tree::empty(), engines, ops: recorder.ops() }
    }
}

impl Story {
    /// A job was away while the chain went on and pruned what the job's snapshot was of: another one is taken, and the migration comes to
    /// its end.
    pub fn record_anew(&self, dir: &Path) -> Recording {
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(Vec::new(), Some(recorder.clone()));
        let store = self.open(dir, &twins, None);
        for _ in 0..BEFORE {
            self.commit(&store, None);
        }
        drop(store);
        let mut store = self.open(dir, &twins, Some(begin(false)));
        // Until something is durable in the target.
        let before = recorder.ops().len();
        while !recorder.ops().iter().skip(before).any(|op| matches!(op, Op::Engine { durable: true, .. })) {
            std::thread::yield_now();
        }
        store.stop_migrating();
        for _ in 0..AWAY {
            self.commit(&store, None);
        }
        store.prune_below(store.latest().unwrap().version).unwrap();
        drop(store);
        drop(mounted);
        let journal = Journal::open(&places(dir).v2.join("journal")).unwrap();
        let is_begun = match journal.state().unwrap().phase {
            Phase::Restoring { restored, .. } => restored.count() > 0,
            phase => matches!(phase, Phase::Syncing { .. }),
        };
        assert!(is_begun, "{:?}", journal.state());
        drop(journal);
        // Opening the journal has written to it.
        let (base, engines) = (Tree::read(dir), twins.held().clone());
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(engines.clone(), Some(recorder.clone()));
        let store = self.open(dir, &twins, Some(begin(true)));
        assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
        self.commit(&store, Some(&recorder));
        drop(store);
        drop(mounted);
        let journal = Journal::open(&places(dir).v2.join("journal")).unwrap();
        assert_eq!(journal.state().unwrap().epoch, 2);
        Recording { base, engines, ops: recorder.ops() }
    }
}

impl Tale for Story {
    fn says(&self, dir: &Path) -> (Option<u64>, String) {
        journal_says(dir, &places(dir).v2.join("journal"))
    }

    fn recover(&self, dir: &Path, twins: &Twins, told: &[String], recorder: Option<&Recorder>) {
        let committed = told.iter().filter_map(|told| told.strip_prefix("commit ")).next_back();
        let committed = committed.map_or(self.before, |version| version.parse().unwrap());
        if told.iter().any(|told| told == "limited") {
            let control = control::read(&places(dir).v2.join("journal")).unwrap();
            assert_eq!(control.workers, Some(3), "a limit that was set is gone");
        }
        let store = self.open(dir, twins, Some(begin(true)));
        let there = store.latest().unwrap().version.0;
        assert!(there == committed || there == committed + 1, "{committed} was committed, and {there} is there");
        let span = store.span().unwrap();
        for version in (span.oldest.0..=span.latest.0).map(Version) {
            let view = store.at(version).unwrap();
            assert_eq!(view.commit_info().app_hash(), self.chain.infos[&version].app_hash(), "version {version}");
        }
        for _ in 0..2 {
            self.commit(&store, recorder);
        }
        match store.wait() {
            // It was done already.
            None => {}
            Some(Ok(Outcome::Done { .. })) => {}
            other => panic!("it did not come to its end: {other:?}"),
        }
        assert!(store.source().is_none(), "store/v1 is of record at the end");
        let last = self.commit(&store, recorder);
        drop(store);
        let again = self.open(dir, twins, None);
        assert!(again.source().is_none() && !again.is_migrating());
        assert_eq!(again.latest().unwrap().version, last);
        let oldest = again.span().unwrap().oldest;
        self.chain.is_held_until(&again, oldest, last);
        drop(again);
        let left: BTreeSet<String> = listing(dir, dir).into_iter().collect();
        let odd: Vec<_> = left.iter().filter(|name| !LEFT.contains(&name.as_str())).collect();
        assert!(odd.is_empty(), "left over: {odd:?}");
    }
}

/// What a directory with a job says: how many events its journal has, and everything else that matters. The files are looked at, and the
/// journal is opened and read.
pub fn journal_says(dir: &Path, journal: &Path) -> (Option<u64>, String) {
    let mut says = String::new();
    for name in listing(dir, dir) {
        let is_small = !name.ends_with("journal.redb") && !name.ends_with("lock") && !name.contains("status.json");
        let content = if is_small { fs::read(dir.join(&name)).unwrap() } else { Vec::new() };
        says.push_str(&format!("{name} {}\n", blake3::hash(&content)));
    }
    if !Journal::exists(journal) {
        return (None, says);
    }
    let journal = Journal::open(journal).unwrap_or_else(|error| panic!("the journal does not open: {error}"));
    let state = journal.state().unwrap();
    says.push_str(&format!("{:?} {state:?}", journal.job().unwrap()));
    if !matches!(state.phase, Phase::Snapshotting { .. }) {
        let manifest = journal.manifest().unwrap();
        for id in 0..manifest.stores.iter().map(|store| store.chunks).sum() {
            says.push_str(&format!("{:?}", journal.restored(id).unwrap().map(|restored| restored.ss)));
        }
        journal.chunks(0, manifest.stores.iter().map(|store| store.chunks).sum()).unwrap();
    }
    assert_eq!(journal.events().unwrap().len() as u64, journal.event_count());
    (Some(journal.event_count()), says)
}

pub fn places(dir: &Path) -> Places {
    Places { v1: dir.join("application.db"), v2: dir.join("v2") }
}

pub fn begin(switch: bool) -> Begin {
    // As little memory as may be, so that there is more than one stretch.
    let tuning = Tuning { memory: 32 << 20, ..tiny(1) };
    let mut begin = Begin { switch, tuning, ..Begin::new() };
    begin.plan.chunk_leaves = 8;
    begin
}

/// All files, by their paths from `root`.
pub fn listing(root: &Path, at: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(listing(root, &path));
        } else {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}
