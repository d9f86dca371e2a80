//! The record of what began an epoch. It came after journal format 1 was frozen and changes nothing of it: a journal without one does
//! not say, and a release that does not know it passes it over. So it names its epoch, and says nothing of a later one.

use super::JournalError;
use crate::machine::{Cause, State};
use serde::{Deserialize, Serialize};

/// Where it lies among the single records.
pub(super) const PLACE: &str = "epoch";

/// What began an epoch.
#[derive(Serialize, Deserialize)]
pub(super) struct Epoch1 {
    epoch: u32,
    /// 0: pruned, 1: lost.
    cause: u8,
    losses: u32,
}

impl Epoch1 {
    /// What began the epoch of a state; none for the first one.
    pub(super) fn of(state: &State) -> Option<Epoch1> {
        let cause = match state.cause? {
            Cause::Pruned => 0,
            Cause::Lost => 1,
        };
        Some(Epoch1 { epoch: state.epoch, cause, losses: state.losses })
    }

    /// Completes a state by it.
    pub(super) fn complete(self, state: State) -> Result<State, JournalError> {
        let cause = match self.cause {
            _ if self.epoch != state.epoch => None,
            0 => Some(Cause::Pruned),
            1 => Some(Cause::Lost),
            _ => {
                let what = "names an unknown cause".to_owned();
                return Err(JournalError::Record { place: PLACE.to_owned(), what });
            }
        };
        // Those of earlier epochs count, too.
        Ok(State { cause, losses: self.losses, ..state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::codec,
        machine::{Phase, State},
        model::Version,
    };

    fn state(epoch: u32, cause: Option<Cause>, losses: u32) -> State {
        State { epoch, cause, losses, attempt: 0, phase: Phase::Snapshotting { height: Version(5) } }
    }

    /// Through the bytes, as a journal has them, and back.
    fn kept(record: &Epoch1) -> Epoch1 {
        codec::decode(PLACE, &codec::encode(PLACE, record).unwrap()).unwrap()
    }

    #[test]
    fn what_began_an_epoch_is_said_of_that_one_and_losses_count_in_later_ones_too() {
        for cause in [Cause::Pruned, Cause::Lost] {
            let begun = Epoch1::of(&state(4, Some(cause), 3)).unwrap();
            assert_eq!(kept(&begun).complete(state(4, None, 0)).unwrap(), state(4, Some(cause), 3));
            for later in [3, 5] {
                assert_eq!(kept(&begun).complete(state(later, None, 0)).unwrap(), state(later, None, 3));
            }
        }
        assert!(Epoch1::of(&state(1, None, 0)).is_none());
    }

    #[test]
    fn a_cause_that_this_release_does_not_know_is_refused_for_its_own_epoch() {
        let unknown = || Epoch1 { epoch: 4, cause: 2, losses: 1 };
        let error = unknown().complete(state(4, None, 0)).unwrap_err();
        assert!(matches!(&error, JournalError::Record { place, .. } if place == PLACE), "{error}");
        assert!(error.to_string().contains("unknown cause"), "{error}");
        assert_eq!(unknown().complete(state(5, None, 0)).unwrap(), state(5, None, 1));
    }
}
