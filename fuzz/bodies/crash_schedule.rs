//! A chain that migrates itself, and a schedule for it: the bytes say what it commits and prunes, when its migration goes on and how far,
//! what an operator asks, where the power goes and what is left then; again and again. In the end it is brought to its end, and is what a
//! chain is to which nothing happened, computed a second way.
//!
//! The same bytes give the same run: the migration stands still while the chain does something, and the other way round.

use crate::{
    crash::{
        gate::{Gate, Gated, Stand, Watch},
        images::{Damage, Image, Reel},
        log::{Held, Op},
        recorder::{Recorder, Tree, place},
        story::{LEFT, begin, listing, places},
        twins::Twins,
    },
    root_store::{
        blocks::block,
        worlds::{Chain, plain},
    },
    support::random::Random,
};
use std::{path::Path, sync::Arc, time::Duration};
use storeshift::{
    Outcome, disk,
    journal::control::{self, Control},
    live::{Begin, Keeping, LiveStore},
    machine::Phase,
    migrator,
    model::Version,
    root_store::{Databases as _, RootStore, RootmultiLayout},
    target::EngineTuning,
};

/// Lives of the process, blocks, and things that are done in one life, at most: what is left of the bytes then counts for nothing.
const LIVES: usize = 8;
const BLOCKS: u64 = 48;
const DEEDS: usize = 60;

pub fn run(data: &[u8]) {
    played(data, Lost::Nothing);
}

/// What a disk or an engine is asked for and does not do, so that one can see that it matters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "the fuzz target's disks do what they are asked for")]
pub enum Lost {
    Nothing,
    SyncsOfFiles,
    SyncsOfDirectories,
    SyncsOfEngines,
}

impl Lost {
    fn lose(self, ops: &mut Vec<Op>) {
        ops.retain(|op| match op {
            Op::SyncFile(_) => self != Lost::SyncsOfFiles,
            Op::SyncDirectory(_) => self != Lost::SyncsOfDirectories,
            _ => true,
        });
        for op in ops {
            if let Op::Engine { durable, .. } = op {
                *durable &= self != Lost::SyncsOfEngines;
            }
        }
    }
}

/// As [`run`]; returns what was done in each life, operation by operation.
pub fn played(data: &[u8], lost: Lost) -> Vec<Vec<&'static str>> {
    let mut bytes = Bytes(data);
    let place = place();
    let dir = place.path().join("world");
    std::fs::create_dir(&dir).unwrap();
    let mut world = World::begin(dir, lost, bytes.next().map_or(3, |byte| u64::from(byte % 12) + 1));
    for _ in 0..LIVES {
        let Some(kind) = bytes.next() else { break };
        world.live(kind, &mut bytes);
    }
    world.ends()
}

/// What was said last, for whoever looks into a failure: `STORESHIFT_SAY=1`.
fn say(what: impl FnOnce() -> String) {
    if std::env::var_os("STORESHIFT_SAY").is_some() {
        println!("{}", what());
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next one, or nothing as long as there are none.
    fn or_nothing(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }
}

/// What is there between two lives.
struct World {
    dir: std::path::PathBuf,
    lost: Lost,
    chain: Chain,
    tree: Tree,
    engines: Vec<Option<Held>>,
    /// The newest version that is certainly there.
    committed: u64,
    /// Whether store/v2 is of record for certain, and whether the job is gone for certain.
    is_switched: bool,
    is_gone: bool,
    /// What an operator may find to be asked: what he was told is remembered, and what he was not told of.
    asked: Vec<Control>,
    /// What was done in each life.
    done: Vec<Vec<&'static str>>,
}

/// One life of the process.
struct Life<'a> {
    world: &'a mut World,
    recorder: Recorder,
    gate: Arc<Gate>,
    twins: Twins,
    base: Tree,
    engines: Vec<Option<Held>>,
    mounted: Option<disk::Mounted>,
    /// What an operator asked in this life, one after the other.
    asked: Vec<Control>,
    /// What was done before the power went, if that is behind.
    ops: Option<Vec<Op>>,
}

