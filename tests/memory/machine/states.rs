//! Every state of a migration of at most three chunks and four versions, and every event in each of them.

use std::collections::{HashSet, VecDeque};
use storeshift::{
    machine::{Cause, Event, Fence, Phase, Refusal, State, Step, Verified, invariants},
    model::{Hash, Verdict, Version},
};

const CHUNKS: u64 = 3;
const NEWEST: u64 = 4;
/// Work is taken back at most so often; beyond it the states repeat themselves.
const ATTEMPTS: u32 = 2;
/// As many snapshots are taken at most.
const EPOCHS: u32 = 2;

fn verified() -> Verified {
    Verified::compare(Hash::EMPTY, Hash::EMPTY).unwrap()
}

fn verdict() -> Verdict {
    Verdict::AppHash { version: Version(1), expected: Hash::EMPTY, found: Hash([1; 32]) }
}

fn renewed(height: u64, cause: Cause) -> Event {
    Event::Renewed { height: Version(height), cause, why: String::new() }
}

/// Every event there is on this scale, those that never make sense included.
fn events() -> Vec<Event> {
    let mut events = vec![
        Event::Joined,
        Event::Concluded(verified()),
        Event::Concluded(Verified::pairs_only()),
        Event::SwitchStarted,
        Event::Checked(verified()),
        Event::Flipped,
        Event::SwitchUndone { why: String::new() },
        Event::Halted(verdict()),
        Event::Repaired { reopened: None },
        Event::Aborted,
        Event::Returned,
        Event::Finished,
    ];
    let subsets = (0..1u64 << CHUNKS).map(|bits| (0..CHUNKS).filter(|id| bits >> id & 1 == 1).collect::<Vec<_>>());
    for chunks in subsets.chain([vec![0, 0], vec![CHUNKS], vec![1, u64::MAX]]) {
        events.push(Event::Restored { chunks: chunks.clone() });
        events.push(Event::Proven { chunks });
    }
    events.extend((0..=CHUNKS).map(|chunks| Event::Snapshotted { chunks }));
    events.extend((0..=CHUNKS).map(|chunk| Event::Repaired { reopened: Some(chunk) }));
    events.extend((0..=NEWEST).map(|version| Event::Applied { to: Version(version) }));
    events.extend((1..=2).flat_map(|height| [Cause::Pruned, Cause::Lost].map(|cause| renewed(height, cause))));
    events.extend((0..=NEWEST).map(|version| Event::Fenced { version: Version(version) }));
    events
}

/// Calls `each` with every reachable state, every event and what came of it; returns the states.
fn explore(mut each: impl FnMut(&State, &Event, &Result<State, Refusal>)) -> Vec<State> {
    let events = events();
    let mut states = Vec::new();
    let mut known = HashSet::new();
    let mut open: VecDeque<State> = (1..=2).map(|height| State::new(Version(height))).collect();
    while let Some(state) = open.pop_front() {
        if state.attempt > ATTEMPTS || state.epoch > EPOCHS || !known.insert(format!("{state:?}")) {
            continue;
        }
        for event in &events {
            let outcome = state.apply(event);
            each(&state, event, &outcome);
            open.extend(outcome);
        }
        states.push(state);
    }
    states
}

#[test]
fn every_accepted_event_keeps_every_invariant_and_a_refused_one_changes_nothing() {
    let (mut accepted, mut refused) = (0u32, 0u32);
    let states = explore(|state, event, outcome| {
        invariants::check(state, event, outcome).unwrap_or_else(|broken| panic!("{broken}: {state:?} {event:?}"));
        assert_eq!(*outcome, state.apply(event), "the same event gives the same outcome");
        match outcome {
            Ok(after) => {
                accepted += 1;
                invariants::state(after).unwrap();
                assert!(after.rank() > state.rank());
            }
            Err(refusal) => {
                refused += 1;
                assert!(!refusal.to_string().is_empty());
            }
        }
    });
    println!("{} states, {accepted} events accepted, {refused} refused", states.len());
    assert!(states.len() > 500);
}

#[test]
fn nothing_follows_aborted_and_after_done_the_chain_is_given_back_or_never_will_be() {
    explore(|state, event, outcome| match (&state.phase, event, outcome) {
        (Phase::Done { finished: false, .. }, Event::Returned, Ok(after)) => assert_eq!(after.phase, Phase::Aborted),
        (Phase::Done { finished: false, .. }, Event::Finished, Ok(after)) => {
            assert!(matches!(after.phase, Phase::Done { finished: true, .. }), "{after:?}");
        }
        (Phase::Done { .. } | Phase::Aborted, _, outcome) => {
            assert!(outcome.is_err(), "{state:?} {event:?}");
        }
        (_, Event::Returned | Event::Finished, outcome) => assert!(outcome.is_err(), "{state:?} {event:?}"),
        _ => {}
    });
}

#[test]
fn a_new_epoch_begins_with_its_snapshot_and_with_nothing_of_the_last_one() {
    explore(|state, event, outcome| {
        let Ok(after) = outcome else { return };
        assert_eq!(after.epoch > state.epoch, matches!(event, Event::Renewed { .. }), "{state:?} {event:?}");
        if let Event::Renewed { height, cause, .. } = event {
            let losses = state.losses + u32::from(*cause == Cause::Lost);
            let begun = State { epoch: state.epoch + 1, cause: Some(*cause), losses, ..State::new(*height) };
            assert_eq!(*after, begun);
            let is_early = matches!(state.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. });
            let fit = is_early || *cause == Cause::Pruned && matches!(state.phase, Phase::Syncing { .. });
            assert!(fit, "{state:?}");
        }
    });
}

