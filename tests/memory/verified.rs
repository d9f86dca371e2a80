//! Verifying and repairing a target, as it is, changed behind its back, and where reads of it or of the source fail: nothing that could
//! not be read is called sound, nothing is changed by looking, and a repair that was cut off is taken up again.

mod faulty;

use crate::{
    scenarios::chain,
    support::{job::World, stores::Chain, tuning::tiny},
};
use faulty::{Dropping, Reads, Says, Sc, Settling, Ss, V1};
use std::{collections::BTreeMap, ops::Range, sync::Arc};
use storeshift::{
    Error, Kind, Migrator,
    iavl::{Node, NodeKey, SpineNode},
    journal::{Journal, Writes},
    machine::{Event, Phase},
    migrator::verify::Findings,
    model::{Change, Chunk, CommitInfo, Hash, StoreChanges, StoreKey, Verdict, Version},
    plan::{At, Parts, Plan, Tuning},
    root_store::{ChangeSet, Options, RootStore, V2Layout},
    source::Rootmulti,
    target::{
        Commitment as _, CommitmentData, MemoryCommitment, MemoryStorage, Outage, StorageData, Target,
        commit_info::encode,
    },
};

const STORES: [&str; 2] = ["bank", "gov"];
const TIP: u64 = 5;

/// A finished job, and one more way to open it.
struct Job {
    world: World,
    chain: Chain,
    reads: Reads,
    dropping: Dropping,
}

impl Job {
    /// Of a snapshot at this version, and the versions after it.
    fn new(height: u64, parts: Parts, switch: bool) -> Job {
        let mut job = Job::born(height, parts, tiny(1));
        job.world.tuning.switch = switch;
        job.world.open(&Outage::never()).unwrap().run().unwrap();
        job
    }

    /// One that has not begun.
    fn born(height: u64, parts: Parts, tuning: Tuning) -> Job {
        let chain = chain(&STORES, TIP, 4);
        let plan = Plan { at: At::Version(Version(height)), parts, chunk_leaves: 4, ..Plan::new() };
        let world = World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tuning);
        Job { world, chain, reads: Reads::default(), dropping: Dropping::Drops }
    }

    fn done(height: u64) -> Job {
        Job::new(height, Parts::Both, true)
    }

    /// One whose later fate is its own.
    fn fork(&self) -> Job {
        let chain = Chain::holding(self.chain.engine.clone(), self.chain.version);
        Job { world: self.world.fork(), chain, reads: Reads::default(), dropping: self.dropping }
    }

    fn open(&self) -> Migrator {
        let (sc, ss) = (&self.world.sc, &self.world.ss);
        let (sc, ss) =
            (MemoryCommitment::new(Some(sc), Outage::never()), MemoryStorage::new(Some(ss), Outage::never()));
        let parts = self.world.plan.parts;
        let target = Target {
            sc: parts.sc().then(|| Box::new(Sc(sc, self.reads.clone(), self.dropping)) as Box<_>),
            ss: parts.ss().then(|| Box::new(Ss(ss, self.reads.clone(), self.dropping)) as Box<_>),
        };
        let journal = Journal::on_backend(self.world.journal.clone(), None).unwrap();
        let source = Rootmulti::new(V1(self.chain.engine.clone(), self.reads.clone()));
        Migrator::assemble(Arc::new(source), target, journal, self.world.tuning).unwrap()
    }

    fn data(&self) -> (CommitmentData, StorageData) {
        (self.world.sc.data().clone(), self.world.ss.data().clone())
    }

    /// Removals of what is not there, which is what a repair leaves of a pair that was one too many, are no pairs.
    fn live(&self) -> (CommitmentData, StorageData) {
        let (sc, mut ss) = self.data();
        ss.pairs.retain(|_, value| value.is_some());
        (sc, ss)
    }

    fn height(&self) -> Version {
        match self.world.plan.at {
            At::Version(height) => height,
            _ => unreachable!(),
        }
    }

    /// What is found, told as text.
    fn found(&self, source: bool) -> String {
        let findings = self.open().verify(source, false).unwrap();
        assert!(!findings.is_sound());
        told(&findings)
    }

    #[track_caller]
    fn is_sound(&self, what: &str) {
        let findings = self.open().verify(true, false).unwrap();
        assert!(findings.is_sound(), "{what}: {}", told(&findings));
    }
}