impl World {
    /// A chain with so many versions, on store/v1.
    fn begin(dir: std::path::PathBuf, lost: Lost, versions: u64) -> World {
        let (chain, tree, asked) = (Chain::default(), Tree::empty(), Control::new());
        let mut world = World {
            dir,
            lost,
            chain,
            tree,
            engines: Vec::new(),
            committed: 0,
            is_switched: false,
            is_gone: false,
            asked: vec![asked],
            done: Vec::new(),
        };
        let life = Life::begin(&mut world);
        let store = life.v1();
        for version in 1..=versions {
            let set = life.world.set(Version(version), version);
            store.commit(set).unwrap();
        }
        drop(store);
        life.ends(0, Damage::All);
        world.committed = versions;
        world
    }

    /// What a version changes: decided once, though a power cut may have it be committed again.
    fn set(&mut self, version: Version, seed: u64) -> Arc<storeshift::root_store::ChangeSet> {
        if self.chain.latest() < version {
            let set = Arc::new(block(&mut Random(seed), &self.chain));
            self.chain.commit(set);
        }
        self.chain.sets[&version].clone()
    }

    /// One life of the process, up to where its power goes.
    fn live(&mut self, kind: u8, bytes: &mut Bytes<'_>) {
        let mut life = Life::begin(self);
        let phase = life.phase();
        say(|| format!("a life of kind {}, committed {}, {phase:?}", kind % 8, life.world.committed));
        let is_done = matches!(phase, Some(Phase::Done { .. }));
        match kind % 8 {
            5 if phase.is_some() && !is_done => life.gives_up(),
            6 | 7 if !is_done => life.runs_alone(bytes),
            _ => {
                life.finishes_giving_up(phase.as_ref());
                life.runs(kind & 8 > 0, bytes);
            }
        }
        let (back, kind, seed) = (bytes.or_nothing(), bytes.or_nothing(), bytes.or_nothing());
        // Mostly where it was, so that what was done before is not forgotten.
        let back = if back < 128 { back % 16 } else { back - 128 };
        let seed = u64::from(seed) | u64::from(kind) << 8;
        let damage = match kind % 10 {
            0 => Damage::Nothing,
            1 => Damage::All,
            2 => Damage::AllBut(seed as usize % 16),
            3 => Damage::Only(seed as usize % 16),
            4 | 5 => Damage::Sectors(seed),
            6 | 7 => Damage::Bytes(seed),
            _ => Damage::Pages(seed),
        };
        life.ends(usize::from(back), damage);
    }

    /// Brings it to its end, and compares.
    fn ends(mut self) -> Vec<Vec<&'static str>> {
        let mut life = Life::begin(&mut self);
        let phase = life.phase();
        life.finishes_giving_up(phase.as_ref());
        let mut store = life.open(true);
        let gate = life.gate.clone();
        let _watch = Watch(&gate);
        for _ in 0..2 {
            life.commit(&store, 0);
        }
        while life.gate.let_pass(1 << 20, &store) != Stand::Ended {}
        life.is_well(&store);
        assert!(store.source().is_none(), "store/v1 is of record at the end");
        let last = life.commit(&store, 0);
        store.stop_migrating();
        drop(store);
        let again = LiveStore::open_with(Arc::new(life.twins.clone()), &places(life.dir()), keeping(), None).unwrap();
        assert!(again.source().is_none() && !again.is_migrating());
        assert_eq!(again.latest().unwrap().version, last);
        life.world.chain.is_held_until(&again, again.span().unwrap().oldest, last);
        drop(again);
        let odd: Vec<_> = listing(life.dir(), life.dir()).into_iter().filter(|name| !LEFT.contains(&&**name)).collect();
        assert!(odd.is_empty(), "left over: {odd:?}");
        life.ends(0, Damage::All);
        self.done
    }
}

fn keeping() -> Keeping {
    Keeping { store: plain(), ..Keeping::default() }
}

