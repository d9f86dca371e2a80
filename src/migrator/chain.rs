//! The chain whose state moves, as far as a migration has to do with it: what there is to do once everything it is known to have
//! committed is applied, and how it is stopped for the switch.
//!
//! Owns the interface between the driver and whoever knows the chain. A database that stands still is the simplest of all; one
//! whose node runs is followed (`follow`), and a node that embeds this library has its own.

use super::{entrance::Entered, follow::Following};
use crate::{
    error::Error,
    journal::Job,
    machine::State,
    model::Version,
    progress::{Progress, Stop},
    source::{Feed, checkpoint::Checkpoint},
    target::Target,
};
use std::sync::{Arc, Mutex};

/// Where a job stands when it asks its chain what to do.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The newest version applied; everything that is known is.
    pub applied: Version,
    /// The job's state.
    pub state: &'a State,
    /// What was migrated so far.
    pub target: &'a Target,
    /// What versions come from now.
    pub feed: &'a dyn Feed,
    /// Heeded while waiting.
    pub stop: &'a Stop,
    /// What has been done.
    pub progress: &'a Progress,
}

/// What a job does when everything is applied that it knows of.
pub enum Turn {
    /// It ends here, and may go on another time.
    CaughtUp,
    /// It begins the switch.
    Switch,
    /// It looks again: something has changed.
    More,
    /// It brings the engines into the form in which they are handed over, and looks again.
    Settle,
    /// It reads on here, where there is more.
    Enter(Entered, Checkpoint),
    /// It begins anew with a snapshot of what is here: versions that it needs are gone, for this reason.
    Renew(Entered, Option<Checkpoint>, String),
}

/// What came of trying to stop the chain.
pub enum Fencing {
    /// It stands at this version until [`Chain::lift`], or for good.
    Raised(Version),
    /// It could not be stopped now, for this reason, and goes on.
    Refused(String),
}

/// A chain whose state is migrated.
pub trait Chain: Send {
    /// The version beyond which nothing may be applied, because the switch is to be there.
    fn bound(&self) -> Option<Version> {
        None
    }

    /// What to do next. May wait; heeds the request to stop.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what keeps the job from going on.
    fn next(&mut self, moment: &Moment<'_>) -> Result<Turn, Error>;

    /// Stops the chain's commits to store/v1.
    ///
    /// # Errors
    /// It is not known whether it stands. [`Chain::lift`] follows.
    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error>;

    /// Everything up to this version is applied and recorded.
    fn applied(&mut self, version: Version) {
        let _ = version;
    }

    /// Whether to begin the switch although versions up to `tip` are still to be applied: while the chain stands still for it.
    fn would_switch(&self, applied: Version, tip: Version) -> bool {
        let _ = (applied, tip);
        false
    }

    /// Whether the engines are handed over to another release, and have to be brought into the form for that.
    fn hands_over(&self) -> bool {
        true
    }

    /// The switch is about to be recorded: from here on the chain stands still until it is told how that went. May take the
    /// engines. False if it does not stand still any more.
    ///
    /// # Errors
    /// The chain cannot go on with what is in the engines.
    fn seal(&mut self, target: &mut Target) -> Result<bool, Error> {
        let _ = target;
        Ok(true)
    }

    /// Whether the switch is recorded is not known.
    fn doubt(&mut self) {}

    /// The switch did not come about, for this reason: the chain goes on with store/v1.
    fn lift(&mut self, why: &str) {
        let _ = why;
    }

    /// The job has begun anew with the snapshot that it names now.
    fn renewed(&mut self, job: &Job) {
        let _ = job;
    }

    /// The job is halted, for this reason: what was asked of it will not be done.
    fn halted(&mut self, why: &str) {
        let _ = why;
    }

    /// The switch is recorded: the chain is on store/v2 from this version on.
    fn switched(&mut self, version: Version) {
        let _ = version;
    }

    /// What an operator is shown of it, if it is followed.
    fn report(&self) -> Option<Arc<Mutex<Following>>> {
        None
    }
}

/// A chain whose database stands still.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Whether to switch once everything is applied.
    pub switch: bool,
}

impl Chain for Standing {
    fn next(&mut self, _: &Moment<'_>) -> Result<Turn, Error> {
        Ok(if self.switch { Turn::Switch } else { Turn::CaughtUp })
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        // Nothing writes to a database that stands still, or to a checkpoint, so it is fenced where it is.
        Ok(Fencing::Raised(moment.feed.tip()?))
    }
}
