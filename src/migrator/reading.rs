//! Where a job reads: the database itself, or a checkpoint of it if a node has it open.
//!
//! Owns where checkpoints lie, when the first is made, when an earlier one serves, and that those that serve for a moment only go
//! again. The path of a source is no part of a job; what binds a checkpoint to it are the chain's app hashes, as for any copy.

use super::entrance::Entered;
use crate::{
    disk,
    error::Error,
    journal::Journal,
    machine::{Phase, State},
    model::Version,
    phases,
    plan::{Paths, Tuning},
    source::{
        self, Source, SourceError,
        checkpoint::{self, Checkpoint, Request, Trail},
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
    /// What a database that stands still looked like before it was opened.
    pub(super) fingerprint: Option<blake3::Hash>,
    /// The checkpoint, if it is one.
    pub(super) checkpoint: Option<Taken>,
    /// Whether it was made just now.
    pub(super) is_new: bool,
}

/// A checkpoint in the trail of a job.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) trail: Trail,
    pub(super) number: u64,
    pub(super) checkpoint: Checkpoint,
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
        return Ok(standing(paths));
    }
    let trail = Trail::under(&place_of(paths, place));
    trail.remove().map_err(SourceError::from)?;
    take(paths, trail, tuning)
}

/// For a job that exists: the oldest of its checkpoints that `serves`, as which it then is opened; another one if none does, or
/// the source itself if that stands still and is not to be followed.
pub(super) fn resume(
    paths: &Paths,
    place: &Place,
    tuning: Tuning,
    journal: &Journal,
    serves: &dyn Fn(&Path) -> Result<Option<Entered>, Error>,
) -> Result<(Reading, Option<Entered>), Error> {
    let into = place_of(paths, place);
    let recorded = journal.checkpoint()?;
    for candidate in recorded.iter().chain([&into]) {
        let trail = Trail::under(candidate);
        let mut found = trail.list().map_err(SourceError::from)?;
        found.retain(|(_, found)| found.source == paths.source);
        let mut chosen = None;
        // One that was done with may be there still, because it could not be removed; and one after which a job was to begin anew
        // has not what the job needs, if it ended before it had recorded that.
        for (number, checkpoint) in &found {
            if let Some(entered) = serves(&checkpoint.path)? {
                chosen = Some(((*number, checkpoint.clone()), Some(entered)));
                break;
            }
        }
        if !tuning.follow {
            // Only what there is will do, and what is missing is said.
            chosen = chosen.or_else(|| found.pop().map(|newest| (newest, None)));
        }
        if let Some(((number, checkpoint), entered)) = chosen {
            if recorded.as_ref() != Some(candidate) {
                journal.set_checkpoint(Some(candidate))?;
            }
            let path = checkpoint.path.clone();
            let checkpoint = Some(Taken { trail, number, checkpoint });
            return Ok((Reading { path, fingerprint: None, checkpoint, is_new: false }, entered));
        }
    }
    let is_followed = tuning.follow && recorded.is_some();
    if !is_live(paths) && !is_followed {
        return Ok((standing(paths), None));
    }
    if let Some(before) = recorded.filter(|before| *before != into) {
        Trail::under(&before).remove().map_err(SourceError::from)?;
    }
    // Recorded before it is made, so that an abort finds what a crash left of it.
    journal.set_checkpoint(Some(&into))?;
    let trail = Trail::under(&into);
    trail.remove().map_err(SourceError::from)?;
    Ok((take(paths, trail, tuning)?, None))
}

/// Removes a job's checkpoints, wherever they are.
pub(super) fn discard(place: &Place, journal: &Journal) -> Result<(), Error> {
    let recorded = journal.checkpoint()?;
    for directory in recorded.iter().chain([&place.checkpoint()]) {
        Trail::under(directory).remove().map_err(SourceError::from)?;
    }
    if recorded.is_some() {
        journal.set_checkpoint(None)?;
    }
    Ok(())
}

fn standing(paths: &Paths) -> Reading {
    let fingerprint = checkpoint::fingerprint(&paths.source);
    Reading { path: paths.source.clone(), fingerprint, checkpoint: None, is_new: false }
}

fn take(paths: &Paths, trail: Trail, tuning: Tuning) -> Result<Reading, Error> {
    let (number, checkpoint) = trail.take(&paths.source, tuning.reserve, None).map_err(SourceError::from)?;
    let path = checkpoint.path.clone();
    Ok(Reading { path, fingerprint: None, checkpoint: Some(Taken { trail, number, checkpoint }), is_new: true })
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
        self.1.iter().for_each(|directory| drop(disk::remove_directory(directory)));
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
    let taken =
        checkpoint::take(&Request { source: &paths.source, into: &into, reserve: tuning.reserve, copies: false });
    held.0 = Some(taken.map_err(SourceError::from)?);
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

/// Which version a job that is half done has to read and a source does not have, and what for; none if it has all of them.
///
/// # Errors
/// The source could not be read.
pub(super) fn missing(state: &State, source: &dyn Source) -> Result<Option<(Version, &'static str)>, Error> {
    let (version, what) = match &state.phase {
        Phase::Snapshotting { height } => (*height, "of which the snapshot is to be taken"),
        Phase::Restoring { height, chunks, restored, .. } if restored.count() < *chunks => {
            (*height, "of which chunks are still to be read")
        }
        // What a version changed is told by the one before.
        Phase::Restoring { height, .. } if *height < source.latest()? => (*height, "which the next one is applied to"),
        Phase::Syncing { applied, .. } | Phase::Switching { applied, .. } if *applied < source.latest()? => {
            (*applied, "which the next one is applied to")
        }
        _ => return Ok(None),
    };
    Ok((!phases::snapshot::is_whole(source, version)?).then_some((version, what)))
}

pub(super) fn pruned(version: Version, what: &str) -> Error {
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
