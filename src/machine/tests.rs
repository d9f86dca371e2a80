//! What the machine says in words, what follows Done, and that the promises it is held to are noticed when they are broken: in
//! `tests/memory/machine` they never are.

use super::{Cause, Event, Fence, Phase, Refusal, State, Step, Verified, invariants};
use crate::model::{ChunkSet, Hash, Verdict, Version};

fn in_phase(phase: Phase) -> State {
    State { epoch: 1, cause: None, losses: 0, attempt: 0, phase }
}

fn set(ranges: &[(u64, u64)]) -> ChunkSet {
    ChunkSet::from_ranges(ranges.to_vec()).unwrap()
}

fn restoring(restored: &[(u64, u64)], joined: bool, proven: &[(u64, u64)]) -> Phase {
    Phase::Restoring { height: Version(5), chunks: 3, restored: set(restored), joined, proven: set(proven) }
}

fn syncing(height: u64, applied: u64) -> Phase {
    Phase::Syncing { height: Version(height), applied: Version(applied) }
}

fn switching(applied: u64, fence: Fence) -> Phase {
    Phase::Switching { height: Version(5), applied: Version(applied), fence }
}

fn done(version: u64, finished: bool) -> Phase {
    Phase::Done { height: Version(5), version: Version(version), finished }
}

fn halted(from: Phase) -> Phase {
    Phase::Halted { verdict: Verdict::Store { store: "bank".into(), what: "differs".to_owned() }, from: Box::new(from) }
}

fn verified() -> Verified {
    Verified::compare(Hash::EMPTY, Hash::EMPTY).unwrap()
}

#[test]
fn after_done_the_chain_is_given_back_or_never_will_be_and_then_nothing_follows() {
    let switched = in_phase(done(9, false));
    assert_eq!(switched.apply(&Event::Finished).unwrap(), in_phase(done(9, true)));
    assert_eq!(switched.apply(&Event::Returned).unwrap(), in_phase(Phase::Aborted));
    for event in [Event::Aborted, Event::Flipped, Event::Applied { to: Version(10) }, Event::Joined] {
        assert!(matches!(switched.apply(&event), Err(Refusal::Final { phase: "Done" })), "{event:?}");
    }
    for event in [Event::Finished, Event::Returned, Event::Aborted] {
        assert!(matches!(in_phase(done(9, true)).apply(&event), Err(Refusal::Final { phase: "Done" })), "{event:?}");
        let aborted = in_phase(Phase::Aborted).apply(&event);
        assert!(matches!(aborted, Err(Refusal::Final { phase: "Aborted" })), "{event:?}");
    }
}

#[test]
fn a_verdict_halts_any_work_where_it_stands_and_nothing_else() {
    let Phase::Halted { verdict, .. } = halted(Phase::Aborted) else { panic!() };
    let halt = Event::Halted(verdict);
    for phase in [
        Phase::Snapshotting { height: Version(5) },
        restoring(&[(0, 1)], false, &[]),
        restoring(&[(0, 3)], true, &[(0, 2)]),
        syncing(5, 8),
        switching(8, Fence::Raised(Version(9))),
    ] {
        let before = State { attempt: 2, ..in_phase(phase.clone()) };
        assert_eq!(before.apply(&halt).unwrap(), State { attempt: 2, ..in_phase(halted(phase)) });
    }
    for phase in [done(9, false), done(9, true), Phase::Aborted, halted(syncing(5, 8))] {
        in_phase(phase).apply(&halt).unwrap_err();
    }
}

#[test]
fn a_target_that_is_lost_is_begun_anew_while_nothing_rests_on_it_three_times() {
    let early = [Phase::Snapshotting { height: Version(5) }, restoring(&[(0, 3)], true, &[(0, 2)])];
    let late = [syncing(5, 8), switching(8, Fence::Raising), done(9, false), Phase::Aborted, halted(early[1].clone())];
    for (losses, goes_on) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
        let lost = Event::Renewed { height: Version(7), cause: Cause::Lost, why: "it cannot be opened".to_owned() };
        let at = |phase: &Phase| State { epoch: 6, losses, ..in_phase(phase.clone()) };
        for phase in &early {
            assert_eq!(at(phase).outlives_loss(), goes_on, "{losses}");
            let phase_after = Phase::Snapshotting { height: Version(7) };
            let begun = State { epoch: 7, cause: Some(Cause::Lost), losses: losses + 1, ..in_phase(phase_after) };
            assert_eq!(at(phase).apply(&lost).ok(), goes_on.then_some(begun), "{losses}");
        }
        for phase in &late {
            assert!(!at(phase).outlives_loss() && at(phase).apply(&lost).is_err(), "{losses}, {phase:?}");
        }
    }
}

