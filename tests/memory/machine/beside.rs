//! A model of a chain and its migration in one process: who commits, the copier and applier, whoever prunes, and the switch, step by step
//! in every order, with the real machine as what the journal holds. Killed at any moment, with failures and panics at any step.
//!
//! Owns the worlds and what the right one does; `switchers` has the wrong ones and the tests.

use super::switchers::Switcher;
use std::collections::{HashSet, VecDeque};
use storeshift::{
    machine::{Cause, Event, Fence, Phase, State, Step, Verified},
    model::{Hash, Version},
};

/// The chain has one version to begin with, and comes to so many.
const NEWEST: u64 = 4;
/// Kills, and mishaps beside them, on the way to any world.
const KILLS: u8 = 2;
const MISHAPS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Open,
    Closed,
    Sealed,
}

/// Where the thread that commits is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Commit {
    Idle,
    Waits,
    /// It has the gate, and what it commits is durable; nobody was told.
    Written,
}

/// Where the job is.
#[derive(Clone, Debug, PartialEq)]
enum Job {
    /// In this life it does nothing any more.
    Ended,
    /// It has to look at the journal, for the first time or again.
    Begins,
    /// It holds what it needs, and opens the target.
    Opens,
    Works {
        known: State,
        at: At,
    },
}

/// Where the driver is within a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Loop,
    /// A version is in the target.
    Wrote,
    /// Everything is applied, and what is applied is held.
    Turned,
    /// The gate was closed, at this version.
    Closed(u64),
    Sealed(u64),
    /// It is recorded.
    Flipped(u64),
    /// Whether it is recorded is not known.
    Doubts,
    /// The switch was given up, and the gate opened; after a failure the attempt ends with that.
    Lifted {
        failed: bool,
    },
}

/// What a kill takes away.
#[derive(Clone, Debug, PartialEq)]
struct Life {
    on: Layout,
    gate: Gate,
    commit: Commit,
    broken: bool,
    held: Option<u64>,
    /// More was held than may be.
    over: bool,
    job: Job,
}

#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The oldest and the newest version of store/v1.
    v1: (u64, u64),
    /// The newest version of store/v2.
    v2: u64,
    journal: Option<State>,
    /// The newest version the chain knows that it committed.
    acknowledged: u64,
    /// It was killed before it was told of the next one.
    unsure: bool,
    /// What was held was let go as it may be, so the migration may have to begin anew.
    excused: bool,
    life: Option<Life>,
    kills: u8,
    mishaps: u8,
}

type Checked<T> = Result<T, String>;

fn verified() -> Verified {
    Verified::compare(Hash::EMPTY, Hash::EMPTY).unwrap()
}

fn undone() -> Event {
    Event::SwitchUndone { why: "the chain did not wait".to_owned() }
}

/// The version that a job in this state reads.
fn needed(state: Option<&State>) -> Option<u64> {
    state.and_then(|state| state.phase.applied().or(state.phase.height())).map(|version| version.0)
}

impl World {
    pub fn begin() -> World {
        World {
            v1: (1, 1),
            v2: 0,
            journal: None,
            acknowledged: 1,
            unsure: false,
            excused: false,
            life: None,
            kills: 0,
            mishaps: 0,
        }
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().unwrap()
    }

    /// The newest version that readers of store/v1 were told of.
    fn told(&self) -> u64 {
        let is_written = self.life.as_ref().is_some_and(|life| life.commit == Commit::Written && life.on == Layout::V1);
        self.v1.1 - u64::from(is_written)
    }

    fn hold(&mut self, version: Option<u64>) {
        let there = self.v1.0..=self.told();
        let latest = self.told();
        let version = version.filter(|version| there.contains(version)).unwrap_or(latest);
        self.life().held = Some(version);
    }

