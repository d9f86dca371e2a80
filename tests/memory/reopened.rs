//! A job taken up again beside a source or a target that is not what it was: refused before anything is written.

use crate::{
    scenarios::{block, chain, open},
    support::{
        disk::Disk,
        job::{World, tiny},
        stores::Chain,
    },
};
use std::sync::Arc;
use storeshift::{
    Error, Kind, Outcome,
    journal::Journal,
    machine::{Phase, State},
    migrator::Recorder,
    model::Version,
    plan::{At, Parts, Plan},
    source::{Rootmulti, Source},
    target::Outage,
};

const STORES: [&str; 1] = ["bank"];

fn caught_up(chain: &Chain, at: Version) -> World {
    let plan = Plan { at: At::Version(at), chunk_leaves: 16, ..Plan::new() };
    let mut world = World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tiny(1));
    world.tuning.switch = false;
    assert!(matches!(open(&world).run(), Ok(Outcome::CaughtUp { .. })));
    world
}

/// The same, with what the chain has committed since.
fn goes_on(world: &World, chain: &Chain) -> World {
    let world = World { source: Arc::new(Rootmulti::new(chain.engine.clone())), ..world.fork() };
    assert_eq!(open(&world).run().unwrap(), Outcome::CaughtUp { version: chain.version });
    world
}

fn refused(world: &World, how: &str) -> String {
    let (before, sc, ss) = (world.state(), world.sc.data().clone(), world.ss.data().clone());
    let Err(error) = world.open(&Outage::never()) else { panic!("{how} is not noticed") };
    assert_eq!(error.kind(), Kind::Blocked, "{how}: {error}");
    assert!(world.state() == before && *world.sc.data() == sc && *world.ss.data() == ss, "{how}: written to");
    error.to_string()
}

#[test]
fn a_target_that_is_behind_the_journal_by_one_version_is_refused_whichever_engine_it_is() {
    let mut chain = chain(&STORES, 8, 10);
    let before = caught_up(&chain, Version(5));
    chain.commit(&block(&STORES, 9, 10));
    let after = goes_on(&before, &chain);
    open(&after).run().unwrap();
    let with = |older: &dyn Fn(&World)| {
        let world = after.fork();
        older(&world);
        world
    };
    let sc = with(&|world| world.sc.data().clone_from(&before.sc.data()));
    assert!(refused(&sc, "an older SC").contains("SC stands at version 8"));
    let ss = with(&|world| world.ss.data().clone_from(&before.ss.data()));
    assert!(refused(&ss, "an older SS").contains("SS stands at version 8"));
    let none = with(&|world| *world.ss.data() = Default::default());
    assert!(refused(&none, "an empty SS").contains("SS stands at no version"));
}

#[test]
fn a_source_that_is_behind_what_was_applied_is_refused_though_it_is_ahead_of_where_the_job_began() {
    let mut chain = chain(&STORES, 8, 10);
    let begun = caught_up(&chain, Version(5));
    let mut rolled_back = None;
    for version in 9..=12 {
        chain.commit(&block(&STORES, version, 10));
        rolled_back = rolled_back.or(Some(chain.engine.clone()));
    }
    let world = goes_on(&begun, &chain);
    let back = World { source: Arc::new(Rootmulti::new(rolled_back.unwrap())), ..world.fork() };
    assert!(refused(&back, "a source that went back").contains("stands at version 9"));
}

#[test]
fn a_chain_that_went_another_way_is_refused_wherever_the_ways_part() {
    let mut chain = chain(&STORES, 8, 10);
    let begun = caught_up(&chain, Version(5));
    let born = {
        let plan = Plan { at: At::Version(Version(5)), ..Plan::new() };
        World::new(Arc::new(Rootmulti::new(chain.engine.clone())), plan, tiny(1))
    };
    for version in 9..=12 {
        chain.commit(&block(&STORES, version, 10));
    }
    let world = goes_on(&begun, &chain);
    // The other chain has the same blocks up to there.
    for parts_at in [4, 6, 8, 9, 11, 12] {
        let mut other = Chain::with_stores(&STORES);
        for version in 1..=14 {
            other.commit(&block(&STORES, if version < parts_at { version } else { 1000 + version }, 10));
        }
        let source = Arc::new(Rootmulti::new(other.engine.clone()));
        refused(&World { source: source.clone(), ..world.fork() }, &format!("parting at {parts_at}, all applied"));
        if parts_at <= 8 {
            refused(&World { source, ..born.fork() }, &format!("parting at {parts_at}, nothing done yet"));
        }
    }
}

#[test]
fn a_state_that_cannot_be_is_not_gone_on_with() {
    let chain = chain(&STORES, 8, 10);
    let world = caught_up(&chain, Version(5));
    let job = open(&world).job().clone();
    for phase in [
        Phase::Syncing { height: Version(5), applied: Version(4) },
        Phase::Halted {
            verdict: storeshift::model::Verdict::Store { store: "bank".into(), what: "x".into() },
            from: Box::new(Phase::Aborted),
        },
    ] {
        let state = State { phase, ..State::new(Version(5)) };
        let journal = Journal::on_backend(Disk::new(), Some((&job, &state))).unwrap();
        assert!(matches!(Recorder::new(journal), Err(Error::Invariant(_))), "{state:?}");
    }
}

#[test]
fn a_run_that_died_anywhere_beside_a_chain_that_grew_meanwhile_ends_as_if_it_never_had() {
    let mut chain = chain(&STORES, 8, 10);
    let before: Arc<dyn Source> = Arc::new(Rootmulti::new(chain.engine.clone()));
    for version in 9..=13 {
        chain.commit(&block(&STORES, version, 10));
    }
    let grown: Arc<dyn Source> = Arc::new(Rootmulti::new(chain.engine.clone()));
    for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
        let plan = Plan { at: At::Version(Version(5)), parts, chunk_leaves: 16, ..Plan::new() };
        let mut born = World::new(before.clone(), plan, tiny(1));
        born.tuning.switch = false;
        let whole = World { source: grown.clone(), ..born.fork() };
        open(&whole).run().unwrap();
        let mut ahead = 0;
        for point in 0.. {
            let world = born.fork();
            let died = world.open(&Outage::after(point)).and_then(|mut job| job.run()).is_err();
            let latest = world.sc.data().latest.max(world.ss.data().latest);
            ahead += u32::from(latest > Some(Version(5)) && latest > world.state().phase.applied());
            let world = World { source: grown.clone(), ..world };
            assert_eq!(open(&world).run().unwrap(), Outcome::CaughtUp { version: Version(13) });
            assert!(*world.sc.data() == *whole.sc.data(), "SC differs, {parts:?} died at {point}");
            assert!(*world.ss.data() == *whole.ss.data(), "SS differs, {parts:?} died at {point}");
            if !died {
                break;
            }
        }
        assert!(ahead > 0, "{parts:?}: the target was never ahead of the journal");
    }
}
