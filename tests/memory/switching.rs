//! Switches that must not be made, and one that must: the target is another one at the fence, the chain did not wait, it committed just
//! before, the journal fails when the switch is to be recorded.

use crate::{
    scenarios::{block, chain},
    support::{
        failing::{Failing, Fate},
        job::tiny,
        node::{InMemory, Kept},
        stores::Chain as Blocks,
    },
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use storeshift::{
    Error, Outcome, disk,
    machine::{Fence, Phase, State},
    migrator::{
        self,
        chain::{Chain, Fencing, Moment, Turn},
    },
    model::Version,
    plan::{At, Plan, Tuning},
    root_store::MemoryDatabase,
    source::{RetainedVersions, Rootmulti, Source},
    target::{Commitment, EngineTuning, Engines, Outage, Place, Storage, Target, TargetError, commit_info},
};

const STORES: [&str; 2] = ["bank", "gov"];
const TIP: u64 = 6;

/// What the chain was told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    switched: Vec<Version>,
    doubts: u32,
    lifted: u32,
}

/// A chain that asks for a switch once.
struct Asks {
    asked: bool,
    at_fence: Box<dyn Fn() + Send>,
    seals: Box<dyn Fn() -> bool + Send>,
    told: Arc<Mutex<Told>>,
}

impl Chain for Asks {
    fn next(&mut self, _: &Moment<'_>) -> Result<Turn, Error> {
        Ok(if std::mem::replace(&mut self.asked, true) { Turn::CaughtUp } else { Turn::Switch })
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        (self.at_fence)();
        Ok(Fencing::Raised(moment.feed.tip()?))
    }

    fn hands_over(&self) -> bool {
        false
    }

    fn seal(&mut self, _: &mut Target) -> Result<bool, Error> {
        Ok((self.seals)())
    }

    fn doubt(&mut self) {
        self.told.lock().unwrap().doubts += 1;
    }

    fn lift(&mut self, _: &str) {
        self.told.lock().unwrap().lifted += 1;
    }

    fn switched(&mut self, version: Version) {
        self.told.lock().unwrap().switched.push(version);
    }
}

struct Node {
    dir: tempfile::TempDir,
    databases: InMemory,
    v1: MemoryDatabase,
    chain: Blocks,
}

impl Node {
    fn new() -> Node {
        let chain = chain(&STORES, TIP, 10);
        let v1 = MemoryDatabase::new(None, Outage::never());
        v1.pairs().clone_from(&chain.engine.pairs);
        Node { dir: tempfile::tempdir().unwrap(), databases: InMemory::new(), v1, chain }
    }

    fn run(
        &self,
        at_fence: impl Fn() + Send + 'static,
        seals: impl Fn() -> bool + Send + 'static,
    ) -> (Result<Outcome, Error>, Told) {
        let told = Arc::new(Mutex::new(Told::default()));
        let asks = Asks { asked: false, at_fence: Box::new(at_fence), seals: Box::new(seals), told: told.clone() };
        let plan = Plan { at: At::Version(Version(3)), chunk_leaves: 16, ..Plan::new() };
        let tuning = Tuning { memory: 32 << 20, ..tiny(1) };
        let engines: Arc<dyn Engines> = Arc::new(self.databases.clone());
        let source = Arc::new(Rootmulti::new(self.v1.clone()));
        let target = self.dir.path().join("v2");
        let mut job = migrator::embed_with(&engines, &target, &plan, tuning, source, Box::new(asks), 8 << 20).unwrap();
        let end = job.run();
        drop(job);
        let told = told.lock().unwrap().clone();
        (end, told)
    }

    fn state(&self) -> State {
        migrator::found(&self.dir.path().join("v2")).unwrap().unwrap().1
    }
}

