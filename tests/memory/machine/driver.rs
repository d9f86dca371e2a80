//! A model of the driver: it carries out the real machine's steps on an abstract target, is killed at any moment, and
//! store/v1 goes on committing unless it is fenced. The right driver keeps the rules in every world that can be reached;
//! each driver that breaks one of them is found out, which shows that the rule is needed and that the checker sees it.

use std::collections::{BTreeSet, HashSet, VecDeque};
use storeshift::{
    machine::{Cause, Event, Fence, Phase, State, Step, Verified},
    model::{Hash, Version},
};

const CHUNKS: u64 = 2;
const HEIGHT: u64 = 1;
const NEWEST: u64 = 3;

/// Which driver is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Driver {
    Right,
    /// Records first, writes to the target afterwards.
    JournalFirst,
    /// Writing a chunk a second time adds to what is there instead of replacing it.
    NotRepeatable,
    /// Takes a write for durable that is still in memory.
    Unsynced,
    /// Keeps what the snapshot found in memory only.
    Forgetful,
    /// Takes for granted that v1 stands where it was last seen.
    NoDrain,
    /// Takes the fence of a former life for one that still stands.
    TrustsOldFence,
    /// Wipes the journal before the target.
    JournalWipedFirst,
    /// Begins a new epoch over what the one before wrote.
    KeepsOldEpoch,
    /// Wipes the target for a new epoch before the journal says that there is one.
    WipesForNewEpochFirst,
    /// Wipes a target that was lost, and records that it begins anew only then.
    WipesLostFirst,
    /// Begins anew whenever a target is lost, also after versions were applied.
    GivesUpWhateverIsLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Engine {
    Sc,
    Ss,
}

/// One write to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Write {
    Chunk(Engine, u64),
    Spine,
    Version(Engine, u64),
}

/// What is durable in one engine.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    /// How many copies of each chunk there are.
    chunks: [u8; CHUNKS as usize],
    spine: bool,
    watermark: u64,
    /// The epoch that wrote first since it was wiped.
    of: Option<u32>,
    /// The disk has damaged it: it cannot be opened.
    is_lost: bool,
}

/// What a kill takes away.
#[derive(Clone, Debug, Default, PartialEq)]
struct Life {
    did: BTreeSet<Write>,
    manifest: bool,
    /// Wiped for the epoch that begins.
    wiped: BTreeSet<Engine>,
    /// The chain does not commit while this stands.
    fence: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct World {
    tip: u64,
    journal: Option<State>,
    sc: Content,
    ss: Content,
    life: Life,
}

fn renewed(cause: Cause) -> Event {
    Event::Renewed { height: Version(HEIGHT), cause, why: String::new() }
}

fn undone() -> Event {
    Event::SwitchUndone { why: "the fence is gone".to_owned() }
}

fn verified() -> Verified {
    Verified::compare(Hash::EMPTY, Hash::EMPTY).unwrap()
}

impl World {
    fn begin() -> World {
        let journal = Some(State::new(Version(HEIGHT)));
        World { tip: HEIGHT, journal, sc: Content::default(), ss: Content::default(), life: Life::default() }
    }

    fn engine(&mut self, engine: Engine) -> &mut Content {
        match engine {
            Engine::Sc => &mut self.sc,
            Engine::Ss => &mut self.ss,
        }
    }

    /// An epoch has begun, and what the one before wrote may be there: a crash came before it was wiped.
    fn must_wipe(&self, driver: Driver) -> bool {
        let begins = self
            .journal
            .as_ref()
            .is_some_and(|state| state.epoch > 1 && matches!(state.phase, Phase::Snapshotting { .. }));
        begins && driver != Driver::KeepsOldEpoch && self.life.wiped.len() < 2
    }

    fn is_lost(&self) -> bool {
        self.sc.is_lost || self.ss.is_lost
    }

    fn wipe(&mut self, engine: Engine) {
        *self.engine(engine) = Content::default();
        self.life.wiped.insert(engine);
    }

