//! Where a job reads: the database itself, or a checkpoint of it if a node has it open.
//!
//! Owns where checkpoints lie, when one is made, when an earlier one serves, and that those that serve for a moment only go
//! again. The path of a source is no part of a job; what binds a checkpoint to it are the chain's app hashes, as for any copy.

use crate::{
    error::Error,
    journal::Journal,
    machine::{Phase, State},
    model::Version,
    plan::{Paths, Tuning},
    source::{
        self, Source,
        checkpoint::{self, Checkpoint, Request},
    },
    target::Place,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Name of a checkpoint in a directory that the operator chose; what follows tells targets apart.
const CHOSEN: &str = "storeshift-checkpoint-";
/// Between a checkpoint's name and the process that needs it for a moment.
const MOMENT: &str = "-of-process-";

/// Where a job reads.
#[derive(Debug)]
pub(super) struct Reading {
    /// The directory to open.
    pub(super) path: PathBuf,
    /// The checkpoint, if it is one.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Whether it was made just now.
    pub(super) is_new: bool,
}

/// Whether a checkpoint is to be read: a node is running, or the operator said where to make one.
pub(super) fn is_live(paths: &Paths) -> bool {
    // Nobody writes to a snapshot.
    !source::snapshot::recognises(&paths.source) && (paths.checkpoint.is_some() || checkpoint::is_in_use(&paths.source))
}

/// Where the checkpoint of a job lies.
pub(super) fn place_of(paths: &Paths, place: &Place) -> PathBuf {
    match &paths.checkpoint {
        None => place.checkpoint(),
        Some(directory) => {
            let digest = blake3::hash(place.root().as_os_str().as_encoded_bytes()).to_hex();
            directory.join(format!("{CHOSEN}{}", digest.get(..12).unwrap_or_default()))
        }
    }
}

/// For a job that does not exist yet. The caller holds the target's lock if the source is live.
pub(super) fn begin(paths: &Paths, place: &Place, tuning: Tuning) -> Result<Reading, Error> {
    if !is_live(paths) {
        return Ok(Reading { path: paths.source.clone(), checkpoint: None, is_new: false });
    }
    take(&paths.source, &place_of(paths, place), tuning, true)
}

/// For a job that exists: the checkpoint it has, another one if that is gone, or the source itself if that stands still.
pub(super) fn resume(paths: &Paths, place: &Place, tuning: Tuning, journal: &Journal) -> Result<Reading, Error> {
    let into = place_of(paths, place);
    let recorded = journal.checkpoint()?;
    for candidate in recorded.iter().chain([&into]) {
        if let Some(found) = checkpoint::find(candidate).filter(|found| found.source == paths.source) {
            if recorded.as_ref() != Some(candidate) {
                journal.set_checkpoint(Some(candidate))?;
            }
            return Ok(Reading { path: candidate.clone(), checkpoint: Some(found), is_new: false });
        }
    }
    if !is_live(paths) {
        return Ok(Reading { path: paths.source.clone(), checkpoint: None, is_new: false });
    }
    if let Some(before) = recorded.filter(|before| *before != into) {
        checkpoint::remove(&before).map_err(source::SourceError::from)?;
    }
    // Recorded before it is made, so that an abort finds what a crash left of it.
    journal.set_checkpoint(Some(&into))?;
    take(&paths.source, &into, tuning, true)
}

/// Removes a job's checkpoint, wherever it is.
pub(super) fn discard(place: &Place, journal: &Journal) -> Result<(), Error> {
    let recorded = journal.checkpoint()?;
    for directory in recorded.iter().chain([&place.checkpoint()]) {
        checkpoint::remove(directory).map_err(source::SourceError::from)?;
    }
    if recorded.is_some() {
        journal.set_checkpoint(None)?;
    }
    Ok(())
}

fn take(source: &Path, into: &Path, tuning: Tuning, copies: bool) -> Result<Reading, Error> {
    let taken = checkpoint::take(&Request { source, into, reserve: tuning.reserve, copies });
    let taken = taken.map_err(source::SourceError::from)?;
    Ok(Reading { path: into.to_owned(), checkpoint: Some(taken), is_new: true })
}

/// A checkpoint that goes when this is dropped, and directories that were made for it.
pub struct Held(Option<Checkpoint>, Vec<PathBuf>);

impl Held {
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.0.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(checkpoint) = &self.0
            && let Err(error) = checkpoint::remove(&checkpoint.path)
        {
            tracing::warn!(%error, "a checkpoint that is not needed any more could not be removed");
        }
        // Only those that are empty go.
        self.1.iter().for_each(|directory| drop(fs::remove_dir(directory)));
    }
}

/// Where to read for a moment: through a checkpoint if a node has the source open. Tables are linked for that, never copied.
pub(super) fn for_a_moment(paths: &Paths, place: &Place, tuning: Tuning) -> Result<(PathBuf, Held), Error> {
    if !is_live(paths) {
        return Ok((paths.source.clone(), Held(None, Vec::new())));
    }
    let mut into = place_of(paths, place).into_os_string();
    clear_moments(Path::new(&into));
    into.push(format!("{MOMENT}{}", std::process::id()));
    let into = PathBuf::from(into);
    let made = into.ancestors().skip(1).take_while(|directory| !directory.exists()).map(Path::to_owned).collect();
    let mut held = Held(None, made);
    held.0 = take(&paths.source, &into, tuning, false)?.checkpoint;
    Ok((into, held))
}

/// Removes what processes that are gone have left beside a checkpoint.
pub(super) fn clear_moments(checkpoint: &Path) {
    let (Some(directory), Some(name)) = (checkpoint.parent(), checkpoint.file_name()) else { return };
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process =
            found.to_str().zip(name.to_str()).and_then(|(found, name)| found.strip_prefix(name)?.strip_prefix(MOMENT));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // It costs space and nothing else; whoever looks next tries again.
            let _ = checkpoint::remove(&entry.path());
        }
    }
}

/// Checks that a checkpoint made for a job that is half done still has what the job has to read.
///
/// # Errors
/// [`Error::Blocked`]: the node has pruned it since.
pub(super) fn check_retained(state: &State, source: &dyn Source) -> Result<(), Error> {
    let (version, what) = match &state.phase {
        Phase::Snapshotting { height } => (*height, "of which the snapshot is to be taken"),
        Phase::Restoring { height, chunks, restored, .. } if restored.count() < *chunks => {
            (*height, "of which chunks are still to be read")
        }
        Phase::Syncing { applied, .. } if *applied < source.latest()? => {
            (Version(applied.0 + 1), "which is the next one to be applied")
        }
        _ => return Ok(()),
    };
    let Some(info) = source.commit_info(version)? else { return Err(pruned(version, what)) };
    for store in &info.stores {
        if source.root(&store.name, version)?.is_none() {
            return Err(pruned(version, what));
        }
    }
    Ok(())
}

fn pruned(version: Version, what: &str) -> Error {
    Error::Blocked {
        what: format!(
            "the checkpoint this job was reading is gone, and the node has pruned version {version} since, {what}: another \
             checkpoint does not have it"
        ),
        advice: "The node and its database are untouched. Give --source a copy of the database that still has that version, \
                 or run `storeshift abort` and begin anew; the checkpoint that is made then must stay until the job is done."
            .to_owned(),
    }
}