#[test]
fn a_switch_is_made_at_the_version_where_the_chain_stands_though_it_committed_just_before() {
    let mut node = Node::new();
    let info = node.chain.commit(&block(&STORES, TIP + 1, 10));
    let (v1, grown) = (node.v1.clone(), node.chain.engine.pairs.clone());
    let (end, told) = node.run(move || v1.pairs().clone_from(&grown), || true);
    assert_eq!(end.unwrap(), Outcome::Done { version: Version(TIP + 1), app_hash: info.app_hash() });
    assert_eq!(told, Told { switched: vec![Version(TIP + 1)], ..Told::default() });
    let kept = node.databases.kept();
    assert_eq!((kept.sc.data().latest, kept.ss.data().latest), (Some(Version(TIP + 1)), Some(Version(TIP + 1))));
}

#[test]
fn a_fence_that_its_process_did_not_outlive_is_raised_anew_where_the_chain_stands_then() {
    let mut node = Node::new();
    node.chain.commit(&block(&STORES, TIP + 1, 10));
    let grown = node.chain.engine.pairs.clone();
    // The process dies once the fence is recorded: at the first write to the target behind it, and nothing is recorded after that.
    let (is_fenced, is_dead) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let dies = {
        let (is_fenced, is_dead) = (is_fenced.clone(), is_dead.clone());
        move || {
            is_dead.fetch_or(is_fenced.load(Ordering::SeqCst), Ordering::SeqCst);
            !is_dead.load(Ordering::SeqCst)
        }
    };
    let asked = move || if is_dead.load(Ordering::SeqCst) { Fate::Fails } else { Fate::Happens };
    let mounted = disk::mount(&node.dir.path().join("v2"), Arc::new(Failing(Arc::new(asked))));
    let databases = node.databases.clone();
    node.databases = databases.with(&Outage::asking(dies));
    let v1 = node.v1.clone();
    let fence = move || {
        v1.pairs().clone_from(&grown);
        is_fenced.store(true, Ordering::SeqCst);
    };
    let (end, told) = node.run(fence, || true);
    drop(mounted);
    assert!(end.is_err() && told.switched.is_empty(), "{end:?}, {told:?}");
    let phase = node.state().phase;
    assert!(matches!(phase, Phase::Switching { fence: Fence::Raised(Version(7)), .. }), "{phase:?}");
    let info = node.chain.commit(&block(&STORES, TIP + 2, 10));
    node.v1.pairs().clone_from(&node.chain.engine.pairs);
    node.databases = databases;
    let (end, told) = node.run(|| (), || true);
    assert_eq!(end.unwrap(), Outcome::Done { version: Version(TIP + 2), app_hash: info.app_hash() });
    assert_eq!(told.switched, [Version(TIP + 2)]);
}

#[test]
fn a_target_that_is_another_one_at_the_fence_is_not_switched_to() {
    type Tamper = fn(&Kept);
    let tampers: [(&str, Tamper); 3] = [
        ("another app hash", |kept| {
            let mut info = kept.sc.commit_info(Version(TIP - 1)).unwrap().unwrap();
            info.version = Version(TIP);
            kept.sc.data().infos.insert(info.version, commit_info::encode(&info));
        }),
        ("an older SS", |kept| kept.ss.data().latest = Some(Version(TIP - 1))),
        ("an older SC", |kept| kept.sc.data().latest = Some(Version(TIP - 1))),
    ];
    for (what, tamper) in tampers {
        let node = Node::new();
        let databases = node.databases.clone();
        let (end, told) = node.run(move || tamper(&databases.kept()), || true);
        assert!(end.is_err(), "{what}: {end:?}");
        assert!(told.switched.is_empty() && told.lifted == 1, "{what}: {told:?}");
        assert!(!matches!(node.state().phase, Phase::Done { .. } | Phase::Switching { .. }), "{what}");
    }
}

