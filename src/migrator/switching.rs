//! Where job and chain meet: what comes next when everything is applied, and the switch, whose three ends are Done, back to Syncing,
//! and Halted.
//!
//! Owns what is asked of the chain and in which order. While it stands still as little as possible is done: the engines have their
//! final form before, and what becomes true is recorded in one transaction.

use super::{
    Migrator, Outcome,
    chain::{Chain, Fencing, Moment, Turn},
    recorded,
};
use crate::{
    error::Error,
    journal::Writes,
    machine::Event,
    model::Version,
    phases::{self, PhaseError},
};

impl Migrator {
    fn ask<T>(
        &mut self,
        applied: Version,
        question: impl FnOnce(&mut dyn Chain, &Moment<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Migrator { chain, recorder, target, feed, stop, progress, .. } = self;
        question(
            chain.as_mut(),
            &Moment { applied, state: recorder.state(), target, feed: feed.as_ref(), stop, progress },
        )
    }

    /// Everything that is known is applied: the chain says what to do.
    pub(super) fn turn(&mut self, applied: Version) -> Result<Option<Outcome>, PhaseError> {
        match self.ask(applied, |chain, moment| chain.next(moment)).map_err(recorded)? {
            Turn::More => {}
            Turn::Settle => self.settle(applied)?,
            Turn::Switch => self.recorder.record_in_phase(&Event::SwitchStarted, &Writes::Nothing)?,
            Turn::CaughtUp => {
                self.settle(applied)?;
                return Ok(Some(Outcome::CaughtUp { version: applied }));
            }
            Turn::Enter((source, feed), checkpoint) => {
                (self.source, self.feed) = (source, feed);
                self.checkpoint = Some((checkpoint, true));
            }
            Turn::Renew(entered, checkpoint, why) => self.renew(entered, checkpoint, &why).map_err(recorded)?,
        }
        Ok(None)
    }

    /// A switch ended with an error.
    pub(super) fn give_way(&mut self, error: &PhaseError) {
        if std::mem::take(&mut self.is_sealed) && matches!(error, PhaseError::Record(_)) {
            // Nobody knows whether the flip is recorded, until the journal is opened anew.
            return self.chain.doubt();
        }
        let why = error.to_string();
        match error {
            // It is recorded as what it is.
            PhaseError::Verdict(_) => self.chain.lift(&why),
            _ => drop(self.undo(why)),
        }
    }

    /// Gives the switch up: the chain goes on with store/v1, and so does the job with syncing.
    fn undo(&mut self, why: String) -> Result<(), Error> {
        tracing::warn!(%why, "the switch was undone");
        // First, so that the chain goes on even if the journal fails.
        self.chain.lift(&why);
        self.recorder.record(&Event::SwitchUndone { why }, &Writes::Nothing)
    }

    /// Stops the chain. Where it stands at what is applied, the rest of the switch follows at once.
    pub(super) fn fence(&mut self) -> Result<(), PhaseError> {
        let applied = self.recorder.state().phase.applied().unwrap_or_default();
        match self.ask(applied, |chain, moment| chain.fence(moment)).map_err(recorded)? {
            Fencing::Raised(version) if version == applied => {
                let verified = phases::switch::check(&self.target, version, self.app_hash(version)?)?;
                self.flip(version, &[Event::Fenced { version }, Event::Checked(verified), Event::Flipped])
            }
            Fencing::Raised(version) => self.recorder.record_in_phase(&Event::Fenced { version }, &Writes::Nothing),
            Fencing::Refused(why) => self.undo(why).map_err(recorded),
        }
    }

    /// Records the switch, and tells the chain.
    pub(super) fn flip(&mut self, version: Version, events: &[Event]) -> Result<(), PhaseError> {
        if self.chain.hands_over() {
            // Everything goes from the engines' logs into tables first: an older RocksDB that opens the target later may not know
            // this one's log records.
            self.settle(version)?;
        }
        if !self.chain.seal(&mut self.target).map_err(recorded)? {
            return self.undo("the chain did not wait for it any longer".to_owned()).map_err(recorded);
        }
        self.is_sealed = true;
        self.recorder.record_all(events, &Writes::Nothing).map_err(recorded)?;
        self.is_sealed = false;
        self.chain.switched(version);
        Ok(())
    }
}