#[test]
fn no_more_targets_were_lost_than_there_were_epochs_for_them_nor_than_are_given_up() {
    for (epoch, losses, can_be) in [
        (1, 0, true),
        (1, 1, false),
        (2, 1, true),
        (2, 2, false),
        (3, 3, false),
        (4, 3, true),
        (9, 3, true),
        (4, 4, false),
        (5, 4, false),
        (9, 4, false),
    ] {
        let state = State { epoch, losses, ..in_phase(syncing(5, 8)) };
        assert_eq!(invariants::state(&state).is_ok(), can_be, "{losses} of {epoch}");
    }
}

#[test]
fn why_an_epoch_begins_is_told() {
    assert_eq!(Cause::Pruned.to_string(), "versions that were needed had been pruned");
    assert_eq!(Cause::Lost.to_string(), "the target's files were damaged and could not be opened any more");
}

#[test]
fn a_halt_is_left_by_a_repair_or_an_abort_and_by_nothing_else() {
    let from = restoring(&[(0, 3)], true, &[(0, 2)]);
    let stopped = in_phase(halted(from.clone()));
    let repaired = |reopened| stopped.apply(&Event::Repaired { reopened }).unwrap();
    assert_eq!(repaired(None), State { epoch: 1, cause: None, losses: 0, attempt: 1, phase: from });
    assert_eq!(repaired(Some(1)).phase, restoring(&[(0, 1), (2, 3)], true, &[(0, 1)]));
    assert!(matches!(stopped.apply(&Event::Repaired { reopened: Some(7) }), Err(Refusal::NotOpen { chunk: 7, .. })));
    let synced = in_phase(halted(syncing(5, 8)));
    assert!(matches!(synced.apply(&Event::Repaired { reopened: Some(0) }), Err(Refusal::NotOpen { chunk: 0, .. })));
    assert_eq!(stopped.apply(&Event::Aborted).unwrap().phase, Phase::Aborted);
    let verdict = Verdict::Store { store: "gov".into(), what: "differs too".to_owned() };
    for event in [
        Event::Joined,
        Event::Halted(verdict),
        Event::Applied { to: Version(9) },
        Event::SwitchStarted,
        Event::Flipped,
        Event::Renewed { height: Version(9), cause: Cause::Pruned, why: "too late".to_owned() },
    ] {
        assert!(matches!(stopped.apply(&event), Err(Refusal::OutOfPlace { phase: "Halted", .. })), "{event:?}");
    }
}

#[test]
fn a_fence_below_what_is_applied_is_refused_with_both_versions() {
    let raising = in_phase(switching(8, Fence::Raising));
    let refused = Refusal::Version { version: Version(7), applied: Version(8), fence: None };
    assert_eq!(raising.apply(&Event::Fenced { version: Version(7) }), Err(refused));
    for version in [8, 9] {
        let raised = raising.apply(&Event::Fenced { version: Version(version) }).unwrap();
        assert_eq!(raised.phase, switching(8, Fence::Raised(Version(version))));
    }
    let raised = in_phase(switching(8, Fence::Raised(Version(9))));
    let refused = raised.apply(&Event::Applied { to: Version(10) }).unwrap_err();
    assert_eq!(refused.to_string(), "version 10 does not follow: 8 is applied and the fence is at 9");
}