    /// The store is opened: which of the two is of record.
    fn start(&mut self, switcher: Switcher) -> Checked<()> {
        let on = match self.journal.as_ref().map(|state| &state.phase) {
            _ if switcher == Switcher::PrefersV1 => Layout::V1,
            Some(Phase::Done { version, .. }) => match (self.v1.1 > version.0, self.v2 > version.0) {
                _ if self.v2 < version.0 => return Err("store/v2 is of record and does not have the switch".into()),
                _ if switcher == Switcher::TrustsJournal => Layout::V2,
                (true, true) => return Err("both stores went on".into()),
                (true, false) => {
                    (self.journal, self.v2) = (None, 0);
                    Layout::V1
                }
                (false, _) => Layout::V2,
            },
            _ => Layout::V1,
        };
        let job = if on == Layout::V1 { Job::Begins } else { Job::Ended };
        let (gate, commit) = (Gate::Open, Commit::Idle);
        self.life = Some(Life { on, gate, commit, broken: false, held: None, over: false, job });
        if on == Layout::V1 && switcher != Switcher::ForgetsHolds {
            self.hold(needed(self.journal.as_ref()));
        }
        let newest = if on == Layout::V1 { self.v1.1 } else { self.v2 };
        if newest < self.acknowledged {
            return Err(format!("version {} is lost: {on:?} is of record at {newest}", self.acknowledged));
        }
        if newest > self.acknowledged + u64::from(self.unsure) {
            return Err(format!("{on:?} is of record at {newest}, which nobody committed"));
        }
        (self.acknowledged, self.unsure) = (newest, false);
        Ok(())
    }

    /// What the thread that commits does next, if it can.
    fn commit(&self, switcher: Switcher) -> Checked<Option<World>> {
        let mut next = self.clone();
        let Some(Life { on, gate, commit, broken, .. }) = self.life.clone() else { return Ok(None) };
        match commit {
            Commit::Written => {
                next.acknowledged += 1;
                next.life().commit = Commit::Idle;
                return Ok(Some(next));
            }
            Commit::Idle if self.acknowledged >= NEWEST => return Ok(None),
            _ => {}
        }
        if gate == Gate::Sealed || (gate == Gate::Closed && commit == Commit::Idle) {
            next.life().commit = Commit::Waits;
            return Ok((commit == Commit::Idle).then_some(next));
        }
        if gate == Gate::Closed && switcher == Switcher::NoTimeout {
            return Ok(None);
        }
        // It has waited long enough.
        next.life().gate = Gate::Open;
        if broken {
            let is_done = matches!(&self.journal, Some(State { phase: Phase::Done { version, .. }, .. }) if version.0 == self.v1.1);
            return if is_done { Ok(None) } else { Err("a commit is refused, and store/v1 is of record".into()) };
        }
        match on {
            Layout::V1 => next.v1.1 += 1,
            Layout::V2 => next.v2 += 1,
        }
        next.life().commit = Commit::Written;
        Ok(Some(next))
    }

    /// From a world in which a commit waits: it comes through, though the migration stalls, or if the switch is being recorded, once
    /// that is done.
    fn gets_through(&self, switcher: Switcher) -> Checked<()> {
        let mut world = self.clone();
        for _ in 0..20 {
            let Some(life) = &world.life else { return Ok(()) };
            match (life.commit, life.gate) {
                (Commit::Waits, Gate::Closed) if switcher == Switcher::NoTimeout => {
                    return Err("a commit waits for a migration that stalls".into());
                }
                (Commit::Waits, Gate::Sealed) => {}
                _ => return Ok(()),
            }
            let Some(next) = world.work(switcher)? else { break };
            world = next;
        }
        Err("a commit waits for ever".into())
    }

    /// Has the attempt end with an error that passes.
    fn fail(&mut self, switcher: Switcher) {
        let life = self.life();
        life.job = Job::Begins;
        if switcher != Switcher::LeavesSealed {
            life.gate = Gate::Open;
        }
        if switcher == Switcher::ReleasesBetween {
            life.held = None;
        }
    }

    /// The job has ended, and nothing is held for it any more.
    fn end(&mut self) {
        let life = self.life();
        (life.job, life.held) = (Job::Ended, None);
    }

    /// Whether a version can be read. If it cannot, that must have a reason, and the attempt ends.
    fn reads(&self, version: u64) -> Checked<bool> {
        if version >= self.v1.0 {
            return Ok(true);
        }
        if self.excused {
            return Ok(false);
        }
        Err(format!("version {version} is needed, and was pruned"))
    }

    fn record(&mut self, events: &[Event], then: At) -> Checked<()> {
        let Job::Works { known, at } = &mut self.life().job else { return Err("nobody records".into()) };
        for event in events {
            *known = known.apply(event).map_err(|refusal| format!("the machine refuses the driver: {refusal}"))?;
        }
        *at = then;
        self.journal = Some(known.clone());
        Ok(())
    }

