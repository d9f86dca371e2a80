//! What must hold of every event and every state, as predicates that tests, fuzzers and the driver call.

use super::{Event, Fence, Phase, Refusal, State};

/// Checks that an event and its outcome keep the machine's promises.
///
/// # Errors
/// The broken promise, in words.
pub fn check(before: &State, event: &Event, outcome: &Result<State, Refusal>) -> Result<(), &'static str> {
    let Ok(after) = outcome else { return Ok(()) };
    if matches!(before.phase, Phase::Aborted) {
        return Err("an event was accepted after Aborted");
    }
    if matches!(before.phase, Phase::Done { .. }) && !matches!(event, Event::Finished | Event::Returned) {
        return Err("an event was accepted after Done that does not follow it");
    }
    if matches!(before.phase, Phase::Done { finished: true, .. }) {
        return Err("the chain was given back after that was ruled out");
    }
    if after.rank() <= before.rank() {
        return Err("an accepted event did not raise the rank");
    }
    if matches!(event, Event::Flipped | Event::Finished) != matches!(after.phase, Phase::Done { .. }) {
        return Err("Done was reached other than by the flip, or the flip led elsewhere");
    }
    let is_early = matches!(before.phase, Phase::Snapshotting { .. } | Phase::Restoring { .. });
    if before.losses != after.losses && !is_early {
        return Err("a target was given up that versions had been applied to");
    }
    if before.epoch != after.epoch && !matches!(after.phase, Phase::Snapshotting { .. }) {
        return Err("an epoch began other than with its snapshot");
    }
    if let (Some(was), Some(is)) = (before.phase.height(), after.phase.height())
        && was != is
        && before.epoch == after.epoch
    {
        return Err("the snapshot version changed within an epoch");
    }
    if let (Some(was), Some(is)) = (before.phase.applied(), after.phase.applied())
        && is < was
        && before.epoch == after.epoch
    {
        return Err("applied versions were taken back");
    }
    state(after)
}

/// Checks one state on its own.
///
/// # Errors
/// The broken promise, in words.
pub fn state(state: &State) -> Result<(), &'static str> {
    if state.losses > State::MOST_LOSSES || state.losses >= state.epoch {
        return Err("more targets were lost than there were epochs for them");
    }
    phase(&state.phase)
}

fn phase(it: &Phase) -> Result<(), &'static str> {
    match it {
        Phase::Restoring { chunks, restored, joined, proven, .. } => {
            if restored.count() > *chunks || proven.count() > *chunks {
                return Err("more chunks are finished than there are");
            }
            if !joined && proven.count() > 0 {
                return Err("chunks are proven before the trees are joined");
            }
            Ok(())
        }
        Phase::Syncing { height, applied } if applied < height => Err("applied is below the snapshot"),
        Phase::Switching { height, applied, fence } => match fence {
            _ if applied < height => Err("applied is below the snapshot"),
            Fence::Raised(version) if applied > version => Err("applied is beyond the fence"),
            Fence::Checked(version) if applied != version => Err("checked before it was drained"),
            _ => Ok(()),
        },
        Phase::Done { height, version, .. } if version < height => Err("done below the snapshot"),
        Phase::Halted { from, .. } => match **from {
            Phase::Halted { .. } | Phase::Done { .. } | Phase::Aborted => Err("halted from a phase that cannot halt"),
            ref from => phase(from),
        },
        _ => Ok(()),
    }
}