    /// What may be done next: target writes, and the event that is recorded after them.
    fn units(&self, driver: Driver) -> Vec<(Vec<Write>, Event)> {
        let Some(state) = &self.journal else { return Vec::new() };
        if self.must_wipe(driver) || self.is_lost() {
            return Vec::new();
        }
        let both = |write: &dyn Fn(Engine) -> Write| vec![write(Engine::Sc), write(Engine::Ss)];
        let version = |version: Version| both(&|engine| Write::Version(engine, version.0));
        if let Phase::Switching { fence: Fence::Raised(_) | Fence::Checked(_), .. } = state.phase
            && !self.life.fence
            && driver != Driver::TrustsOldFence
        {
            return vec![(vec![], undone())];
        }
        let manifest = driver != Driver::Forgetful || self.life.manifest;
        let open = |done: &storeshift::model::ChunkSet| {
            (0..CHUNKS).filter(|id| manifest && !done.contains(*id)).collect::<Vec<_>>()
        };
        match (state.next(), &state.phase) {
            (Step::Snapshot { .. }, _) => vec![(vec![], Event::Snapshotted { chunks: CHUNKS })],
            (Step::Restore { .. }, Phase::Restoring { restored, .. }) => open(restored)
                .into_iter()
                .map(|id| (both(&|engine| Write::Chunk(engine, id)), Event::Restored { chunks: vec![id] }))
                .collect(),
            (Step::Join { .. }, _) if manifest => vec![(vec![Write::Spine], Event::Joined)],
            (Step::Prove { .. }, Phase::Restoring { proven, .. }) => open(proven)
                .into_iter()
                .filter(|id| [&self.sc, &self.ss].iter().all(|engine| engine.chunks[*id as usize] == 1))
                .map(|id| (vec![], Event::Proven { chunks: vec![id] }))
                .collect(),
            (Step::Conclude { height }, _) => vec![(version(height), Event::Concluded(verified()))],
            (Step::Sync { applied }, _) if applied.0 < self.tip => {
                vec![(version(applied.next()), Event::Applied { to: applied.next() })]
            }
            (Step::Sync { .. }, _) => vec![(vec![], Event::SwitchStarted)],
            (Step::Fence, _) => {
                let seen = if driver == Driver::NoDrain { state.phase.applied().unwrap().0 } else { self.tip };
                vec![(vec![], Event::Fenced { version: Version(seen) })]
            }
            (Step::Drain { applied, .. }, _) => {
                vec![(version(applied.next()), Event::Applied { to: applied.next() })]
            }
            (Step::Check { .. }, _) => vec![(vec![], Event::Checked(verified()))],
            (Step::Flip { .. }, _) => vec![(vec![], Event::Flipped)],
            _ => Vec::new(),
        }
    }

    fn write(&mut self, driver: Driver, write: Write) {
        self.life.did.insert(write);
        if driver == Driver::Unsynced {
            return;
        }
        let epoch = self.journal.as_ref().map(|state| state.epoch);
        let engine = match write {
            Write::Chunk(engine, _) | Write::Version(engine, _) => engine,
            Write::Spine => Engine::Sc,
        };
        let of = &mut self.engine(engine).of;
        *of = of.or(epoch);
        match write {
            Write::Chunk(engine, id) => {
                let copies = &mut self.engine(engine).chunks[id as usize];
                *copies = if driver == Driver::NotRepeatable { *copies + 1 } else { 1 };
            }
            Write::Spine => self.sc.spine = true,
            // An engine that is ahead skips what it has.
            Write::Version(engine, version) => {
                let watermark = &mut self.engine(engine).watermark;
                *watermark = version.max(*watermark);
            }
        }
    }

    fn record(&mut self, event: &Event) -> Result<(), String> {
        let state = self.journal.as_ref().unwrap();
        let after = state.apply(event).map_err(|refusal| format!("the machine refuses the driver: {refusal}"))?;
        match event {
            Event::Snapshotted { .. } => self.life.manifest = true,
            Event::Fenced { .. } => self.life.fence = true,
            Event::SwitchUndone { .. } | Event::Aborted => self.life.fence = false,
            Event::Flipped => self.check_flip(&after)?,
            Event::Renewed { .. } => self.life = Life::default(),
            _ => {}
        }
        self.journal = Some(after);
        Ok(())
    }

    /// No flip unless restored and proven, applied = fenced, and the chain standing still there.
    fn check_flip(&self, after: &State) -> Result<(), String> {
        let Phase::Done { version, .. } = after.phase else { return Err("the flip did not lead to Done".into()) };
        for engine in [&self.sc, &self.ss] {
            if engine.is_lost || engine.chunks != [1; CHUNKS as usize] || engine.watermark != version.0 {
                return Err(format!("flipped to an engine that is not whole: {engine:?}"));
            }
        }
        if [&self.sc, &self.ss].iter().any(|engine| engine.of != Some(after.epoch)) {
            return Err("flipped to what another epoch wrote".into());
        }
        if version.0 != self.tip {
            return Err(format!("flipped at {version}, and the commit of {} is lost", self.tip));
        }
        if !self.sc.spine { Err("flipped without a spine".into()) } else { Ok(()) }
    }