    /// The step that the job takes next if nothing goes wrong; none if it has nothing to do, or waits for the gate.
    fn work(&self, switcher: Switcher) -> Checked<Option<World>> {
        let Some(life) = &self.life else { return Ok(None) };
        let mut next = self.clone();
        let state = self.journal.as_ref();
        let (known, at) = match &life.job {
            Job::Ended => return Ok(None),
            Job::Begins => {
                match state.map(|state| &state.phase) {
                    // The chain went on with store/v1: whoever opens both anew decides.
                    Some(Phase::Done { .. } | Phase::Aborted) => next.end(),
                    _ if life.over => next.end(),
                    _ => {
                        next.life().job = Job::Opens;
                        if switcher != Switcher::ForgetsHolds {
                            next.hold(needed(state));
                        }
                    }
                }
                return Ok(Some(next));
            }
            Job::Opens => return self.open().map(Some),
            Job::Works { known, at } => (known, *at),
        };
        let applied = known.phase.applied().map_or(0, |version| version.0);
        let go = |next: &mut World, to: At| next.life().job = Job::Works { known: known.clone(), at: to };
        let has_gate = life.commit == Commit::Written;
        match at {
            At::Loop => return self.step(switcher, known, applied),
            At::Wrote => next.record(&[Event::Applied { to: Version(self.v2) }], At::Loop)?,
            At::Turned if self.told() > applied => go(&mut next, At::Loop),
            At::Turned => {
                next.record(&[Event::SwitchStarted], At::Loop)?;
                if switcher == Switcher::ReleasesEarly {
                    next.life().held = None;
                }
            }
            At::Closed(seen) if seen > applied => {
                next.record(&[Event::Fenced { version: Version(seen) }], At::Loop)?;
            }
            At::Closed(_) if has_gate => return Ok(None),
            At::Closed(seen) => next.seal(switcher, seen),
            At::Sealed(version) if switcher == Switcher::ReplacesFirst && life.on == Layout::V1 => {
                (next.life().on, next.life().gate) = (Layout::V2, Gate::Open);
                go(&mut next, At::Sealed(version));
            }
            At::Sealed(version) => {
                if self.v1.1 != version || self.v2 != version || (self.acknowledged, has_gate) != (version, false) {
                    return Err(format!(
                        "flipped at {version}, and the two are at {} and {}: that is lost",
                        self.v1.1, self.v2
                    ));
                }
                let fenced = [Event::Fenced { version: Version(version) }, Event::Checked(verified())];
                let before = matches!(known.phase, Phase::Switching { fence: Fence::Raising, .. });
                let events: Vec<Event> = fenced.into_iter().filter(|_| before).chain([Event::Flipped]).collect();
                next.record(&events, At::Flipped(version))?;
            }
            At::Flipped(_) if switcher == Switcher::OpensFirst && life.gate == Gate::Sealed => {
                next.life().gate = Gate::Open;
            }
            At::Flipped(_) if has_gate => return Ok(None),
            At::Flipped(_) => {
                if life.on == Layout::V1 && self.v1.1 != self.v2 {
                    return Err(format!("the chain is at {}, and would go back to {}", self.v1.1, self.v2));
                }
                next.life().on = Layout::V2;
                if switcher != Switcher::StaysClosed {
                    next.life().gate = Gate::Open;
                }
                next.end();
            }
            At::Doubts => {
                next.life().broken = switcher == Switcher::BreaksOffInDoubt;
                next.fail(switcher);
            }
            At::Lifted { failed } => {
                next.record(&[undone()], At::Loop)?;
                if failed {
                    next.fail(switcher);
                }
            }
        }
        Ok(Some(next))
    }

    /// Opens the target, or begins the job; what a life before left of a switch is undone.
    fn open(&self) -> Checked<World> {
        let mut next = self.clone();
        let born = || State::new(Version(self.v1.1));
        let mut known = self.journal.clone().unwrap_or_else(born);
        if matches!(known.phase, Phase::Switching { .. }) {
            known = known.apply(&undone()).map_err(|refusal| refusal.to_string())?;
        }
        if !self.reads(needed(Some(&known)).unwrap_or_default())? {
            let renewed =
                Event::Renewed { height: Version(self.v1.1), cause: Cause::Pruned, why: "it is gone".to_owned() };
            known = known.apply(&renewed).map_err(|refusal| refusal.to_string())?;
        }
        if matches!(known.phase, Phase::Snapshotting { .. }) {
            // Wiped, if there is anything: it is of the epoch before.
            next.v2 = 0;
        }
        next.journal = Some(known.clone());
        next.life().job = Job::Works { known, at: At::Loop };
        Ok(next)
    }

