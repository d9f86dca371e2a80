//! Owns a position in a table's index, which has one level or two. Hands the handle of the data block there, and the
//! separator up to which that block goes, to cursor and iterator.

use std::sync::Arc;

use super::block::{Block, Spot};
use super::database::Inner;
use super::error::{LsmError, Malformed};
use super::footer::Handle;
use super::table::Table;

/// A position in an index.
#[derive(Debug, Default)]
pub(crate) struct Place {
    top: Spot,
    /// The second level's block at `top`, where it begins, and the position in it.
    part: Option<Arc<Block>>,
    part_at: u64,
    spot: Spot,
}

impl Place {
    /// Moves before the first entry.
    pub(crate) fn reset(&mut self) {
        self.top.reset();
        self.part = None;
    }

    /// User key of the separator.
    #[inline]
    pub(crate) fn user(&self) -> &[u8] {
        if self.part.is_some() { self.spot.user() } else { self.top.user() }
    }

    /// Moves one data block on; `None` after the last.
    pub(crate) fn step(&mut self, inner: &Inner, table: &Table) -> Result<Option<Handle>, LsmError> {
        if !table.two_level() {
            return table.index_step(&mut self.top);
        }
        loop {
            if let Some(part) = &self.part {
                part.step(&mut self.spot).map_err(|e| e.in_block(table.path(), self.part_at))?;
                if self.spot.is_valid() {
                    return table.handle(part, &self.spot, self.part_at);
                }
            }
            match table.index_step(&mut self.top)? {
                Some(handle) => self.enter(inner, table, handle)?,
                None => return Ok(None),
            };
        }
    }

    /// Moves to the data block which alone can hold the newest entry of `user`. `before` receives the separator before it;
    /// the flag says whether there is one.
    pub(crate) fn seek(
        &mut self,
        inner: &Inner,
        table: &Table,
        user: &[u8],
        before: &mut Vec<u8>,
    ) -> Result<(Option<Handle>, bool), LsmError> {
        self.part = None;
        let (found, passed) = table.index_seek(&mut self.top, user, before)?;
        let (true, Some(handle)) = (table.two_level(), found) else { return Ok((found, passed)) };
        self.enter(inner, table, handle)?;
        let Some(part) = &self.part else { return Ok((None, passed)) };
        let broken = |e: Malformed| e.in_block(table.path(), self.part_at);
        let passed_here = part.seek(&mut self.spot, user, Some(before)).map_err(broken)?;
        if !self.spot.is_valid() {
            return Err(broken(Malformed::new(0, "a part of the index ends before its separator")));
        }
        Ok((table.handle(part, &self.spot, self.part_at)?, passed || passed_here))
    }

    /// Goes before the first entry of a block of the second level.
    fn enter(&mut self, inner: &Inner, table: &Table, handle: Handle) -> Result<(), LsmError> {
        self.part = None;
        self.spot.reset();
        self.part = Some(inner.block(table, handle, &mut Vec::new())?);
        self.part_at = handle.offset;
        Ok(())
    }
}
