//! Recording: an event is folded into the state, checked against the invariants, and made durable in one transaction.

use crate::{
    error::Error,
    journal::{Journal, Writes},
    machine::{Event, State, invariants},
    phases::PhaseError,
};

/// Journal and state, always in step. The only code that changes either.
pub struct Recorder {
    journal: Journal,
    state: State,
    poisoned: bool,
    observer: Box<dyn Fn(&State) + Send + Sync>,
}

impl Recorder {
    /// A recorder that goes on where the journal stands.
    ///
    /// # Errors
    /// The journal's state is damaged or breaks an invariant.
    pub fn new(journal: Journal) -> Result<Recorder, Error> {
        let state = journal.state()?;
        invariants::state(&state).map_err(Error::Invariant)?;
        Ok(Recorder { journal, state, poisoned: false, observer: Box::new(|_| ()) })
    }

    /// Calls `observer` with every new state.
    pub fn observe(&mut self, observer: Box<dyn Fn(&State) + Send + Sync>) {
        self.observer = observer;
        (self.observer)(&self.state);
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The journal, to be read.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The journal itself, to be destroyed.
    #[must_use]
    pub fn into_journal(self) -> Journal {
        self.journal
    }

    /// Makes a fact durable. What it says must already be durable in the target.
    ///
    /// # Errors
    /// The event does not follow, or the journal failed. After a failed write nothing may be assumed durable, so every
    /// later call fails too: only opening the journal anew tells what is there.
    pub fn record(&mut self, event: &Event, writes: &Writes<'_>) -> Result<(), Error> {
        self.record_all(std::slice::from_ref(event), writes)
    }

    /// As [`Recorder::record`], with several facts that follow each other, in one transaction.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn record_all(&mut self, events: &[Event], writes: &Writes<'_>) -> Result<(), Error> {
        if self.poisoned {
            return Err(Error::Stopped("the journal failed earlier in this run".to_owned()));
        }
        let mut states: Vec<State> = Vec::with_capacity(events.len());
        for event in events {
            let before = states.last().unwrap_or(&self.state);
            let after = before.apply(event);
            invariants::check(before, event, &after).map_err(Error::Invariant)?;
            states.push(after?);
        }
        let all: Vec<(&Event, &State)> = events.iter().zip(&states).collect();
        if let Err(error) = self.journal.record_all(&all, writes) {
            self.poisoned = true;
            return Err(error.into());
        }
        if let Some(after) = states.pop() {
            tracing::debug!(event = events.last().map(Event::name), phase = after.phase.name(), "recorded");
            self.state = after;
        }
        (self.observer)(&self.state);
        Ok(())
    }

    /// As [`Recorder::record`], for the callbacks of phases.
    ///
    /// # Errors
    /// [`PhaseError::Record`].
    pub fn record_in_phase(&mut self, event: &Event, writes: &Writes<'_>) -> Result<(), PhaseError> {
        self.record(event, writes).map_err(|error| PhaseError::Record(Box::new(error)))
    }
}