impl<'a> Life<'a> {
    fn begin(world: &'a mut World) -> Life<'a> {
        world.tree.put(&world.dir);
        let gate = Gate::new();
        let recorder = Recorder::new(&world.dir);
        let base = Tree::read(&world.dir);
        let disk = Gated { recorder: recorder.clone(), gate: gate.clone() };
        let mounted = Some(disk::mount(&world.dir, Arc::new(disk)));
        let engines = world.engines.clone();
        let twins = Twins::holding(engines.clone(), Some(recorder.clone())).behind(gate.clone());
        gate.committed(Version(world.committed));
        let found = control::read(&places(&world.dir).v2.join("journal"));
        let found = if places(&world.dir).v2.join("journal").exists() { found.unwrap() } else { Control::new() };
        assert!(world.asked.contains(&found), "{found:?} is asked, not one of {:?}", world.asked);
        world.asked = vec![found];
        Life { world, recorder, gate, twins, base, engines, mounted, asked: Vec::new(), ops: None }
    }

    fn dir(&self) -> &Path {
        &self.world.dir
    }

    fn told(&self, what: impl Into<String>) {
        self.recorder.note(Op::Told(what.into()));
    }

    fn phase(&self) -> Option<Phase> {
        let phase = migrator::found(&places(self.dir()).v2).unwrap().map(|(_, state)| state.phase);
        assert!(phase.is_none() || !self.world.is_gone, "a job that was given up is there again: {phase:?}");
        phase
    }

    /// Store/v1 by itself, as a node without a migration has it.
    fn v1(&self) -> RootStore {
        let database = self.twins.database(&places(self.dir()).v1, EngineTuning::default()).unwrap();
        RootStore::new(Arc::new(RootmultiLayout::new(database)), plain()).unwrap()
    }

    fn open(&mut self, switch: bool) -> LiveStore {
        if self.world.asked.iter().chain(&self.asked).next_back().is_some_and(|asked| asked.paused) {
            self.asks(Control::resume);
        }
        // A commit does not wait for a switch that is not recorded: it opens the gate, and the switch is undone.
        let begin = Begin { max_pause: Duration::ZERO, ..begin(switch) };
        self.gate.wants_switch(switch);
        let engines = Arc::new(self.twins.clone());
        let store = LiveStore::open_with(engines, &places(self.dir()), keeping(), Some(begin)).unwrap();
        let gate = self.gate.clone();
        let _watch = Watch(&gate);
        self.is_as_committed(&store);
        assert!(!self.world.is_switched || store.source().is_none(), "store/v1 is of record again");
        self.gate.let_pass(0, &store);
        store
    }

    /// No version that was acknowledged is gone, and each is what was committed.
    fn is_as_committed(&mut self, store: &RootStore) {
        let (there, committed) = (store.latest().unwrap().version.0, self.world.committed);
        assert!(there == committed || there == committed + 1, "{committed} was committed, and {there} is there");
        self.told(format!("commit {there}"));
        self.gate.committed(Version(there));
        let span = store.span().unwrap();
        for version in (span.oldest.0..=span.latest.0).map(Version) {
            let found = store.at(version).unwrap().commit_info().app_hash();
            assert_eq!(found, self.world.chain.infos[&version].app_hash(), "version {version}");
        }
    }

    /// The migration has met nothing.
    fn is_well(&self, store: &LiveStore) {
        assert_eq!(store.trouble(), None);
        if !store.is_migrating() {
            let end = store.wait();
            assert!(matches!(end, None | Some(Ok(Outcome::Done { .. }))), "{end:?}");
        }
        if store.source().is_none() {
            self.told("switched");
        }
    }

    /// The next version; the migration stands still meanwhile.
    fn commit(&mut self, store: &RootStore, seed: u64) -> Version {
        let version = store.latest().unwrap().version.next();
        let set = self.world.set(version, seed ^ version.0 << 16);
        let info = store.commit(set).unwrap();
        assert_eq!(info.app_hash(), self.world.chain.infos[&version].app_hash(), "version {version}");
        self.gate.committed(version);
        self.told(format!("commit {version}"));
        version
    }

    /// An operator asks for something, if there is anything to ask it of.
    fn asks(&mut self, change: impl FnOnce(&mut Control)) {
        let journal = places(self.dir()).v2.join("journal");
        if !journal.exists() {
            return;
        }
        let mut asked = control::read(&journal).unwrap();
        change(&mut asked);
        self.asked.push(asked.clone());
        assert_eq!(control::change(&journal, |control| control.clone_from(&asked)).unwrap(), asked);
        self.told(format!("asked {}", self.asked.len()));
    }

    fn gives_up(&mut self) {
        self.told("giving up");
        migrator::abort(&places(self.dir()).v2).unwrap();
        let left: Vec<_> = listing(self.dir(), self.dir());
        assert!(left.is_empty(), "left over: {left:?}");
        self.told("gone");
    }

    fn finishes_giving_up(&mut self, phase: Option<&Phase>) {
        if matches!(phase, Some(Phase::Aborted)) {
            self.gives_up();
            // Another one begins.
            self.told("again");
        }
    }

    /// A node that knows nothing of the migration.
    fn runs_alone(&mut self, bytes: &mut Bytes<'_>) {
        let store = self.v1();
        self.is_as_committed(&store);
        for _ in 0..DEEDS {
            let (Some(deed), argument) = (bytes.next(), bytes.or_nothing()) else { return };
            let latest = store.latest().unwrap().version;
            match deed % 8 {
                0 => return,
                1 | 2 => store.prune_below(Version(latest.0.saturating_sub(u64::from(argument % 4)).max(1))).unwrap(),
                _ if latest.0 < BLOCKS => drop(self.commit(&store, u64::from(argument) | u64::from(deed) << 8)),
                _ => {}
            }
        }
    }

    fn runs(&mut self, switch: bool, bytes: &mut Bytes<'_>) {
        self.told("again");
        let store = self.open(switch);
        let gate = self.gate.clone();
        let _watch = Watch(&gate);
        for _ in 0..DEEDS {
            let (Some(deed), argument) = (bytes.next(), bytes.or_nothing()) else { break };
            let latest = store.latest().unwrap().version;
            say(|| format!("  deed {} {argument}, at {latest}", deed % 16));
            match deed % 16 {
                0 => break,
                1..=4 => drop(self.gate.let_pass(usize::from(argument % 64) + 1, &store)),
                5 => drop(self.gate.let_pass((usize::from(argument) + 1) * 4, &store)),
                6 => {
                    self.gate.wants_switch(argument % 4 > 0);
                    store.switch(argument % 4 > 0);
                    self.gate.let_pass(0, &store);
                }
                7 => store.prune_below(Version(latest.0.saturating_sub(u64::from(argument % 6)).max(1))).unwrap(),
                8 => self.asks(|control| {
                    control.workers = Some(usize::from(argument % 8) + 1);
                    control.bytes_per_second = (argument & 8 > 0).then_some(1 << 40);
                }),
                // It holds at the latest when the process begins anew.
                9 if argument % 8 == 0 => {
                    self.asks(Control::pause);
                    break;
                }
                10 if argument % 8 == 0 => {
                    let span = store.span().unwrap();
                    self.world.chain.is_held_until(&store, span.oldest, span.latest);
                }
                11..=15 if latest.0 < BLOCKS => {
                    self.gate.let_commit(&store);
                    self.commit(&store, u64::from(argument) | u64::from(deed) << 8);
                    self.gate.let_pass(0, &store);
                }
                _ => {}
            }
            self.is_well(&store);
        }
        self.loses_power(store);
    }

    /// From here on nothing happens any more.
    fn loses_power(&mut self, store: LiveStore) {
        let is_idle = self.gate.let_pass(0, &store) == Stand::Idle;
        self.ops = Some(self.recorder.ops());
        self.gate.shut();
        if is_idle {
            // It waits for a version, or to be asked for the switch.
            store.switch(true);
        }
        drop(store);
    }

    /// So many operations before the last one the power went, and this is left.
    fn ends(mut self, back: usize, damage: Damage) {
        drop(self.mounted.take());
        let mut ops = self.ops.take().unwrap_or_else(|| self.recorder.ops());
        self.world.lost.lose(&mut ops);
        let mut reel = Reel::new(&self.base, &self.engines, &ops);
        let cut = ops.len().saturating_sub(back);
        while reel.at() < cut && reel.step() {}
        let Image { tree, engines, told } = reel.image(damage);
        say(|| format!("  cut at {cut} of {}, {damage:?}", ops.len()));
        let world = self.world;
        world.done.push(ops.iter().map(Op::kind).collect());
        (world.tree, world.engines) = (tree, engines);
        let mut heard = 0;
        let mut gives_up = false;
        for told in &told {
            match told.split_once(' ') {
                Some(("commit", version)) => world.committed = version.parse().unwrap(),
                Some(("asked", number)) => heard = number.parse().unwrap(),
                Some(("giving", _)) => gives_up = true,
                _ if told == "switched" => world.is_switched = true,
                _ if told == "gone" => world.is_gone = true,
                _ if told == "again" => world.is_gone = false,
                _ => {}
            }
        }
        if heard > 0 {
            world.asked = vec![self.asked[heard - 1].clone()];
        }
        world.asked.extend(self.asked.into_iter().skip(heard));
        if gives_up {
            // It goes with the job.
            world.asked.push(Control::new());
        }
    }
}