#[test]
fn a_target_that_is_lost_again_and_again_is_given_up_three_times_and_then_an_operator_is_asked() {
    let mut state = State::new(Version(1));
    for losses in 1..=3 {
        // What was pruned meanwhile does not count.
        for cause in [Cause::Pruned, Cause::Lost] {
            assert!(state.outlives_loss());
            state = state.apply(&renewed(1, cause)).unwrap().apply(&Event::Snapshotted { chunks: 2 }).unwrap();
        }
        assert_eq!(state.losses, losses);
    }
    assert!(!state.outlives_loss());
    assert!(matches!(state.apply(&renewed(1, Cause::Lost)), Err(Refusal::OutOfPlace { .. })));
    state.apply(&renewed(1, Cause::Pruned)).unwrap();
}

/// Written down once more and without looking at the machine: what each of the decisive states needs to be reached.
#[test]
fn the_flip_needs_everything_restored_joined_proven_concluded_drained_and_checked() {
    explore(|state, event, outcome| {
        let Ok(after) = outcome else { return };
        let why = || format!("{state:?} {event:?}");
        if *event == Event::Joined {
            let Phase::Restoring { chunks, restored, joined: false, .. } = &state.phase else { panic!("{}", why()) };
            assert!((0..*chunks).all(|id| restored.contains(id)), "{}", why());
        }
        match (&state.phase, &after.phase) {
            (Phase::Restoring { chunks, restored, joined, proven, .. }, Phase::Syncing { height, applied }) => {
                let all = |set: &storeshift::model::ChunkSet| (0..*chunks).all(|id| set.contains(id));
                assert!(all(restored) && all(proven) && *joined && height == applied, "{}", why());
                assert!(matches!(event, Event::Concluded(_)), "{}", why());
            }
            (Phase::Done { .. }, Phase::Done { .. }) => {}
            (_, Phase::Done { version, .. }) => {
                let Phase::Switching { applied, fence, .. } = &state.phase else { panic!("{}", why()) };
                assert_eq!((applied, *fence), (version, Fence::Checked(*version)), "{}", why());
            }
            (_, Phase::Switching { fence: Fence::Checked(version), .. }) => {
                let Phase::Switching { applied, fence, .. } = &state.phase else {
                    return assert!(matches!(event, Event::Repaired { reopened: None }), "{}", why());
                };
                assert_eq!((applied, *fence), (version, Fence::Raised(*version)), "{}", why());
            }
            (before, Phase::Syncing { .. }) => {
                let from = matches!(before, Phase::Syncing { .. } | Phase::Switching { .. } | Phase::Halted { .. });
                assert!(from, "{}", why());
            }
            _ => {}
        }
    });
}

#[test]
fn a_chunk_is_proven_only_while_it_is_restored() {
    for state in explore(|_, _, _| ()) {
        let phase = match &state.phase {
            Phase::Halted { from, .. } => from,
            phase => phase,
        };
        if let Phase::Restoring { chunks, restored, proven, .. } = phase {
            assert!((0..*chunks).all(|id| restored.contains(id) || !proven.contains(id)), "{state:?}");
        }
    }
}

/// What the world answers to a step when nothing goes wrong; none at the end.
fn answer(state: &State) -> Option<Event> {
    let first_open = |chunks: u64, done: &storeshift::model::ChunkSet| (0..chunks).find(|id| !done.contains(*id));
    let Phase::Restoring { chunks, restored, proven, .. } = &state.phase else {
        return Some(match state.next() {
            Step::Snapshot { .. } => Event::Snapshotted { chunks: 2 },
            Step::Sync { applied } if applied.0 < NEWEST => Event::Applied { to: applied.next() },
            Step::Sync { .. } => Event::SwitchStarted,
            Step::Fence => Event::Fenced { version: Version(NEWEST) },
            Step::Drain { applied, .. } => Event::Applied { to: applied.next() },
            Step::Check { .. } => Event::Checked(verified()),
            Step::Flip { .. } => Event::Flipped,
            Step::Wait(_) => Event::Repaired { reopened: None },
            _ => return None,
        });
    };
    Some(match state.next() {
        Step::Restore { .. } => Event::Restored { chunks: first_open(*chunks, restored).into_iter().collect() },
        Step::Join { .. } => Event::Joined,
        Step::Prove { .. } => Event::Proven { chunks: first_open(*chunks, proven).into_iter().collect() },
        Step::Conclude { .. } => Event::Concluded(verified()),
        step => panic!("{step:?} in {state:?}"),
    })
}

#[test]
fn from_every_state_the_steps_lead_to_the_end_when_nothing_goes_wrong() {
    for start in explore(|_, _, _| ()) {
        let mut state = start.clone();
        let mut steps = 0;
        while let Some(event) = answer(&state) {
            state = state.apply(&event).unwrap_or_else(|refusal| panic!("{refusal}: {state:?} {event:?}"));
            steps += 1;
            assert!(steps < 40, "{start:?} goes on for ever");
        }
        let aborted = start.phase == Phase::Aborted;
        assert_eq!(matches!(state.phase, Phase::Done { .. }), !aborted, "{start:?} ended in {state:?}");
    }
}
