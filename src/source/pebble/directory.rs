//! Owns what a Pebble directory says of itself by names of files: markers (`marker.<name>.<count>.<value>`, of which the
//! highest count is in force), `CURRENT`, and the newest `OPTIONS-<n>`. Hands out the manifest in force.

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::lsm::error::LsmError;
use crate::source::lsm::listing::{Listing, manifest_number, named, number};
use crate::source::lsm::replay::read_whole;

/// The newest format major version read, which is the newest that Pebble 1.1 has.
pub const NEWEST_FORMAT: u64 = 16;
/// From here on a marker says which manifest is in force, and `CURRENT` is of no use.
const FIRST_WITH_MARKER: u64 = 2;
/// Largest file of options read, in bytes.
const MAX_OPTIONS: u64 = 1 << 20;

/// The manifest in force.
///
/// # Errors
/// The directory names none that is there; its files lie elsewhere too; a newer Pebble wrote it.
pub(super) fn manifest(listing: &Listing, dir: &Path) -> Result<PathBuf, LsmError> {
    if let Some(name) = listing.others.iter().find(|name| name.ends_with(".log")) {
        return Err(LsmError::unsupported(
            &dir.join(name),
            "its name is none that Pebble 1.1 gives to write-ahead logs",
        ));
    }
    check_options(listing, dir)?;
    let format = match marker(listing, dir, "format-version")? {
        None => 1,
        Some((path, value)) => match number(&value) {
            Some(format @ 1..=NEWEST_FORMAT) => format,
            Some(format) => {
                let what = format!(
                    "its format major version is {format}; versions 1 to {NEWEST_FORMAT} are read, those of Pebble 1.1 (cosmos-db \
                     1.1 writes version 1)"
                );
                return Err(LsmError::unsupported(&path, what));
            }
            None => return Err(LsmError::corrupt(&path, 0, "its name gives no format major version")),
        },
    };
    let marked = marker(listing, dir, "manifest")?;
    if format < FIRST_WITH_MARKER {
        let mut fault = None;
        return match named(dir, "CURRENT", &mut fault)? {
            Some((_, path)) => Ok(path),
            None => Err(fault.unwrap_or_else(|| LsmError::NotADatabase {
                path: dir.to_path_buf(),
                what: "there is no CURRENT file".to_owned(),
            })),
        };
    }
    let Some((marker, name)) = marked else {
        let what = format!("its format major version is {format}, but no marker.manifest file names a manifest");
        return Err(LsmError::NotADatabase { path: dir.to_path_buf(), what });
    };
    if manifest_number(&name).is_none() {
        return Err(LsmError::corrupt(&marker, 0, "its name does not name a manifest"));
    }
    let path = dir.join(&name);
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(LsmError::MissingFile { path, named_by: marker })
        }
        Err(error) => Err(LsmError::io(&path, error)),
    }
}

/// The marker in force of this name, and its value.
fn marker(listing: &Listing, dir: &Path, wanted: &str) -> Result<Option<(PathBuf, String)>, LsmError> {
    let mut newest: Option<(u64, &String, &str)> = None;
    for name in &listing.others {
        let Some(rest) = name.strip_prefix("marker.") else { continue };
        let parts = rest.split_once('.').and_then(|(kind, rest)| Some((kind, rest.split_once('.')?)));
        let parsed = parts.and_then(|(kind, (count, value))| Some((kind, number(count)?, value)));
        let Some((kind, count, value)) = parsed else {
            return Err(LsmError::corrupt(&dir.join(name), 0, "its name is none of a marker"));
        };
        if kind == wanted && newest.is_none_or(|(most, ..)| count > most) {
            newest = Some((count, name, value));
        }
    }
    Ok(newest.map(|(_, name, value)| (dir.join(name), value.to_owned())))
}

/// Whether the newest options say that logs are elsewhere.
fn check_options(listing: &Listing, dir: &Path) -> Result<(), LsmError> {
    let of = |name: &String| number(name.strip_prefix("OPTIONS-")?);
    let Some(newest) = listing.others.iter().filter(|name| of(name).is_some()).max_by_key(|name| of(name)) else {
        return Ok(());
    };
    let path = dir.join(newest);
    let options = read_whole(&path, "options", MAX_OPTIONS)?;
    let options = String::from_utf8_lossy(&options);
    let elsewhere =
        options.lines().filter_map(|line| line.trim().strip_prefix("wal_dir=")).find(|value| !value.is_empty());
    match elsewhere {
        None => Ok(()),
        Some(place) => Err(LsmError::unsupported(
            &path,
            format!("it says that the write-ahead logs are in another directory, {place}"),
        )),
    }
}
