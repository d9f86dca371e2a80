//! Owns the choice among `CURRENT`, `CURRENT.bak` and pending `CURRENT.<n>`, made as goleveldb makes it.

use std::path::{Path, PathBuf};

use crate::source::lsm::error::LsmError;
use crate::source::lsm::listing::{Listing, named, number};

/// The manifest in force.
///
/// Pending renames are tried from the highest number down, then
/// `CURRENT`, then `CURRENT.bak`; one whose content is unusable or names
/// a missing manifest is passed over. A pending rename wins only when it
/// names a newer manifest.
pub(super) fn manifest(listing: &Listing, dir: &Path) -> Result<PathBuf, LsmError> {
    let mut fault = None;
    let mut numbers: Vec<u64> =
        listing.others.iter().filter_map(|name| number(name.strip_prefix("CURRENT.")?)).collect();
    numbers.sort_unstable();
    let mut pending = None;
    for n in numbers.iter().rev() {
        pending = named(dir, &format!("CURRENT.{n}"), &mut fault)?;
        if pending.is_some() {
            break;
        }
    }
    let mut current = named(dir, "CURRENT", &mut fault)?;
    if current.is_none() {
        current = named(dir, "CURRENT.bak", &mut fault)?;
    }
    let chosen = match (pending, current) {
        (Some(pending), Some(current)) => Some(pending.max(current)),
        (pending, current) => pending.or(current),
    };
    match chosen {
        Some((_, path)) => Ok(path),
        None => Err(fault.unwrap_or_else(|| LsmError::NotADatabase {
            path: dir.to_path_buf(),
            what: "there is no CURRENT file".to_string(),
        })),
    }
}