    /// The step that the machine says is next.
    fn step(&self, switcher: Switcher, known: &State, applied: u64) -> Checked<Option<World>> {
        let mut next = self.clone();
        let go = |next: &mut World, to: At| next.life().job = Job::Works { known: known.clone(), at: to };
        let has_gate = self.life.as_ref().is_some_and(|life| life.commit == Commit::Written);
        match known.next() {
            Step::Snapshot { height } | Step::Restore { height } if !self.reads(height.0)? => next.fail(switcher),
            Step::Snapshot { .. } => next.record(&[Event::Snapshotted { chunks: 1 }], At::Loop)?,
            Step::Restore { .. } => next.record(&[Event::Restored { chunks: vec![0] }], At::Loop)?,
            Step::Join { .. } => next.record(&[Event::Joined, Event::Proven { chunks: vec![0] }], At::Loop)?,
            Step::Conclude { height } => {
                next.v2 = height.0;
                next.record(&[Event::Concluded(verified())], At::Loop)?;
            }
            Step::Sync { .. } if applied == self.v1.1 => {
                if applied <= self.told() {
                    next.hold(Some(applied));
                }
                go(&mut next, At::Turned);
            }
            Step::Sync { .. } | Step::Drain { .. } => {
                if self.reads(applied)? {
                    // What is there already stays.
                    next.v2 = self.v2.max(applied + 1);
                    go(&mut next, At::Wrote);
                } else if matches!(known.phase, Phase::Switching { .. }) {
                    next.life().gate = Gate::Open;
                    go(&mut next, At::Lifted { failed: true });
                } else {
                    next.fail(switcher);
                }
            }
            Step::Fence | Step::Flip { .. } if has_gate => return Ok(None),
            Step::Fence => {
                next.life().gate = Gate::Closed;
                go(&mut next, At::Closed(if switcher == Switcher::FencesWhereSeen { applied } else { self.v1.1 }));
            }
            Step::Check { .. } => next.record(&[Event::Checked(verified())], At::Loop)?,
            Step::Flip { version } => next.seal(switcher, version.0),
            step => return Err(format!("there is no step {step:?} here")),
        }
        Ok(Some(next))
    }

    fn seal(&mut self, switcher: Switcher, version: u64) {
        let life = self.life();
        let is_closed = life.gate == Gate::Closed;
        if is_closed && switcher != Switcher::NoSeal {
            life.gate = Gate::Sealed;
        }
        let Job::Works { at, .. } = &mut life.job else { return };
        *at = if is_closed || switcher == Switcher::SealNotAsked {
            At::Sealed(version)
        } else {
            At::Lifted { failed: false }
        };
    }

    /// What can go wrong now.
    fn mishaps(&self, switcher: Switcher) -> Checked<Vec<World>> {
        let mut all = Vec::new();
        let Some(life) = &self.life else { return Ok(all) };
        let mut mishap = |change: &dyn Fn(&mut World)| {
            let mut world = World { mishaps: self.mishaps + 1, ..self.clone() };
            change(&mut world);
            all.push(world);
        };
        if life.commit == Commit::Idle && life.job != Job::Ended && life.held.is_some_and(|held| held + 1 < self.v1.1) {
            // A commit finds that too much is held.
            mishap(&|world| {
                world.excused = true;
                (world.life().held, world.life().over) = (None, true);
            });
        }
        let Job::Works { known, at } = &life.job else { return Ok(all) };
        let is_switching = matches!(known.phase, Phase::Switching { .. });
        // A panic.
        mishap(&|world| {
            world.end();
            world.excused = true;
            if switcher != Switcher::PanicLeavesClosed {
                world.life().gate = Gate::Open;
            }
        });
        match at {
            // An engine fails, or something is asked to stop.
            At::Loop | At::Closed(_) if is_switching => mishap(&|world| {
                world.life().gate = Gate::Open;
                world.life().job = Job::Works { known: known.clone(), at: At::Lifted { failed: true } };
            }),
            At::Loop | At::Wrote => mishap(&|world| world.fail(switcher)),
            // The layout cannot be put in place.
            At::Flipped(_) => mishap(&|world| {
                (world.life().broken, world.life().gate) = (true, Gate::Open);
                world.end();
            }),
            _ => {}
        }
        // The journal fails: what was to be recorded is there, or not.
        let Some(recorded) = self.work(switcher)?.filter(|next| next.journal != self.journal) else { return Ok(all) };
        let is_flip = matches!(at, At::Sealed(_));
        for journal in [&self.journal, &recorded.journal] {
            // What is recorded was written before.
            let v2 = self.v2.max(recorded.v2);
            let mut world = World { mishaps: self.mishaps + 1, v2, journal: journal.clone(), ..self.clone() };
            let works = |known: &State, at| Job::Works { known: known.clone(), at };
            match switcher {
                _ if !is_flip => world.fail(switcher),
                Switcher::FailureIsWritten => world.life().job = works(known, At::Flipped(self.v2)),
                Switcher::FailureIsUnwritten => {
                    let known = known.apply(&undone()).map_err(|refusal| refusal.to_string())?;
                    (world.life().gate, world.life().job) = (Gate::Open, works(&known, At::Loop));
                }
                _ => world.life().job = works(known, At::Doubts),
            }
            all.push(world);
        }
        Ok(all)
    }