#[test]
fn every_broken_promise_between_two_states_is_named() {
    let applied = |to| Event::Applied { to: Version(to) };
    let next_epoch = |phase| State { epoch: 2, cause: Some(Cause::Pruned), ..in_phase(phase) };
    for (before, event, after, words) in [
        (in_phase(Phase::Aborted), applied(9), in_phase(syncing(5, 9)), "after Aborted"),
        (in_phase(done(9, false)), applied(10), in_phase(done(10, false)), "does not follow it"),
        (in_phase(done(9, true)), Event::Returned, in_phase(Phase::Aborted), "ruled out"),
        (in_phase(syncing(5, 9)), applied(9), in_phase(syncing(5, 9)), "raise the rank"),
        (in_phase(syncing(5, 9)), Event::Joined, in_phase(restoring(&[], false, &[])), "raise the rank"),
        (in_phase(syncing(5, 8)), applied(9), in_phase(done(9, false)), "other than by the flip"),
        (in_phase(switching(9, Fence::Checked(Version(9)))), Event::Flipped, in_phase(Phase::Aborted), "led elsewhere"),
        (in_phase(syncing(5, 8)), applied(9), next_epoch(syncing(5, 9)), "other than with its snapshot"),
        (in_phase(syncing(5, 8)), applied(9), in_phase(syncing(6, 9)), "changed within an epoch"),
        (
            in_phase(syncing(5, 8)),
            Event::SwitchStarted,
            in_phase(switching(7, Fence::Raising)),
            "versions were taken back",
        ),
        (in_phase(syncing(5, 8)), applied(9), State { attempt: 1, ..in_phase(syncing(5, 4)) }, "taken back"),
    ] {
        let found = invariants::check(&before, &event, &Ok(after.clone()));
        assert!(found.is_err_and(|found| found.contains(words)), "{before:?} to {after:?}: {found:?}");
    }
    let refused = Err(Refusal::Final { phase: "Done" });
    assert_eq!(invariants::check(&in_phase(Phase::Aborted), &Event::Aborted, &refused), Ok(()));
    let renewed = (
        in_phase(syncing(5, 8)),
        Event::Renewed { height: Version(7), cause: Cause::Pruned, why: "too late".to_owned() },
    );
    let fresh = next_epoch(Phase::Snapshotting { height: Version(7) });
    assert_eq!(invariants::check(&renewed.0, &renewed.1, &Ok(fresh)), Ok(()));
}

#[test]
fn every_state_that_cannot_be_is_named_and_its_neighbours_are_not() {
    for (phase, words) in [
        (restoring(&[(0, 4)], true, &[]), Some("more chunks")),
        (restoring(&[(0, 3)], true, &[(0, 4)]), Some("more chunks")),
        (restoring(&[(0, 3)], true, &[(0, 3)]), None),
        (restoring(&[(0, 3)], false, &[(0, 1)]), Some("before the trees are joined")),
        (restoring(&[(0, 3)], false, &[]), None),
        (syncing(5, 4), Some("below the snapshot")),
        (syncing(5, 5), None),
        (switching(4, Fence::Raising), Some("below the snapshot")),
        (switching(5, Fence::Raising), None),
        (switching(9, Fence::Raised(Version(8))), Some("beyond the fence")),
        (switching(8, Fence::Raised(Version(8))), None),
        (switching(7, Fence::Checked(Version(8))), Some("before it was drained")),
        (switching(9, Fence::Checked(Version(8))), Some("before it was drained")),
        (switching(8, Fence::Checked(Version(8))), None),
        (done(4, false), Some("done below the snapshot")),
        (done(5, true), None),
        (halted(done(9, false)), Some("cannot halt")),
        (halted(Phase::Aborted), Some("cannot halt")),
        (halted(halted(syncing(5, 8))), Some("cannot halt")),
        (halted(syncing(5, 4)), Some("below the snapshot")),
        (halted(syncing(5, 5)), None),
        (Phase::Snapshotting { height: Version(5) }, None),
        (Phase::Aborted, None),
    ] {
        let found = invariants::state(&in_phase(phase.clone()));
        assert_eq!(found.is_err(), words.is_some(), "{phase:?}: {found:?}");
        if let (Err(found), Some(words)) = (found, words) {
            assert!(found.contains(words), "{phase:?}: {found}");
        }
    }
}

#[test]
fn ranks_rise_along_a_migration_and_a_halt_stands_right_behind_where_it_came_from() {
    let way = [
        Phase::Snapshotting { height: Version(5) },
        restoring(&[], false, &[]),
        restoring(&[(0, 1)], false, &[]),
        restoring(&[(0, 3)], false, &[]),
        restoring(&[(0, 3)], true, &[]),
        restoring(&[(0, 3)], true, &[(0, 1)]),
        syncing(5, 5),
        syncing(5, 8),
        switching(8, Fence::Raising),
        switching(8, Fence::Raised(Version(9))),
        switching(9, Fence::Raised(Version(9))),
        switching(9, Fence::Checked(Version(9))),
        done(9, false),
        done(9, true),
        Phase::Aborted,
    ];
    let ranks: Vec<_> = way.iter().map(|phase| in_phase(phase.clone()).rank()).collect();
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    for pair in way[..12].windows(2) {
        let between = in_phase(halted(pair[0].clone()));
        assert!(in_phase(pair[0].clone()).rank() < between.rank() && between.rank() < in_phase(pair[1].clone()).rank());
        // What was in force is in force still.
        assert_eq!(between.phase.height(), pair[0].height());
        assert_eq!(between.phase.applied(), pair[0].applied());
    }
    let last = State { attempt: 9, ..in_phase(Phase::Aborted) };
    let first = State { epoch: 2, ..in_phase(way[0].clone()) };
    assert!(last.rank() < first.rank() && last.rank() > ranks[14]);
}

