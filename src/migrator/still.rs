//! A database that stood still when a job was opened on it, and whose node may be started all the same.
//!
//! Owns the fence of such a database: its lock, taken for the switch, and the certainty that nothing was written since it was
//! opened. A node that was started meanwhile has versions that the job knows nothing of.

use super::chain::{Chain, Fencing, Moment, Turn};
use crate::{
    error::Error,
    journal::SwitchRequest,
    model::Version,
    source::checkpoint::{Standstill, fingerprint, is_in_use},
};
use std::path::PathBuf;

/// The chain of such a database.
pub(super) struct Still {
    database: PathBuf,
    journal: PathBuf,
    /// What it looked like before it was opened.
    seen: Option<blake3::Hash>,
    switch: bool,
    standstill: Option<Standstill>,
}

impl Still {
    pub fn new(database: PathBuf, journal: PathBuf, seen: Option<blake3::Hash>, switch: bool) -> Still {
        Still { database, journal, seen, switch, standstill: None }
    }

    /// The height that was asked for, if one was. A request that is void asks for nothing.
    fn height(&self) -> Result<Option<Version>, Error> {
        let request = SwitchRequest::read(&self.journal)?.filter(SwitchRequest::is_open);
        Ok(request.and_then(|request| request.height).map(Version))
    }

    fn in_use(&self) -> Error {
        Error::Blocked {
            what: format!("a process has {} open: its node was started while it was migrated", self.database.display()),
            advice: "The chain stays on store/v1. Run the same command again: beside a running node it follows that."
                .to_owned(),
        }
    }
}

impl Chain for Still {
    fn bound(&self) -> Option<Version> {
        self.height().ok().flatten()
    }

    fn next(&mut self, moment: &Moment<'_>) -> Result<Turn, Error> {
        if !self.switch {
            return Ok(Turn::CaughtUp);
        }
        let tip = moment.feed.tip()?;
        match self.height()? {
            Some(height) if height != tip => Err(Error::Blocked {
                what: format!("the switch is asked for at version {height}, and the database stands at {tip}"),
                advice: "The chain stays on store/v1. Start the node with halt-height set to that version and run storeshift beside \
                         it, or take the request back with `storeshift switch --cancel` (and leave --switch-at out)."
                    .to_owned(),
            }),
            _ => Ok(Turn::Switch),
        }
    }

    fn fence(&mut self, moment: &Moment<'_>) -> Result<Fencing, Error> {
        match Standstill::take(&self.database) {
            Ok(Some(standstill)) => self.standstill = Some(standstill),
            Ok(None) => return Err(self.in_use()),
            // A copy on a file system without locks, or whose lock is not for us to open.
            Err(error) if is_in_use(&self.database) => return Err(crate::source::SourceError::from(error).into()),
            Err(error) => tracing::warn!(%error, "the database's lock could not be taken"),
        }
        if self.seen.is_none() || fingerprint(&self.database) != self.seen {
            return Err(Error::Blocked {
                what: format!("{} was written to since this run opened it", self.database.display()),
                advice: "The chain stays on store/v1. Run the same command again: it goes on with what is new."
                    .to_owned(),
            });
        }
        Ok(Fencing::Raised(moment.feed.tip()?))
    }

    fn lift(&mut self, _: &str) {
        self.standstill = None;
    }

    fn switched(&mut self, _: Version) {
        if let Err(error) = SwitchRequest::remove(&self.journal) {
            tracing::warn!(%error, "the request to switch could not be removed; it is done");
        }
    }
}