    /// Rule 1, as a restart sees it: whatever the journal says is durable in the target.
    fn check_restart(&self) -> Result<(), String> {
        let behind = |what: &str| Err(format!("the target is behind the journal: {what}"));
        let Some(state) = &self.journal else {
            let empty = self.sc == Content::default() && self.ss == Content::default();
            return if empty { Ok(()) } else { Err("the journal is gone and the target is not".into()) };
        };
        if self.is_lost() {
            // The disk's doing, whatever the driver did.
            return Ok(());
        }
        if let Phase::Restoring { restored, joined, .. } = &state.phase {
            for id in (0..CHUNKS).filter(|id| restored.contains(*id)) {
                match [self.sc.chunks[id as usize], self.ss.chunks[id as usize]] {
                    [1, 1] => {}
                    [0, _] | [_, 0] => return behind("a restored chunk is missing"),
                    _ => return Err("a restored chunk is there twice".into()),
                }
            }
            if *joined && !self.sc.spine {
                return behind("the spine is missing");
            }
        }
        match state.phase.applied() {
            Some(applied) if self.sc.watermark.min(self.ss.watermark) < applied.0 => behind("a version is missing"),
            _ => Ok(()),
        }
    }

    /// Every world that can come next, or what rule was broken on the way.
    fn successors(&self, driver: Driver) -> Result<Vec<World>, String> {
        let mut next = Vec::new();
        let Some(state) = &self.journal else { return Ok(next) };
        let mut step = |change: &dyn Fn(&mut World) -> Result<(), String>| {
            let mut world = self.clone();
            change(&mut world)?;
            next.push(world);
            Ok::<(), String>(())
        };
        // Killed, and started again: only what is durable is left.
        step(&|world| {
            world.life = Life::default();
            world.check_restart()
        })?;
        if matches!(state.phase, Phase::Done { .. }) {
            return Ok(next);
        }
        if !self.life.fence && self.tip < NEWEST {
            step(&|world| {
                world.tip += 1;
                Ok(())
            })?;
        }
        if state.phase == Phase::Aborted {
            if driver == Driver::JournalWipedFirst || (&self.sc, &self.ss) == (&Content::default(), &Content::default())
            {
                step(&|world| {
                    world.journal = None;
                    world.check_restart()
                })?;
            }
            for engine in [Engine::Sc, Engine::Ss] {
                step(&|world| {
                    *world.engine(engine) = Content::default();
                    Ok(())
                })?;
            }
            return Ok(next);
        }
        step(&|world| world.record(&Event::Aborted))?;
        let engines = [Engine::Sc, Engine::Ss];
        if self.must_wipe(driver) {
            for engine in engines.into_iter().filter(|engine| !self.life.wiped.contains(engine)) {
                step(&|world| {
                    world.wipe(engine);
                    Ok(())
                })?;
            }
        }
        let is_before_switch =
            matches!(state.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. } | Phase::Syncing { .. });
        if state.epoch == 1 && is_before_switch {
            // What it needs was pruned away, and another snapshot is taken.
            step(&|world| world.record(&renewed(Cause::Pruned)))?;
            if driver == Driver::WipesForNewEpochFirst {
                step(&|world| {
                    engines.into_iter().for_each(|engine| world.wipe(engine));
                    Ok(())
                })?;
            }
        }
        if self.is_lost() {
            if state.outlives_loss() || driver == Driver::GivesUpWhateverIsLost {
                step(&|world| world.record(&renewed(Cause::Lost)))?;
            }
            if state.outlives_loss() && driver == Driver::WipesLostFirst {
                step(&|world| {
                    engines.into_iter().for_each(|engine| world.wipe(engine));
                    Ok(())
                })?;
            }
        } else if state.epoch == 1 && matches!(state.phase, Phase::Restoring { .. } | Phase::Syncing { .. }) {
            for engine in engines {
                step(&|world| {
                    world.engine(engine).is_lost = true;
                    Ok(())
                })?;
            }
        }
        if matches!(state.phase, Phase::Switching { .. }) && state.attempt < 2 {
            step(&|world| world.record(&undone()))?;
        }
        for (writes, event) in self.units(driver) {
            if event == undone() && state.attempt >= 2 {
                continue;
            }
            for &write in writes.iter().filter(|write| !self.life.did.contains(write)) {
                step(&|world| {
                    world.write(driver, write);
                    Ok(())
                })?;
            }
            let written = writes.iter().all(|write| self.life.did.contains(write));
            if written || driver == Driver::JournalFirst {
                step(&|world| world.record(&event))?;
            }
        }
        Ok(next)
    }

