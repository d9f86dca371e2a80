//! A checkpoint: a database as it stands at one moment, in a directory of ours, while its node goes on writing.
//!
//! Tables are hard-linked, which costs no space and keeps them when the node compacts or prunes; logs and the manifest are
//! copied. Owns that directory and nothing else: the node's files are opened read-only, read, and linked, and no file of
//! its directory is made, changed or removed. What comes out is an ordinary database directory, cut off between two
//! batches of writes as after a power cut, which our readers open; `s/latest` in it says which version it has whole, and
//! stores may be one further.
//!
//! No lock is taken or tried, not even for an instant or shared: goleveldb and Pebble ask for theirs once, without waiting,
//! when they are opened, and a node that starts at that instant would fail.

mod edits;
mod engine;
mod error;
mod files;
mod in_use;
mod pass;
mod standstill;
mod trail;

pub use edits::Edits;
pub use engine::{fingerprint, written};
pub use error::CheckpointError;
pub use in_use::is_in_use;
pub use standstill::Standstill;
pub use trail::Trail;

use crate::disk;
use error::io;
use files::{sync, write};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::{SystemTime, UNIX_EPOCH},
};

/// Its presence makes a checkpoint complete.
const MARKER: &str = "storeshift.checkpoint";
/// Its presence says that a directory was made for a checkpoint.
const BEGUN: &str = "storeshift.checkpoint.new";

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The database directory. Its node may be running or not.
    pub source: &'a Path,
    /// The checkpoint's directory, to be created; what is left there of an earlier checkpoint is removed.
    pub into: &'a Path,
    /// Bytes of disk space to leave free, should tables have to be copied.
    pub reserve: u64,
    /// Whether tables may be copied where they cannot be linked.
    pub copies: bool,
}

/// What a checkpoint in a trail has besides.
#[derive(Clone, Copy, Debug, Default)]
struct Help<'a> {
    /// A complete checkpoint of the same database, from before, on the file system of the new one.
    earlier: Option<&'a Path>,
    /// Set once nobody needs it any more.
    ended: Option<&'a AtomicBool>,
}

/// A complete checkpoint. Kept as JSON in the marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    format: u32,
    /// Where it lies; not kept, so that it may be moved.
    #[serde(skip)]
    pub path: PathBuf,
    /// The database it was made of.
    pub source: PathBuf,
    /// The engine's name.
    pub engine: String,
    /// Unix seconds when it was made.
    pub taken: u64,
    /// Tables that share their bytes with the node's.
    pub linked: u64,
    /// Tables that were copied.
    pub copied: u64,
    /// Tables that share their bytes with an earlier copy.
    #[serde(default)]
    pub shared: u64,
    /// How often the database was gone through until nothing changed meanwhile.
    pub passes: u64,
    files: u64,
    /// Bytes of all files, linked ones included.
    pub bytes: u64,
}

/// Makes a checkpoint.
///
/// # Errors
/// [`CheckpointError`]; nothing is left then but what the next try or [`remove`] clears away.
pub fn take(request: &Request<'_>) -> Result<Checkpoint, CheckpointError> {
    take_with(request, Help::default())
}

fn take_with(request: &Request<'_>, help: Help<'_>) -> Result<Checkpoint, CheckpointError> {
    let Request { source, into, .. } = *request;
    remove(into)?;
    disk::make_directories(into).map_err(io(into, "create"))?;
    // Before anything else: by this the next try knows that it may remove the rest.
    write(&into.join(BEGUN), b"")?;
    sync(into)?;
    let made = match pass::make(request, help) {
        Ok(made) => made,
        Err(error) => {
            // What matters is why it failed; should this fail too, the next try clears up.
            let _ = remove(into);
            return Err(error);
        }
    };
    let (files, bytes) = pass::contents(into, &[MARKER, BEGUN])?;
    let checkpoint = Checkpoint {
        format: 1,
        path: into.to_owned(),
        source: source.to_owned(),
        engine: made.engine.to_owned(),
        taken: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        linked: made.linked,
        copied: made.copied,
        shared: made.shared,
        passes: made.passes,
        files,
        bytes,
    };
    let text = serde_json::to_vec_pretty(&checkpoint)
        .map_err(|error| io(&into.join(BEGUN), "write")(std::io::Error::other(error)))?;
    // In the file that is there: without its name a power cut would leave tables that are nobody's.
    let begun = into.join(BEGUN);
    let written = disk::open(&begun).and_then(|file| file.write_at(0, &text).and_then(|()| file.sync()));
    written.map_err(io(&begun, "write"))?;
    let marker = into.join(MARKER);
    disk::rename(&begun, &marker).map_err(io(&marker, "rename into place"))?;
    sync(into)?;
    if let Some(parent) = into.parent() {
        sync(parent)?;
    }
    Ok(checkpoint)
}

/// The complete checkpoint in a directory, if there is one; one that has lost files since is none.
#[must_use]
pub fn find(directory: &Path) -> Option<Checkpoint> {
    let text = fs::read(directory.join(MARKER)).ok()?;
    let found: Checkpoint = serde_json::from_slice(&text).ok()?;
    let whole = pass::contents(directory, &[MARKER, BEGUN]).ok()? == (found.files, found.bytes);
    (found.format == 1 && whole).then(|| Checkpoint { path: directory.to_owned(), ..found })
}

/// Removes a checkpoint, complete or not. Repeatable; where there is nothing, nothing is done.
///
/// # Errors
/// [`CheckpointError::Foreign`] if what is there is no checkpoint, and then nothing is touched; or a file could not be
/// removed.
pub fn remove(directory: &Path) -> Result<(), CheckpointError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(directory, "list")(error)),
    };
    let names: Vec<_> =
        entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>().map_err(io(directory, "list"))?;
    let is_ours = names.iter().any(|name| name == MARKER || name == BEGUN);
    if !is_ours && !names.is_empty() {
        return Err(CheckpointError::Foreign { path: directory.to_owned() });
    }
    let (marker, begun) = (directory.join(MARKER), directory.join(BEGUN));
    // First it stops being complete, last it stops being ours.
    if marker.exists() {
        disk::rename(&marker, &begun).map_err(io(&marker, "rename"))?;
        sync(directory)?;
    }
    for name in names.iter().filter(|name| *name != MARKER && *name != BEGUN) {
        let path = directory.join(name);
        disk::remove(&path).map_err(io(&path, "remove"))?;
    }
    if is_ours {
        // A power cut must not bring a file back without the name that says whose it is.
        sync(directory)?;
        disk::remove(&begun).map_err(io(&begun, "remove"))?;
    }
    disk::remove_directory(directory).map_err(io(directory, "remove"))
}

#[cfg(test)]
mod tests;
