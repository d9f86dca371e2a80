//! Any events in any order: invariants hold, refusals change nothing, and from wherever one is the steps lead on.

use storeshift::{
    machine::{Cause, Event, Phase, State, Step, Verified, invariants},
    model::{Hash, Verdict, Version},
};

pub fn run(data: &[u8]) {
    let Some((height, mut data)) = data.split_first() else { return };
    let mut state = State::new(Version(u64::from(*height) + 1));
    while let Some((event, rest)) = event(data) {
        data = rest;
        let before = state.clone();
        let outcome = state.apply(&event);
        assert_eq!(state, before);
        if let Err(broken) = invariants::check(&state, &event, &outcome) {
            panic!("{broken}: {state:?} {event:?}");
        }
        if let Ok(after) = outcome {
            assert!(after.rank() > state.rank());
            state = after;
        }
        let step = state.next();
        let over = matches!(state.phase, Phase::Done { .. } | Phase::Aborted);
        assert_eq!(over, matches!(step, Step::Finished | Step::Wipe));
    }
}

fn event(data: &[u8]) -> Option<(Event, &[u8])> {
    let (&kind, data) = data.split_first()?;
    let (&value, data) = data.split_first().unwrap_or((&0, data));
    // Small numbers mostly, and now and then one at the end of the range.
    let number = if value == 255 { u64::MAX } else { u64::from(value % 16) };
    let version = Version(number);
    let chunks = || -> Vec<u64> { (0..8).filter(|bit| value >> bit & 1 == 1).collect() };
    let verified = Verified::compare(Hash::EMPTY, Hash::EMPTY).unwrap_or(Verified::pairs_only());
    let event = match kind % 16 {
        0 => Event::Snapshotted { chunks: number },
        1 | 14 => Event::Restored { chunks: chunks() },
        2 => Event::Joined,
        3 | 15 => Event::Proven { chunks: chunks() },
        4 => Event::Concluded(verified),
        5 => Event::Applied { to: version },
        6 => Event::SwitchStarted,
        7 => Event::Fenced { version },
        8 => Event::Checked(Verified::pairs_only()),
        9 => Event::Flipped,
        10 if value % 4 == 3 => {
            let cause = if value % 8 == 3 { Cause::Pruned } else { Cause::Lost };
            Event::Renewed { height: Version(number | 1), cause, why: String::new() }
        }
        10 => Event::SwitchUndone { why: String::new() },
        11 => {
            Event::Halted(Verdict::Root { store: "bank".into(), version, expected: Hash::EMPTY, found: Hash([1; 32]) })
        }
        12 => Event::Repaired { reopened: (value & 1 == 1).then_some(number >> 1) },
        // Rarely, or every input ends here.
        13 if value == 13 => Event::Aborted,
        13 if value == 14 => Event::Returned,
        13 if value == 15 => Event::Finished,
        _ => Event::Restored { chunks: vec![number, number.saturating_sub(1)] },
    };
    Some((event, data))
}