/// Memory for a whole store in each worker.
fn roomy(workers: usize) -> Tuning {
    Tuning { memory: workers << 20, ..tiny(workers) }
}

fn told(findings: &Findings) -> String {
    let damaged = findings.damaged.iter().map(|damage| format!("{} {}: {}", damage.store, damage.id, damage.what));
    damaged.chain(findings.wrong.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

fn jobs() -> [(&'static str, Job); 6] {
    [
        ("nothing after the snapshot", Job::done(TIP)),
        ("versions after the snapshot", Job::done(3)),
        ("caught up", Job::new(3, Parts::Both, false)),
        ("SC alone", Job::new(3, Parts::Sc, true)),
        ("SS alone", Job::new(3, Parts::Ss, true)),
        ("gone on with", gone_on(Job::done(3))),
    ]
}

/// The chain has committed versions on the target since.
fn gone_on(job: Job) -> Job {
    let (sc, ss) = (&job.world.sc, &job.world.ss);
    let (sc, ss) = (MemoryCommitment::new(Some(sc), Outage::never()), MemoryStorage::new(Some(ss), Outage::never()));
    let layout = V2Layout::open(Box::new(sc), Some(Box::new(ss))).unwrap();
    let store = RootStore::new(Arc::new(layout), Options::default()).unwrap();
    for version in TIP + 1..=TIP + 3 {
        let change = |key: u64| Change { key: format!("later-{key}").into_bytes(), value: Some(vec![version as u8]) };
        let stores = STORES.map(|name| StoreChanges { store: name.into(), changes: (0..3).map(change).collect() });
        store.commit(ChangeSet { stores: stores.into(), ..ChangeSet::default() }).unwrap();
    }
    store.flush().unwrap();
    drop(store);
    job
}

#[test]
fn from_whichever_read_on_a_disk_fails_or_is_damaged_no_target_is_called_sound_and_none_is_changed() {
    for (name, job) in jobs() {
        for source in [false, true] {
            job.is_sound(name);
            let before = job.data();
            for says in [Says::Fails, Says::Damaged] {
                for reads in (0..).step_by(5) {
                    job.reads.fail_after(u64::MAX, says, false);
                    let opened = job.open();
                    job.reads.fail_after(reads, says, true);
                    let found = opened.verify(source, false);
                    let what = format!("{name}, {says:?} after {reads} reads, source: {source}");
                    if job.reads.failed() == 0 {
                        assert!(found.unwrap().is_sound() && reads > 10, "{what}");
                        break;
                    }
                    match found {
                        Ok(findings) => {
                            assert!(!findings.is_sound(), "{what}");
                            assert_eq!(says, Says::Damaged, "{what}: a disk that fails says nothing of the target");
                        }
                        Err(error) => {
                            let kind = if says == Says::Fails { Kind::Retry } else { error.kind() };
                            assert_eq!(error.kind(), kind, "{what}: {error}");
                            assert!(!matches!(error, Error::Halted(_) | Error::Invariant(_)), "{what}: {error}");
                        }
                    }
                    assert!(job.data() == before, "{what}: something was written");
                }
                job.reads.fail_after(u64::MAX, says, false);
            }
        }
    }
}

fn leaf_of(records: &BTreeMap<(StoreKey, NodeKey), Vec<u8>>) -> (StoreKey, NodeKey) {
    let is_leaf = |record: &[u8]| matches!(Node::decode(record), Ok(Node::Leaf { .. }));
    let mut found = records.iter().filter(|((store, at), record)| {
        store.as_str() == "bank" && at.version == Version(2) && at.nonce > 1 && is_leaf(record)
    });
    found.next().unwrap().0.clone()
}

/// What is done to a job, and in words.
type Damage = (&'static str, fn(&Job));

/// Ways to change a target behind its back: in a chunk of SC, of SS, above the chunks, beside the tree, in the marks.
fn damages() -> [Damage; 8] {
    [
        ("a leaf of SC is changed", |job| {
            let mut data = job.world.sc.data();
            let place = leaf_of(&data.records);
            *data.records.get_mut(&place).unwrap().last_mut().unwrap() ^= 1;
        }),
        ("a leaf of SC is lost", |job| {
            let mut data = job.world.sc.data();
            let place = leaf_of(&data.records);
            data.records.remove(&place).unwrap();
        }),
        ("SC has a record that no tree leads to", |job| {
            let mut data = job.world.sc.data();
            data.records.insert(("bank".into(), NodeKey::new(Version(2), 1_000_000)), vec![0]);
        }),
        ("the root record is lost", |job| {
            let mut data = job.world.sc.data();
            let height = job.height();
            data.records.remove(&("bank".into(), NodeKey::root_of(height))).unwrap();
        }),
        ("a pair of SS is lost", |job| {
            let mut data = job.world.ss.data();
            let place = pair_of(job, &data);
            data.pairs.remove(&place).unwrap();
        }),
        ("a pair of SS is changed", |job| {
            let mut data = job.world.ss.data();
            let place = pair_of(job, &data);
            data.pairs.insert(place, Some(b"another".to_vec()));
        }),
        ("SS has a pair that the chain has not", |job| {
            let mut data = job.world.ss.data();
            data.pairs.insert(("bank".into(), b"key-2-1x".to_vec(), job.height()), Some(b"stray".to_vec()));
        }),
        ("both engines have lost what they stand at", |job| {
            job.world.sc.data().latest = None;
            job.world.ss.data().latest = None;
        }),
    ]
}

fn pair_of(job: &Job, data: &StorageData) -> (StoreKey, Vec<u8>, Version) {
    let mut found =
        data.pairs.keys().filter(|(store, _, version)| store.as_str() == "bank" && *version == job.height());
    found.nth(2).unwrap().clone()
}

#[test]
fn a_repair_that_a_read_cuts_off_anywhere_is_taken_up_again_and_ends_with_the_same_bytes() {
    let mut cut_off = 0;
    for height in [TIP, 3] {
        let whole = Job::done(height);
        for (name, damage) in damages() {
            let damaged = whole.fork();
            damage(&damaged);
            let what = format!("snapshot at {height}, {name}");
            if height < TIP
                && ["SC has a record that no tree leads to", "both engines have lost what they stand at"]
                    .contains(&name)
            {
                // Which of its records no tree leads to is known only while there is nothing after the snapshot.
                continue;
            }
            damaged.found(true);
            for says in [Says::Fails, Says::Damaged] {
                for reads in (0..).step_by(7) {
                    let job = damaged.fork();
                    let opened = job.open();
                    job.reads.fail_after(reads, says, false);
                    let repaired = opened.verify(true, true);
                    let what = format!("{what}, {says:?} after {reads} reads");
                    let never_failed = job.reads.failed() == 0;
                    match &repaired {
                        Ok(findings) if findings.is_sound() => {
                            assert!(job.live() == whole.live(), "{what}: said to be sound");
                        }
                        _ => cut_off += 1,
                    }
                    if never_failed {
                        assert!(repaired.unwrap().is_sound() && reads > 50, "{what}");
                        break;
                    }
                    // The next one finds the disk whole.
                    let again = job.open().verify(true, true).unwrap();
                    assert!(again.is_sound(), "{what}: {}", told(&again));
                    assert!(job.live() == whole.live(), "{what}: another target");
                    job.is_sound(&what);
                }
            }
        }
    }
    println!("{cut_off} repairs were cut off");
    assert!(cut_off > 1000);
}

#[test]
fn a_run_that_a_read_cuts_off_anywhere_goes_on_from_there_to_the_same_target() {
    let cases = [(Parts::Both, 3), (Parts::Both, TIP), (Parts::Ss, 3), (Parts::Sc, 3)];
    for ((parts, height), tuning) in cases.iter().flat_map(|case| [(*case, tiny(1)), (*case, roomy(1))]) {
        let born = Job::born(height, parts, tuning);
        let whole = born.fork();
        whole.open().run().unwrap();
        for reads in (0..).step_by(3) {
            let job = born.fork();
            let mut opened = job.open();
            job.reads.fail_after(reads, Says::Fails, true);
            let ended = opened.run();
            let what = format!("{parts:?} at {height}, after {reads} reads");
            if job.reads.failed() == 0 {
                assert!(reads > 100, "{what}");
                break;
            }
            match ended {
                Err(error) => assert!(matches!(error.kind(), Kind::Retry), "{what}: {error}"),
                // Of one that only spares work.
                Ok(_) => assert!(job.data() == whole.data(), "{what}: another target"),
            }
            drop(opened);
            job.reads.fail_after(u64::MAX, Says::Fails, false);
            job.open().run().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(job.data() == whole.data(), "{what}: another target");
        }
    }
}

#[test]
fn stores_that_fit_a_worker_are_read_back_once_and_before_they_are_joined() {
    for workers in [1, 2] {
        let job = Job::born(TIP, Parts::Both, roomy(workers));
        job.open().run().unwrap();
        let mut walks = job.reads.walks();
        walks.sort();
        assert_eq!(walks, STORES.map(|store| (store.into(), false)), "{workers} workers");
        job.is_sound("read back early");
    }
}

#[test]
fn a_store_that_is_written_anew_after_it_was_read_back_is_read_again() {
    let job = Job::born(TIP, Parts::Both, roomy(2));
    job.reads.damage_when_settled("gov", Settling::Ends);
    let mut opened = job.open();
    let ended = opened.run();
    assert!(matches!(&ended, Err(Error::Halted(Verdict::Chunk { store, .. })) if store.as_str() == "gov"), "{ended:?}");
    let Phase::Halted { from, .. } = &opened.recorder().state().phase else { unreachable!() };
    let Phase::Restoring { joined: true, proven, .. } = from.as_ref() else { panic!("{from:?}") };
    let of_gov = opened.recorder().journal().manifest().unwrap().stores[1].clone();
    assert!((0..of_gov.first_chunk).all(|id| proven.contains(id)), "what was not written anew counts");
    let ids = of_gov.first_chunk..of_gov.first_chunk + of_gov.chunks;
    assert!(ids.clone().count() > 0 && !ids.clone().any(|id| proven.contains(id)));
    // What was counted as proven and does not count any more was taken back.
    let leaves = |ids: Range<u64>| -> u64 {
        opened
            .recorder()
            .journal()
            .chunks(ids.start, ids.end - ids.start)
            .unwrap()
            .iter()
            .map(|chunk| chunk.leaves)
            .sum()
    };
    assert_eq!(opened.counts().pairs_proven, leaves(0..of_gov.first_chunk));
}

#[test]
fn what_was_read_back_does_not_count_after_a_joining_that_was_stopped() {
    let job = Job::born(TIP, Parts::Both, roomy(2));
    job.reads.damage_when_settled("gov", Settling::Stops);
    let mut opened = job.open();
    assert!(matches!(opened.run(), Err(Error::Stopped(_))));
    assert_eq!(opened.counts().pairs_proven, 0);
    // Settling has nothing left to do for the store, and so says nothing of it.
    let ended = opened.run();
    assert!(matches!(&ended, Err(Error::Halted(Verdict::Chunk { store, .. })) if store.as_str() == "gov"), "{ended:?}");
}

#[test]
fn what_does_not_prove_when_it_is_read_back_early_is_a_verdict_once_all_is_joined() {
    for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
        let job = Job::born(TIP, parts, roomy(2));
        job.reads.damage("gov");
        let mut opened = job.open();
        let ended = opened.run();
        let of_gov = matches!(&ended, Err(Error::Halted(Verdict::Chunk { store, .. })) if store.as_str() == "gov");
        assert!(of_gov, "{parts:?}: {ended:?}");
        let Phase::Halted { from, .. } = &opened.recorder().state().phase else { unreachable!() };
        assert!(matches!(from.as_ref(), Phase::Restoring { joined: true, .. }), "{parts:?}: {from:?}");
        assert_eq!(job.reads.walks().contains(&("gov".into(), false)), parts.sc(), "{parts:?}: it was read before");
    }
}

#[test]
fn a_store_whose_files_are_damaged_is_dropped_and_written_again_and_the_others_are_left() {
    for dropping in [Dropping::Drops, Dropping::Keeps] {
        for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
            let whole = Job::new(TIP, parts, true);
            let mut job = whole.fork();
            job.dropping = dropping;
            let opened = job.open();
            job.reads.damage("gov");
            let found = opened.verify(true, true).unwrap();
            let what = format!("{dropping:?}, {parts:?}");
            assert!(found.is_sound(), "{what}: {}", told(&found));
            assert!(job.data() == whole.data(), "{what}: another target");
            let of_gov: Vec<u64> =
                opened.verify(false, false).map(|whole| (whole.chunks / 2..whole.chunks).collect()).unwrap();
            let expected = if dropping == Dropping::Drops { of_gov } else { Vec::new() };
            assert_eq!(found.repaired, expected, "{what}");
            job.is_sound(&what);
        }
    }
}

#[test]
fn a_damaged_file_that_cannot_be_dropped_is_said_to_be_damaged_and_nothing_of_it_is_called_repaired() {
    for height in [TIP, 3] {
        for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
            let whole = Job::new(height, parts, true);
            let mut job = whole.fork();
            job.dropping = Dropping::Refuses;
            let opened = job.open();
            job.reads.damage("gov");
            let found = opened.verify(true, true).unwrap();
            let what = format!("{height}, {parts:?}: {}", told(&found));
            assert!(!found.damaged.is_empty() && found.repaired.is_empty(), "{what}");
            assert!(found.damaged.iter().all(|damage| damage.store.as_str() == "gov"), "{what}");
            // Versions after the snapshot lie in the same files, so those are not even tried.
            let grown = found.damaged.iter().all(|damage| damage.what.contains("migrate into a new target"));
            assert_eq!(grown, height < TIP, "{what}");
            if height < TIP {
                assert!(job.data() == whole.data(), "{what}: something was dropped");
            }
        }
    }
}

/// What is wrong, how, and what is said of it.
type Wrong = (&'static str, fn(&Job), &'static str);

fn info_of(job: &Job, version: u64, change: &dyn Fn(&mut CommitInfo)) {
    let version = Version(version);
    let mut info = job.world.sc.commit_info(version).unwrap().unwrap();
    change(&mut info);
    job.world.sc.data().infos.insert(version, encode(&info));
}

#[test]
fn what_is_wrong_with_a_version_after_the_snapshot_is_found_where_the_chain_has_gone_on_from_there_too() {
    let wrongs: [Wrong; 7] = [
        (
            "the commit info is lost",
            |job| drop(job.world.sc.data().infos.remove(&Version(4)).unwrap()),
            "SC has no commit info of version 4",
        ),
        (
            "a pair is lost",
            |job| drop(job.world.ss.data().pairs.remove(&("gov".into(), b"key-4-1".to_vec(), Version(4))).unwrap()),
            "SS has 3 changes of version 4 and the tree 4",
        ),
        (
            "there is one pair too many at the end",
            |job| drop(job.world.ss.data().pairs.insert(("gov".into(), b"zz".to_vec(), Version(4)), Some(vec![1]))),
            "SS has 5 changes of version 4 and the tree 4",
        ),
        (
            "the root record is lost",
            |job| drop(job.world.sc.data().records.remove(&("gov".into(), NodeKey::root_of(Version(TIP)))).unwrap()),
            "there is no root record of version 5",
        ),
        (
            "the root record says that the tree is empty",
            |job| drop(job.world.sc.data().records.insert(("gov".into(), NodeKey::root_of(Version(TIP))), Vec::new())),
            "version 5: the tree is empty",
        ),
        (
            "the root record is none",
            |job| drop(job.world.sc.data().records.insert(("gov".into(), NodeKey::root_of(Version(TIP))), vec![b's'])),
            "the root record of version 5 is damaged",
        ),
        (
            "the commit info lacks a store",
            |job| info_of(job, TIP, &|info| drop(info.stores.pop())),
            "changes of version 5 and the tree",
        ),
    ];
    let (done, gone_on) = (Job::done(3), gone_on(Job::done(3)));
    gone_on.is_sound("gone on with");
    for (name, wrong, said) in wrongs {
        for of in [&done, &gone_on] {
            let job = of.fork();
            wrong(&job);
            let found = job.found(false);
            assert!(found.contains(said), "{name}: {found}");
        }
    }
}

#[test]
fn a_journal_that_has_other_chunks_or_trees_than_the_source_is_found_by_comparing_with_it_alone() {
    let whole = Job::done(3);
    type Change<'a> = &'a dyn Fn(&mut Vec<Chunk>, &mut Vec<Vec<SpineNode>>);
    let with = |change: Change<'_>| {
        let job = whole.fork();
        let mut journal = Journal::on_backend(job.world.journal.clone(), None).unwrap();
        let (state, manifest) = (journal.state().unwrap(), journal.manifest().unwrap());
        let mut chunks = journal.chunks(0, manifest.chunks()).unwrap();
        let mut spines: Vec<_> = (0..manifest.stores.len() as u32).map(|store| journal.spine(store).unwrap()).collect();
        change(&mut chunks, &mut spines);
        let writes = Writes::Manifest { manifest: &manifest, chunks: &chunks, spines: &spines };
        let verdict = Verdict::Store { store: "bank".into(), what: "a test says so".to_owned() };
        journal.record(&Event::Halted(verdict), &state, &writes).unwrap();
        job
    };
    with(&|_, _| {}).is_sound("the same was recorded again");
    let other_chunk = with(&|chunks, _| chunks.last_mut().unwrap().version = Version(1));
    assert!(other_chunk.found(true).contains("the journal's chunk is not the source's"));
    let other_spine = with(&|_, spines| spines.last_mut().unwrap().last_mut().unwrap().key.push(0));
    assert!(other_spine.found(true).contains("the journal's spine is not the source's"));
}

#[test]
fn what_an_engine_says_of_its_versions_is_held_against_the_source_and_against_the_job() {
    let alone = Job::new(3, Parts::Ss, true);
    alone.world.ss.data().latest = Some(Version(TIP + 1));
    let found = alone.found(false);
    assert!(found.contains("SS stands at version 6, it stood at version 5"), "{found}");
    let job = Job::done(3);
    info_of(&job, 4, &|info| info.stores[0].root = Some(Hash([9; 32])));
    let found = job.found(true);
    assert!(found.contains("version 4"), "{found}");
    let job = Job::done(3);
    info_of(&job, 4, &|info| info.timestamp = Some(storeshift::model::Timestamp { seconds: 0, nanos: 77 }));
    let found = job.found(true);
    assert!(found.contains("SC's commit info of version 4 has time 77, the source's has"), "{found}");
}
