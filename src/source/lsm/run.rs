//! Owns an ascending walk over one run of tables, with buffers of its own so that the
//! block cache stays as it is. Hands entries, versions and tombstones included, to the merge.

use std::sync::Arc;

use super::block::{Block, Spot};
use super::database::Inner;
use super::error::{Fault, LsmError, Malformed};
use super::footer::Handle;
use super::place::Place;
use super::table::Table;
use super::window::Window;

/// Walk over one run.
#[derive(Debug)]
pub(crate) struct Run {
    inner: Arc<Inner>,
    run: usize,
    nth: usize,
    table: Option<Arc<Table>>,
    index: Place,
    block: Block,
    block_at: u64,
    spot: Spot,
    window: Window,
    scratch: Vec<u8>,
}

impl Run {
    pub(crate) fn new(inner: Arc<Inner>, run: usize) -> Run {
        Run {
            inner,
            run,
            nth: 0,
            table: None,
            index: Place::default(),
            block: Block::default(),
            block_at: 0,
            spot: Spot::default(),
            window: Window::default(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn spot(&self) -> &Spot {
        &self.spot
    }

    pub(crate) fn value(&self) -> &[u8] {
        self.table.as_ref().map_or(&[], |table| table.value(&self.block, &self.spot))
    }

    /// `sequence << 8 | kind` of the current entry, in the table's own words.
    #[inline]
    pub(crate) fn tag(&self) -> u64 {
        self.table.as_ref().map_or(0, |table| table.tag(&self.spot))
    }

    /// `sequence << 8 | kind` of the current entry, in memory's words.
    pub(crate) fn judge(&self) -> Result<u64, LsmError> {
        let Some(table) = &self.table else { return Ok(0) };
        table.judge(&self.block, &self.spot).map_err(|fault| match fault {
            Fault::Malformed(e) => self.broken(e),
            fault @ Fault::Unsupported(_) => fault.within(table.path(), 0),
        })
    }

    /// Moves to the first entry whose user key is not below `user`.
    pub(crate) fn seek(&mut self, user: &[u8]) -> Result<(), LsmError> {
        self.spot.reset();
        let inner = Arc::clone(&self.inner);
        let tables = inner.runs.get(self.run).map_or(&[][..], Vec::as_slice);
        self.nth = tables.partition_point(|table| table.largest_user() < user);
        self.window.reset(true);
        let Some(entry) = tables.get(self.nth) else {
            self.table = None;
            return Ok(());
        };
        let table = inner.tables.get(entry)?;
        let found = self.index.seek(&inner, &table, user, &mut self.scratch)?;
        self.table = Some(table);
        match found.0 {
            Some(handle) => self.load(handle)?,
            None => return self.advance(),
        }
        let sought = self.block.seek(&mut self.spot, user, None);
        sought.map_err(|e| self.broken(e))?;
        if self.spot.is_valid() { Ok(()) } else { self.advance() }
    }

    /// Moves to the next entry; the spot is invalid after the last.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), LsmError> {
        match self.block.step(&mut self.spot) {
            Ok(true) => Ok(()),
            Ok(false) => self.advance(),
            Err(e) => Err(self.broken(e)),
        }
    }

    /// Goes to the first entry of the next block which has one.
    fn advance(&mut self) -> Result<(), LsmError> {
        loop {
            let Some(table) = &self.table else {
                return Ok(());
            };
            match self.index.step(&self.inner, table)? {
                Some(handle) => {
                    self.load(handle)?;
                    let stepped = self.block.step(&mut self.spot);
                    if stepped.map_err(|e| self.broken(e))? {
                        return Ok(());
                    }
                }
                None => {
                    self.nth += 1;
                    self.index.reset();
                    self.window.reset(false);
                    let run = self.inner.runs.get(self.run);
                    self.table = match run.and_then(|tables| tables.get(self.nth)) {
                        Some(entry) => Some(self.inner.tables.get(entry)?),
                        None => None,
                    };
                }
            }
        }
    }

    fn load(&mut self, handle: Handle) -> Result<(), LsmError> {
        let Run { table, window, block, .. } = self;
        self.spot.reset();
        let Some(table) = table else {
            return Ok(());
        };
        self.block_at = handle.offset;
        let raw = window.raw(table, handle)?;
        table.unpack_into(block, raw).map_err(|e| LsmError::corrupt(table.path(), handle.offset, e.what))
    }

    #[cold]
    fn broken(&self, e: Malformed) -> LsmError {
        let path = self.table.as_ref().map(|table| table.path());
        e.in_block(path.unwrap_or("".as_ref()), self.block_at)
    }
}