    /// Runs on without any mishap. Wherever one stands, that must lead to the end.
    fn finish(&self, driver: Driver) -> Result<(), String> {
        let mut world = self.clone();
        world.life = Life::default();
        for _ in 0..60 {
            match &world.journal {
                None | Some(State { phase: Phase::Done { .. } | Phase::Aborted, .. }) => return Ok(()),
                Some(state) if world.is_lost() && !world.must_wipe(driver) => {
                    if !state.outlives_loss() {
                        // An operator is asked.
                        return Ok(());
                    }
                    world.record(&renewed(Cause::Lost))?;
                    continue;
                }
                _ => {}
            }
            if world.must_wipe(driver) {
                [Engine::Sc, Engine::Ss].into_iter().for_each(|engine| world.wipe(engine));
                continue;
            }
            let Some((writes, event)) = world.units(driver).into_iter().next() else { break };
            writes.into_iter().for_each(|write| world.write(driver, write));
            world.record(&event)?;
        }
        Err(format!("stuck: {world:?}"))
    }
}

/// Visits every world that can be reached; the first broken rule ends it. Then runs on from each of them.
fn explore(driver: Driver) -> Result<usize, String> {
    let mut known = HashSet::new();
    let mut worlds = Vec::new();
    let mut open = VecDeque::from([World::begin()]);
    while let Some(world) = open.pop_front() {
        if !known.insert(format!("{world:?}")) {
            continue;
        }
        open.extend(world.successors(driver).map_err(|broken| format!("{broken}; from {world:?}"))?);
        worlds.push(world);
    }
    worlds.iter().try_for_each(|world| world.finish(driver))?;
    Ok(worlds.len())
}

#[test]
fn the_driver_keeps_every_rule_in_every_world_it_can_get_into() {
    let worlds = explore(Driver::Right).unwrap();
    println!("{worlds} worlds");
    assert!(worlds > 1000, "{worlds}");
}

fn assert_found(driver: Driver, words: &str) {
    let broken = explore(driver).expect_err("a driver that breaks a rule was not found out");
    println!("{driver:?}: {broken}");
    assert!(broken.contains(words), "{driver:?} was found out for another reason: {broken}");
}

#[test]
fn rule_1_is_needed_a_driver_that_records_before_it_writes_is_found_out() {
    assert_found(Driver::JournalFirst, "the target is behind the journal");
}

#[test]
fn rule_1_means_durable_a_driver_that_records_what_is_in_memory_is_found_out() {
    assert_found(Driver::Unsynced, "the target is behind the journal");
}

#[test]
fn rule_2_is_needed_a_driver_whose_writes_cannot_be_repeated_is_found_out() {
    assert_found(Driver::NotRepeatable, "there twice");
}

#[test]
fn what_a_later_step_needs_must_be_in_the_journal_or_a_crash_leaves_it_stuck() {
    assert_found(Driver::Forgetful, "stuck");
}

#[test]
fn the_drain_is_needed_a_commit_between_caught_up_and_fenced_would_be_lost() {
    assert_found(Driver::NoDrain, "is lost");
}

#[test]
fn a_fence_does_not_outlive_its_process_and_a_driver_that_trusts_an_old_one_is_found_out() {
    assert_found(Driver::TrustsOldFence, "is lost");
}

#[test]
fn the_journal_goes_last_a_driver_that_wipes_it_first_is_found_out() {
    assert_found(Driver::JournalWipedFirst, "the journal is gone and the target is not");
}

#[test]
fn a_new_epoch_begins_on_an_empty_target_and_a_driver_that_does_not_wipe_it_is_found_out() {
    assert_found(Driver::KeepsOldEpoch, "another epoch");
}

#[test]
fn the_journal_goes_first_for_a_new_epoch_a_driver_that_wipes_before_it_records_is_found_out() {
    assert_found(Driver::WipesForNewEpochFirst, "the target is behind the journal");
}

#[test]
fn the_journal_goes_first_when_a_target_is_lost_too() {
    assert_found(Driver::WipesLostFirst, "the target is behind the journal");
}

#[test]
fn a_target_that_versions_were_applied_to_is_never_given_up_as_lost() {
    assert_found(Driver::GivesUpWhateverIsLost, "the machine refuses the driver");
}
