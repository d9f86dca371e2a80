//! Faults beside commits: every write to the target and to the journal fails once, and from then on; the job's thread dies or stalls at
//! every write; the disk is full; too many versions are held. The chain never notices.

use super::chain::{Model, tuning};
use crate::support::{
    failing::{Failing, Fate},
    node::InMemory,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};
use storeshift::{
    Outcome, disk,
    live::{Begin, Keeping, LiveStore, Places},
    machine::Phase,
    migrator,
    model::Version,
    plan::At,
    root_store::{Options, RootStore, RootmultiLayout},
    target::Outage,
};

/// Where the snapshot is taken, where the chain rests until the migration has ended, and where it ends.
const HEIGHT: u64 = 12;
const REST: u64 = 18;
const END: u64 = 26;
/// More writes to the target than a migration makes; how many it makes depends on how commits and migration come to meet.
const WRITES: u64 = 70;

/// A node, and what its state has to be.
struct Node {
    _dir: tempfile::TempDir,
    path: PathBuf,
    databases: InMemory,
    model: Model,
    /// Whether store/v1 is pruned after each commit.
    prunes: bool,
}

fn begin() -> Begin {
    let mut begin = Begin { tuning: tuning(), max_pause: Duration::from_millis(20), ..Begin::new() };
    begin.tuning.workers = 1;
    begin.plan.at = At::Version(Version(HEIGHT));
    begin.plan.chunk_leaves = 100;
    begin
}

impl Node {
    /// A chain that stands where the snapshot will be taken.
    fn new() -> Node {
        // Where files cost no disk: the journal is synced often.
        let shared = Path::new("/dev/shm");
        let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }.unwrap();
        let path = dir.path().canonicalize().unwrap();
        let mut node = Node { _dir: dir, path, databases: InMemory::new(), model: Model::new(31), prunes: true };
        let store = node.open(&Outage::never(), None);
        node.commits(&store, HEIGHT);
        node
    }

    fn open(&self, outage: &Outage, begin: Option<Begin>) -> LiveStore {
        let places = Places { v1: self.path.join("application.db"), v2: self.path.join("v2") };
        let keeping = Keeping { store: Options { threads: 1, ..Options::default() }, ..Keeping::default() };
        LiveStore::open_with(Arc::new(self.databases.with(outage)), &places, keeping, begin).unwrap()
    }

    /// Commits until the chain is there, and prunes store/v1 as far as the migration lets it.
    fn commits(&mut self, store: &LiveStore, until: u64) {
        while store.latest().map_or(0, |info| info.version.0) < until {
            self.model.commit(store);
            let fence = store.fence();
            if self.prunes && store.source().is_some() && store.span().unwrap().latest.0 > HEIGHT {
                store.prune_below(Version(store.span().unwrap().latest.0 - 1)).unwrap();
            }
            drop(fence);
        }
    }

    /// Commits while the migration is at work, until it has ended or met something.
    fn commits_beside(&mut self, store: &LiveStore) {
        while store.is_migrating() && store.trouble().is_none() {
            let next = store.latest().unwrap().version.0 + 1;
            self.commits(store, next.min(REST));
            thread::yield_now();
        }
    }

    /// What can be read is what was committed. All of it takes a while, so not each time.
    fn reads(&self, store: &LiveStore, time: u64) {
        if time.is_multiple_of(10) {
            self.model.check(store);
        }
        let latest = store.latest().unwrap();
        assert_eq!(store.at(latest.version).unwrap().commit_info().app_hash(), latest.app_hash());
    }

    /// Opened again, the store is of record where the chain was, and the migration comes to its end.
    fn recovers(&mut self, begin: Begin, time: u64) {
        let before = self.model.latest();
        let store = self.open(&Outage::never(), Some(begin));
        assert_eq!(store.latest().unwrap().version, before);
        match store.wait() {
            Some(Ok(Outcome::Done { .. })) => {}
            // It was switched already.
            None => {}
            other => panic!("{other:?}"),
        }
        assert!(store.source().is_none());
        self.commits(&store, END);
        drop(store);
        let store = self.open(&Outage::never(), None);
        assert!(store.source().is_none() && !store.is_migrating());
        self.reads(&store, time);
    }

    fn assert_same(&self, wanted: &Node, how: &str) {
        let (found, wanted) = (self.databases.kept(), wanted.databases.kept());
        assert!(*found.sc.data() == *wanted.sc.data(), "SC differs: {how}");
        assert!(*found.ss.data() == *wanted.ss.data(), "SS differs: {how}");
    }
}