#[test]
fn a_chain_that_did_not_wait_any_longer_is_not_switched() {
    let node = Node::new();
    let (end, told) = node.run(|| (), || false);
    assert!(matches!(end, Ok(Outcome::CaughtUp { version: Version(TIP) })), "{end:?}");
    assert_eq!(told, Told { lifted: 1, ..Told::default() });
    assert!(matches!(node.state().phase, Phase::Syncing { .. }));
}

#[test]
fn a_switch_whose_record_fails_is_in_doubt_and_the_chain_is_told_nothing_else() {
    for fate in [Fate::Fails, Fate::SeemsToFail] {
        let node = Node::new();
        let sealed = Arc::new(AtomicBool::new(false));
        let asked = {
            let sealed = sealed.clone();
            move || if sealed.load(Ordering::SeqCst) { fate } else { Fate::Happens }
        };
        let path = node.dir.path().join("v2");
        let mounted = disk::mount(&path, Arc::new(Failing(Arc::new(asked))));
        let (end, told) = node.run(|| (), move || !sealed.swap(true, Ordering::SeqCst));
        drop(mounted);
        assert!(end.is_err(), "{fate:?}: {end:?}");
        assert_eq!(told, Told { doubts: 1, ..Told::default() }, "{fate:?}");
        if fate == Fate::Fails {
            assert!(!matches!(node.state().phase, Phase::Done { .. }));
        }
    }
}

/// Engines of which one cannot be opened for a while.
struct Flaky {
    inner: InMemory,
    fails: Arc<AtomicBool>,
}

impl Engines for Flaky {
    fn commitment(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Commitment>, TargetError> {
        self.inner.commitment(place, tuning)
    }

    fn storage(&self, place: &Place, tuning: EngineTuning) -> Result<Box<dyn Storage>, TargetError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(TargetError::Outage);
        }
        self.inner.storage(place, tuning)
    }
}

/// A chain of which another snapshot has to be taken, once.
struct Renews {
    source: Arc<dyn Source>,
    asked: Arc<AtomicBool>,
}

impl Chain for Renews {
    fn next(&mut self, _: &Moment<'_>) -> Result<Turn, Error> {
        if self.asked.swap(true, Ordering::SeqCst) {
            return Ok(Turn::CaughtUp);
        }
        let feed = Box::new(RetainedVersions::new(self.source.clone()));
        Ok(Turn::Renew((self.source.clone(), feed), None, "it was pruned".to_owned()))
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        Ok(Fencing::Raised(moment.feed.tip()?))
    }
}

#[test]
fn a_job_of_which_an_engine_could_not_be_opened_anew_goes_on_only_when_it_is_opened_anew_itself() {
    let node = Node::new();
    // From the moment on in which another snapshot is begun.
    let asked = Arc::new(AtomicBool::new(false));
    let engines: Arc<dyn Engines> = Arc::new(Flaky { inner: node.databases.clone(), fails: asked.clone() });
    let source: Arc<dyn Source> = Arc::new(Rootmulti::new(node.v1.clone()));
    let (plan, tuning) = (Plan { chunk_leaves: 16, ..Plan::new() }, Tuning { memory: 32 << 20, ..tiny(1) });
    let target = node.dir.path().join("v2");
    let embed = || {
        let chain = Renews { source: source.clone(), asked: asked.clone() };
        migrator::embed_with(&engines, &target, &plan, tuning, source.clone(), Box::new(chain), 8 << 20)
    };
    let mut job = embed().unwrap();
    job.run().unwrap_err();
    let again = job.run();
    assert!(matches!(again, Err(Error::Invariant(_))), "{again:?}");
    drop(job);
    assert_eq!(node.state().epoch, 2);
    let engines: Arc<dyn Engines> = Arc::new(node.databases.clone());
    let chain = Renews { source: source.clone(), asked };
    let job = migrator::embed_with(&engines, &target, &plan, tuning, source.clone(), Box::new(chain), 8 << 20);
    assert_eq!(job.unwrap().run().unwrap(), Outcome::CaughtUp { version: Version(TIP) });
}
