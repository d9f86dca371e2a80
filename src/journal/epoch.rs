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