    /// Every world that can come next, or what rule was broken on the way.
    fn successors(&self, switcher: Switcher) -> Checked<Vec<World>> {
        let mut all = Vec::new();
        let Some(life) = &self.life else {
            let mut started = self.clone();
            started.start(switcher)?;
            if let Some(journal) = self.journal.as_ref().filter(|_| started.journal.is_none()) {
                // Killed again, before the journal was removed that is not true.
                let given_up = journal.apply(&Event::Returned);
                let journal = Some(given_up.map_err(|refusal| refusal.to_string())?);
                all.push(World { journal, ..self.clone() });
            }
            return Ok([all, vec![started]].concat());
        };
        all.extend(self.commit(switcher)?);
        all.extend(self.work(switcher)?);
        if life.on == Layout::V1 && self.v1.0 < life.held.unwrap_or(self.told()).min(self.told()) {
            all.push(World { v1: (self.v1.0 + 1, self.v1.1), ..self.clone() });
        }
        if let Job::Works { known, at: At::Loop } = &life.job {
            let mut next = self.clone();
            let is_behind = |applied: Version| applied.0 < self.v1.1;
            if matches!(known.phase, Phase::Syncing { applied, .. } if is_behind(applied)) {
                // A chain that never rests is fenced early.
                next.record(&[Event::SwitchStarted], At::Loop)?;
                all.push(next.clone());
            }
            next.clone_from(self);
            if life.over {
                next.end();
                all.push(next);
            } else if self.kills < KILLS && !matches!(known.phase, Phase::Switching { .. }) {
                // The node shuts down in good order.
                next.life().job = Job::Ended;
                if switcher == Switcher::ReleasesOnShutdown {
                    next.life().held = None;
                }
                all.push(next);
            }
        }
        if self.mishaps < MISHAPS {
            all.extend(self.mishaps(switcher)?);
        }
        if self.kills < KILLS {
            let unsure = life.commit == Commit::Written;
            all.push(World { life: None, kills: self.kills + 1, unsure, ..self.clone() });
        }
        Ok(all)
    }

    /// Runs on without any mishap, and without more commits. Wherever one stands, that must lead to store/v2, if need be after the
    /// store was opened again.
    fn finish(&self, switcher: Switcher) -> Checked<()> {
        let mut world = self.clone();
        for _ in 0..60 {
            if matches!(&world.journal, Some(State { phase: Phase::Aborted, .. })) {
                return Ok(());
            }
            let Some(life) = &world.life else {
                world.start(switcher)?;
                continue;
            };
            if life.commit != Commit::Idle
                && let Some(next) = world.commit(switcher)?
            {
                world = next;
                continue;
            }
            if life.on == Layout::V2 && life.job == Job::Ended {
                return Ok(());
            }
            match world.work(switcher)? {
                Some(next) => world = next,
                None => world.life = None,
            }
        }
        Err("the migration never comes to its end".to_owned())
    }
}

/// Visits every world that can be reached; the first broken rule ends it. Then runs on from each of them. Returns how many there are.
pub fn explore(switcher: Switcher) -> Checked<usize> {
    let mut known = HashSet::new();
    let mut worlds = Vec::new();
    let mut open = VecDeque::from([World::begin()]);
    let from = |world: &World, broken: String| format!("{broken}; from {world:?}");
    while let Some(world) = open.pop_front() {
        if !known.insert(format!("{world:?}")) {
            continue;
        }
        world.gets_through(switcher).map_err(|broken| from(&world, broken))?;
        open.extend(world.successors(switcher).map_err(|broken| from(&world, broken))?);
        worlds.push(world);
    }
    drop(known);
    worlds.iter().try_for_each(|world| world.finish(switcher).map_err(|broken| from(world, broken)))?;
    Ok(worlds.len())
}
