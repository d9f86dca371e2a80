//! The library's error: what happened, and by its kind what to do now.

use crate::{
    iavl::{ProveError, tree::TreeError},
    journal::JournalError,
    machine::Refusal,
    model::Verdict,
    phases::PhaseError,
    plan::PlanError,
    source::{SourceError, checkpoint::CheckpointError, lsm::LsmError},
    target::TargetError,
};

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bug in storeshift: report it.
    Bug,
    /// The plan or the options are wrong: correct them.
    Usage,
    /// Stopped cleanly, or the environment failed: run again to continue.
    Retry,
    /// Blocked: somebody must act first.
    Blocked,
    /// Data disagrees: damage, or a mismatch with store/v1.
    Disagrees,
}

/// Anything that ends a run early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan is not one.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The target could not be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The journal could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A step could not be carried out.
    #[error(transparent)]
    Phase(PhaseError),
    /// The machine refused an event.
    #[error("the machine refused what happened: {0}")]
    Refusal(#[from] Refusal),
    /// An invariant was broken.
    #[error("an invariant was broken: {0}")]
    Invariant(&'static str),
    /// A person has to act first.
    #[error("{what}")]
    Blocked {
        /// What is in the way.
        what: String,
        /// What to do about it.
        advice: String,
    },
    /// The job was halted by a verdict, in this run or before.
    #[error("{0}")]
    Halted(Verdict),
    /// Verifying found the target unsound.
    #[error("{0}")]
    Unsound(Verdict),
    /// Examining found the source damaged; the report says how.
    #[error("{0}")]
    Diagnosed(String),
    /// Somebody asked to stop.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl From<PhaseError> for Error {
    fn from(error: PhaseError) -> Error {
        match error {
            PhaseError::Source(error) => Error::Source(error),
            PhaseError::Target(error) => Error::Target(error),
            PhaseError::Verdict(verdict) => Error::Halted(verdict),
            PhaseError::Record(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::Journal(JournalError::Database(error.to_string())),
            },
            error => Error::Phase(error),
        }
    }
}

fn of_source(error: &SourceError) -> Kind {
    match error {
        error if error.is_corruption() => Kind::Disagrees,
        SourceError::Lsm(LsmError::Io { .. }) | SourceError::Io { .. } | SourceError::Stopped => Kind::Retry,
        SourceError::Rocks(error) if error.is_passing() => Kind::Retry,
        SourceError::Checkpoint(error) if error.is_passing() => Kind::Retry,
        _ => Kind::Blocked,
    }
}

fn of_proof(error: &ProveError) -> Kind {
    match error {
        ProveError::Read(error) if !error.corrupt => Kind::Retry,
        ProveError::Legacy { .. } => Kind::Blocked,
        _ => Kind::Disagrees,
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Error::Plan(_) => Kind::Usage,
            Error::Source(error) => of_source(error),
            Error::Target(error) => match error {
                TargetError::Corrupt { .. } | TargetError::Lost { .. } => Kind::Disagrees,
                TargetError::Read(error) if error.corrupt => Kind::Disagrees,
                TargetError::Foreign { .. } => Kind::Blocked,
                TargetError::Order => Kind::Bug,
                TargetError::Io { .. }
                | TargetError::Engine { .. }
                | TargetError::Read(_)
                | TargetError::Stopped
                | TargetError::Outage => Kind::Retry,
            },
            Error::Journal(error) => match error {
                JournalError::Damaged { .. } | JournalError::Record { .. } => Kind::Disagrees,
                JournalError::Locked { .. }
                | JournalError::Foreign { .. }
                | JournalError::Request { .. }
                | JournalError::Format { .. }
                | JournalError::Newer { .. } => Kind::Blocked,
                JournalError::Io { .. } | JournalError::Database(_) => Kind::Retry,
            },
            Error::Phase(error) => match error {
                PhaseError::Bug(_) => Kind::Bug,
                PhaseError::Stopped => Kind::Retry,
                PhaseError::Refused(_) | PhaseError::StoreKeys(_) => Kind::Blocked,
                PhaseError::Source(error) => of_source(error),
                PhaseError::Gone { .. } => Kind::Blocked,
                PhaseError::Unproven { why, .. } => of_proof(why),
                PhaseError::Tree { why, .. } => match &**why {
                    TreeError::Read(error) if !error.corrupt => Kind::Retry,
                    _ => Kind::Disagrees,
                },
                PhaseError::Damaged { .. } | PhaseError::Verdict(_) => Kind::Disagrees,
                PhaseError::Target(_) | PhaseError::Record(_) => Kind::Retry,
            },
            Error::Refusal(_) | Error::Invariant(_) => Kind::Bug,
            Error::Blocked { .. } => Kind::Blocked,
            Error::Halted(_) | Error::Unsound(_) | Error::Diagnosed(_) => Kind::Disagrees,
            Error::Stopped(_) => Kind::Retry,
        }
    }

    /// What the machine ran out of, as something to do about it. Engines hand on the operating system's words only.
    fn lack(&self) -> Option<&'static str> {
        let what = self.to_string();
        let lacks = [
            ("No space left on device", "Make room on that disk"),
            ("Disk quota exceeded", "Make room on that disk, or have the quota raised"),
            ("Read-only file system", "Have that file system mounted for writing, and see why it is not"),
            ("Permission denied", "Work as the user the migration runs as, or let this one write there"),
            ("Too many open files", "Allow the process more open files (`ulimit -n 1024`)"),
            ("Cannot allocate memory", "Give the process more memory, or --memory-mib and --workers less"),
        ];
        lacks.iter().find(|(words, _)| what.contains(words)).map(|(_, lack)| *lack)
    }

    /// What is safe now and what to do next, in a sentence or two.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Error::Blocked { advice, .. } => return advice.clone(),
            Error::Stopped(_) => {
                return "Everything finished so far is recorded. Run the same command again to continue.".to_owned();
            }
            Error::Halted(_) => {
                return "The source is untouched and store/v1 stays the store of record. Run `storeshift verify --repair` to \
                        redo damaged chunks from the source, or `storeshift abort` to wipe the target and start over."
                    .to_owned();
            }
            // A run begins anew by itself where it may.
            Error::Target(TargetError::Lost { .. }) => {
                return "The source is untouched, and nothing of the target was removed. An engine that cannot be opened cannot be mended \
                        either. Before the switch run `storeshift abort` and the same command again, which begins anew; after it keep \
                        nodes off this target, and put a copy of it back. See whether its disk has reported errors."
                    .to_owned();
            }
            Error::Unsound(_) | Error::Target(TargetError::Corrupt { .. }) => {
                return "The source is untouched. Keep nodes off this target, and run `storeshift verify --repair --source DIR` \
                        to redo what is damaged from the source; if that does not help, migrate into a new target on a disk \
                        you trust."
                    .to_owned();
            }
            Error::Source(SourceError::Checkpoint(error)) if !error.is_corruption() => {
                let what = match error {
                    CheckpointError::NoLinks { .. } | CheckpointError::NoRoom { .. } => {
                        "Give --checkpoint a directory of yours on the disk of the database, whose files you may link; or make \
                         room, stop the node, or give a copy."
                    }
                    CheckpointError::Foreign { .. } => {
                        "Choose another directory, or remove that one if you know what it is."
                    }
                    CheckpointError::Restless { .. } => "Run again when the node is less busy, or stop it.",
                    _ => "Stop the node, or give a copy of its database.",
                };
                return format!("The node and its database are untouched. {what}");
            }
            Error::Journal(JournalError::Request { .. }) => {
                return "The chain stays on store/v1, and everything finished so far is recorded. Take the request back with \
                        `storeshift switch --cancel`, or carry it out with the release that made it."
                    .to_owned();
            }
            Error::Journal(JournalError::Foreign { .. }) | Error::Target(TargetError::Foreign { .. }) => {
                return "The source is untouched, and nothing was written by this command. What a job writes and removes must be \
                        its own, and in the target itself: see what that is, and remove it or choose another target directory."
                    .to_owned();
            }
            Error::Journal(JournalError::Locked { .. }) => {
                return "Wait for the other process, or stop it; `storeshift status` shows what it is doing."
                    .to_owned();
            }
            Error::Journal(JournalError::Damaged { .. } | JournalError::Record { .. }) => {
                return "The source is untouched. The target cannot be continued without its journal: remove the target \
                        directory and start over, on a disk you trust."
                    .to_owned();
            }
            Error::Journal(JournalError::Newer { release, .. }) => {
                return format!("Nothing was changed. Continue with storeshift {release} or later.");
            }
            // Only `doctor` meets it: the other commands make their checkpoint by themselves.
            Error::Source(SourceError::InUse(_)) => {
                return "Nothing was written. With --checkpoint DIR, a directory on the same disk, a checkpoint of it is examined \
                        while the node goes on."
                    .to_owned();
            }
            Error::Source(SourceError::Damaged { .. }) => {
                return "The source is untouched, and nothing of the damaged part was written. Put a good copy in its place and \
                        run the same command again."
                    .to_owned();
            }
            Error::Source(_)
            | Error::Phase(PhaseError::Unproven { .. } | PhaseError::Source(_) | PhaseError::Damaged { .. })
                if self.kind() == Kind::Disagrees =>
            {
                return "Nothing wrong was written: chunks are proven before they are recorded. The database given as the \
                        source is damaged: `storeshift doctor --source DIR` names all of it, and the versions that are whole. \
                        Put a good copy of the same database in its place and run the same command again."
                    .to_owned();
            }
            Error::Phase(PhaseError::Refused(_)) => {
                return "The source is untouched, and nothing was written by this command. `storeshift doctor --source DIR` \
                        examines the database and says which versions can be migrated."
                    .to_owned();
            }
            Error::Diagnosed(_) => {
                return "Nothing was written. Take the database from a node or a backup that is whole, and examine it again; a \
                        version that is whole itself can be migrated only if all later ones are, too."
                    .to_owned();
            }
            Error::Phase(PhaseError::Unproven { .. } | PhaseError::Gone { .. }) if self.kind() == Kind::Blocked => {
                return "The source is untouched. What was finished before stays recorded in the target; `storeshift abort` \
                        wipes it."
                    .to_owned();
            }
            _ => {}
        }
        if let Some(lack) = self.lack().filter(|_| self.kind() == Kind::Retry) {
            return format!(
                "Everything finished so far is recorded. {lack}, then run the same command again to continue."
            );
        }
        match self.kind() {
            Kind::Bug => "The source is untouched. Please report this with the output of `storeshift journal`.",
            Kind::Usage => {
                "Nothing was changed. Correct it and run again; `storeshift run --help` explains every option."
            }
            Kind::Retry => "Everything finished so far is recorded. Run the same command again to continue.",
            Kind::Blocked => "The source is untouched, and nothing was written by this command.",
            Kind::Disagrees => "The source is untouched.",
        }
        .to_owned()
    }
}