/// Counts what is not done by this thread, which commits.
#[derive(Clone)]
struct Count {
    seen: Arc<AtomicU64>,
    commits: thread::ThreadId,
}

impl Count {
    fn new() -> Count {
        Count { seen: Arc::default(), commits: thread::current().id() }
    }

    /// Its number, if it counts.
    fn next(&self) -> Option<u64> {
        (thread::current().id() != self.commits).then(|| self.seen.fetch_add(1, Ordering::SeqCst))
    }

    fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// A target in which something happens at one of the migration's writes.
fn target(count: &Count, at: impl Fn(u64) -> bool + Send + Sync + 'static) -> Outage {
    let count = count.clone();
    Outage::asking(move || count.next().is_none_or(&at))
}

/// A migration that meets nothing, and how many writes it makes.
fn whole() -> (Node, u64) {
    let mut node = Node::new();
    let count = Count::new();
    let store = node.open(&target(&count, |_| true), Some(begin()));
    node.commits_beside(&store);
    assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
    let writes = count.seen();
    node.commits(&store, END);
    drop(store);
    node.recovers(begin(), 0);
    (node, writes)
}

#[test]
fn the_pause_is_foreseen_before_it_begins_and_shown() {
    let mut node = Node::new();
    let store = node.open(&target(&Count::new(), |_| true), Some(begin()));
    node.commits_beside(&store);
    assert!(store.wait().unwrap().is_ok());
    let switch = store.status().unwrap().following.unwrap().switch.unwrap();
    assert!(switch.ready && switch.predicted_pause.is_some_and(|pause| pause >= 0.0 && pause.is_finite()));
    assert_eq!(switch.max_pause, Some(begin().max_pause.as_secs_f64()));
}

#[test]
fn a_node_in_memory_migrates_itself_and_is_on_store_v2_after_a_restart() {
    let (node, writes) = whole();
    println!("{writes} writes");
    // Two of them are the same, whatever commits and migration came to meet.
    node.assert_same(&whole().0, "another time");
}

#[test]
fn commits_go_on_whichever_write_to_the_target_fails_and_the_migration_is_carried_on() {
    let (wanted, _) = whole();
    let mut failed = 0;
    for at in 0..WRITES {
        let how = format!("write {at}");
        let mut node = Node::new();
        let store = node.open(&target(&Count::new(), move |write| write < at), Some(begin()));
        node.commits_beside(&store);
        failed += u64::from(store.trouble().is_some());
        if let Some(trouble) = store.trouble() {
            assert!(trouble.contains("outage"), "{how}: {trouble}");
            assert!(store.source().is_some(), "{how}");
        }
        let latest = store.latest().unwrap().version.0;
        node.commits(&store, latest + 4);
        node.reads(&store, at);
        drop(store);
        node.recovers(begin(), at);
        node.assert_same(&wanted, &how);
    }
    assert!(failed > 30, "{failed}");
}

#[test]
fn a_migration_whose_write_failed_once_is_carried_on_by_itself() {
    let (wanted, writes) = whole();
    for at in [1, writes / 2, writes - 8] {
        let how = format!("write {at}");
        let mut node = Node::new();
        let store = node.open(&target(&Count::new(), move |write| write != at), Some(begin()));
        node.commits_beside(&store);
        // It is tried again in a second, and the chain prunes meanwhile.
        node.commits(&store, REST + 4);
        assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{how}: {:?}", store.wait());
        node.commits(&store, END);
        drop(store);
        node.recovers(begin(), at);
        node.assert_same(&wanted, &how);
    }
}

#[test]
fn commits_go_on_wherever_the_thread_of_the_migration_dies() {
    let (wanted, _) = whole();
    let mut died = 0;
    for at in 0..WRITES {
        let how = format!("write {at}");
        let mut node = Node::new();
        // Nothing is held for a job that is gone; so that it need not begin anew, the chain keeps everything.
        node.prunes = false;
        let dies = move |write| if write == at { std::panic::resume_unwind(Box::new("planted")) } else { true };
        let store = node.open(&target(&Count::new(), dies), Some(begin()));
        node.commits_beside(&store);
        let end = store.wait().unwrap();
        if let Err(end) = end {
            assert!(end.contains("panicked"), "{how}: {end}");
            died += 1;
        }
        let latest = store.latest().unwrap().version.0;
        node.commits(&store, latest + 4);
        node.reads(&store, at);
        drop(store);
        node.recovers(begin(), at);
        node.assert_same(&wanted, &how);
    }
    assert!(died > 30, "{died}");
}

#[test]
fn commits_go_on_wherever_the_migration_stalls() {
    let (wanted, _) = whole();
    let mut stalled = 0;
    for at in 0..WRITES {
        let how = format!("write {at}");
        let mut node = Node::new();
        let (reached, is_reached) = channel();
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        let stalls = move |write| {
            if write == at {
                reached.send(()).unwrap();
                // Until the other end is dropped.
                let _ = released.lock().unwrap().recv();
            }
            true
        };
        let store = node.open(&target(&Count::new(), stalls), Some(begin()));
        while is_reached.try_recv().is_err() && store.is_migrating() {
            let next = store.latest().unwrap().version.0 + 1;
            node.commits(&store, next.min(REST));
            thread::yield_now();
        }
        if store.is_migrating() {
            stalled += 1;
            node.commits(&store, REST + 4);
            assert!(store.source().is_some(), "{how}");
            node.reads(&store, at);
        }
        drop(release);
        assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{how}: {:?}", store.wait());
        node.commits(&store, END);
        drop(store);
        node.recovers(begin(), at);
        node.assert_same(&wanted, &how);
    }
    assert!(stalled > 30, "{stalled}");
}

#[test]
fn a_switch_that_the_chain_did_not_wait_for_is_tried_again_with_the_same_engines() {
    let (wanted, _) = whole();
    let mut node = Node::new();
    let (reached, is_reached) = channel::<Sender<()>>();
    // Each write waits until it may go on, or nobody listens any more.
    let asks = move |_| {
        let (go, may_go) = channel();
        if reached.send(go).is_ok() {
            let _ = may_go.recv();
        }
        true
    };
    let store = node.open(&target(&Count::new(), asks), Some(begin()));
    let mut refused = false;
    while store.is_migrating() {
        let write = is_reached.try_recv();
        let latest = store.latest().unwrap().version.0;
        // What is written behind the gate before it is sealed; a commit that comes then opens it after the pause it allows.
        if write.is_ok() && !refused && store.is_closed() {
            refused = true;
            node.commits(&store, latest + 1);
            assert!(!store.is_closed() && store.source().is_some());
        } else {
            node.commits(&store, (latest + 1).min(REST));
        }
        drop(write);
        thread::yield_now();
    }
    drop(is_reached);
    assert!(refused);
    assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
    node.commits(&store, END);
    drop(store);
    node.recovers(begin(), 0);
    node.assert_same(&wanted, "refused once");
}

fn latest() -> Begin {
    let mut begin = begin();
    begin.plan.at = At::Latest;
    begin
}

/// Has one write to the journal and all after it fail, while the chain commits or at rest. None if it did not come to that, and
/// otherwise whether the switch is recorded and the chain went on with store/v1.
fn journal_fails(at: u64, fate: Fate, at_rest: bool) -> Option<bool> {
    let mut node = Node::new();
    let count = Count::new();
    let asked = {
        let count = count.clone();
        move || if count.next().is_some_and(|write| write >= at) { fate } else { Fate::Happens }
    };
    let target = node.path.join("v2");
    let mounted = disk::mount(&target, Arc::new(Failing(Arc::new(asked))));
    let store = node.open(&Outage::never(), Some(latest()));
    while at_rest && store.is_migrating() && store.trouble().is_none() {
        thread::yield_now();
    }
    node.commits_beside(&store);
    let is_hit = count.seen() > at;
    let version = store.latest().unwrap().version.0;
    node.commits(&store, version + 2);
    node.reads(&store, at);
    let was_on_v1 = store.source().is_some();
    assert!(is_hit || !was_on_v1, "write {at}: {:?}", store.wait());
    drop(store);
    drop(mounted);
    let found = migrator::found(&target).unwrap();
    let is_recorded = found.is_some_and(|(_, state)| matches!(state.phase, Phase::Done { .. }));
    assert!(is_recorded || was_on_v1, "write {at}: on store/v2 without a record of it");
    node.recovers(latest(), at);
    is_hit.then_some(was_on_v1 && is_recorded)
}

#[test]
fn commits_go_on_whichever_write_to_the_journal_fails_and_one_store_is_of_record_afterwards() {
    for fate in [Fate::Fails, Fate::SeemsToFail] {
        let hit = (0..).map_while(|at| journal_fails(at, fate, true));
        let (writes, doubts) = hit.fold((0, 0), |(writes, doubts), doubt| (writes + 1, doubts + u64::from(doubt)));
        println!(
            "{fate:?}: {writes} writes, and after {doubts} the switch was recorded and the chain went on with store/v1"
        );
        assert!(writes > 100, "{writes}");
        assert!(doubts > 0 || fate == Fate::Fails, "the record of the switch was never in doubt");
    }
}

#[test]
fn commits_go_on_beside_a_journal_that_fails() {
    let hit = (0..200).step_by(3).filter(|at| journal_fails(*at, Fate::Fails, false).is_some()).count();
    assert!(hit > 30, "{hit}");
}

#[test]
fn commits_go_on_when_the_disk_is_full_and_the_migration_is_carried_on_when_there_is_room() {
    let mut node = Node::new();
    let mut greedy = begin();
    greedy.tuning.reserve = u64::MAX / 2;
    let mut store = node.open(&Outage::never(), Some(greedy));
    let end = store.wait().unwrap().unwrap_err();
    assert!(end.contains("disk"), "{end}");
    node.commits(&store, HEIGHT + 1);
    store.migrate(latest()).unwrap();
    node.commits_beside(&store);
    assert!(matches!(store.wait(), Some(Ok(Outcome::Done { .. }))), "{:?}", store.wait());
    node.commits(&store, END);
    node.model.check(&store);
}

#[test]
fn a_migration_that_was_away_while_the_node_pruned_what_it_needs_begins_anew_wherever_it_stood() {
    let mut restored = 0;
    for at in 0..WRITES {
        let mut node = Node::new();
        node.prunes = false;
        let store = node.open(&target(&Count::new(), move |write| write < at), Some(latest()));
        node.commits_beside(&store);
        drop(store);
        let found = migrator::found(&node.path.join("v2")).unwrap();
        match found.map(|(_, state)| state.phase) {
            Some(Phase::Done { .. }) => break,
            Some(Phase::Restoring { restored: done, chunks, joined: false, .. }) => {
                restored += u64::from(done.count() == chunks);
            }
            _ => {}
        }
        // A node that knows nothing of the migration.
        let v1 = Arc::new(node.databases.kept().v1.clone());
        let v1 = RootStore::new(Arc::new(RootmultiLayout::new(v1)), Options::default()).unwrap();
        node.model.commits(&v1, 3);
        v1.prune_below(node.model.latest()).unwrap();
        drop(v1);
        node.recovers(latest(), at);
    }
    assert!(restored > 0, "never was everything restored and not joined");
}

#[test]
fn a_migration_over_its_budget_lets_go_of_what_it_holds_though_it_only_waits_to_be_tried_again() {
    let mut node = Node::new();
    let begin = Begin { held_versions: Some(5), ..begin() };
    let store = node.open(&target(&Count::new(), |write| write < 3), Some(begin));
    while store.trouble().is_none() {
        thread::yield_now();
    }
    node.commits(&store, HEIGHT + 5);
    assert_eq!(store.span().unwrap().oldest.0, HEIGHT, "it is held between two attempts");
    node.commits(&store, HEIGHT + 8);
    assert!(store.span().unwrap().oldest.0 > HEIGHT, "the chain's disk comes first: {:?}", store.span());
    drop(store.wait());
    node.model.check(&store);
}