#[test]
fn phases_and_steps_tell_people_where_a_job_stands() {
    for (phase, name, words, step) in [
        (Phase::Snapshotting { height: Version(5) }, "Snapshotting", "Snapshotting version 5", "snapshot"),
        (
            restoring(&[(0, 2)], false, &[]),
            "Restoring",
            "Restoring version 5: 2 of 3 chunks durable, 0 read back and proven",
            "restore",
        ),
        (
            restoring(&[(0, 3)], false, &[]),
            "Restoring",
            "Restoring version 5: 3 of 3 chunks durable, 0 read back and proven",
            "join",
        ),
        (
            restoring(&[(0, 3)], true, &[(0, 1)]),
            "Restoring",
            "Restoring version 5: 3 of 3 chunks durable, 1 read back and proven",
            "prove",
        ),
        (
            restoring(&[(0, 3)], true, &[(0, 3)]),
            "Restoring",
            "Restoring version 5: 3 of 3 chunks durable, 3 read back and proven",
            "conclude",
        ),
        (syncing(5, 8), "Syncing", "Syncing: snapshot 5 proven, versions up to 8 applied", "sync"),
        (switching(8, Fence::Raising), "Switching", "Switching at version 8", "fence"),
        (switching(8, Fence::Raised(Version(9))), "Switching", "Switching at version 8", "drain"),
        (switching(9, Fence::Raised(Version(9))), "Switching", "Switching at version 9", "check"),
        (switching(9, Fence::Checked(Version(9))), "Switching", "Switching at version 9", "flip"),
        (done(9, false), "Done", "Done: store/v2 is of record from version 9 on", "finish"),
        (halted(syncing(5, 8)), "Halted", "Halted in Syncing: store bank in the target: differs", "wait"),
        (Phase::Aborted, "Aborted", "Aborted", "wipe"),
    ] {
        let state = in_phase(phase);
        assert_eq!((state.phase.name(), &state.phase.to_string()[..], state.next().name()), (name, words, step));
    }
    let Step::Drain { applied, to } = in_phase(switching(8, Fence::Raised(Version(9)))).next() else { panic!() };
    assert_eq!((applied, to), (Version(8), Version(9)));
}

#[test]
fn what_was_compared_is_kept_with_the_proof_that_it_was_equal() {
    assert_eq!(verified().app_hash(), Some(Hash::EMPTY));
    assert_eq!(Verified::pairs_only().app_hash(), None);
    assert_eq!(Verified::compare(Hash::EMPTY, Hash([1; 32])), None);
}

#[test]
fn a_refusal_says_what_does_not_follow_from_what() {
    let refused = |state: &State, event: &Event| state.apply(event).unwrap_err().to_string();
    let begun = in_phase(restoring(&[(0, 1)], false, &[]));
    assert_eq!(refused(&begun, &Event::Joined), "Joined cannot happen while Restoring");
    assert_eq!(refused(&begun, &Event::Restored { chunks: vec![] }), "Restored reports nothing new");
    assert_eq!(refused(&begun, &Event::Restored { chunks: vec![0] }), "chunk 0 is not open (there are 3)");
    assert_eq!(refused(&begun, &Event::Restored { chunks: vec![1, 3] }), "chunk 3 is not open (there are 3)");
    let joined = in_phase(restoring(&[(0, 3)], true, &[(0, 1)]));
    assert_eq!(refused(&joined, &Event::Proven { chunks: vec![0] }), "chunk 0 is not open (there are 3)");
    assert_eq!(refused(&joined, &Event::Concluded(verified())), "Concluded cannot happen while Restoring");
    assert_eq!(refused(&in_phase(syncing(5, 8)), &Event::Applied { to: Version(8) }), {
        "version 8 does not follow: 8 is applied"
    });
    assert_eq!(refused(&in_phase(Phase::Aborted), &Event::Joined), "that does not follow Aborted");
}
