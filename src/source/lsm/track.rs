//! Owns the place of a cursor in one run of tables: the table, the index entry, the
//! block and the entry where the last look-up ended. Answers the next look-up from
//! there when it can, and hands what it found to the cursor.

use std::sync::Arc;

use super::block::{Block, Spot};
use super::database::Inner;
use super::error::{Fault, LsmError, Malformed};
use super::filter;
use super::footer::Handle;
use super::place::Place;
use super::table::Table;
use super::version::Table as Entry;
use super::window::Window;

/// Entries stepped over before a search by restart points is the cheaper way: two
/// restart intervals of goleveldb.
const STRIDE: usize = 32;

/// The wanted key, its bloom hash computed at most once for all runs.
pub(crate) struct Wanted<'a> {
    pub(crate) key: &'a [u8],
    hash: Option<u32>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(key: &'a [u8]) -> Wanted<'a> {
        Wanted { key, hash: None }
    }

    fn hash(&mut self) -> u32 {
        *self.hash.get_or_insert_with(|| filter::hash(self.key))
    }
}

/// A bound, not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until<'a> {
    Key(&'a [u8]),
    End,
}

/// Place in one run.
#[derive(Debug, Default)]
pub(crate) struct Track {
    nth: usize,
    table: Option<Arc<Table>>,
    index: Place,
    /// The located block, which alone can hold user keys above `low` (or from it, if
    /// `low_included`) up to and with `high`. `None`: nothing is located.
    located: Option<Handle>,
    low: Vec<u8>,
    high: Vec<u8>,
    low_included: bool,
    /// Contents of the located block, once a look-up passed its filter.
    block: Option<Arc<Block>>,
    spot: Spot,
    /// `spot` is the first entry not below this key; meaningful with `searched`.
    floor: Vec<u8>,
    searched: bool,
    /// Number of the table after the last key asked for which no table spans.
    gap: Option<usize>,
    scratch: Vec<u8>,
    /// Set where every block is needed about once: then they are read ahead into buffers of the track's own.
    ahead: Option<Box<Ahead>>,
}

/// Reading ahead for one run.
#[derive(Debug, Default)]
struct Ahead {
    window: Window,
    /// The buffer of the block before, for the next one.
    spare: Arc<Block>,
}

impl Track {
    /// A place in no particular block; `once` if look-ups come in long ascending runs.
    pub(crate) fn new(once: bool) -> Track {
        Track { ahead: once.then(Box::default), ..Track::default() }
    }

    /// Sequence and type of the newest entry of the wanted key in this run.
    #[inline]
    pub(crate) fn find(
        &mut self,
        inner: &Inner,
        run: &[Entry],
        wanted: &mut Wanted<'_>,
    ) -> Result<Option<u64>, LsmError> {
        match self.walk(wanted.key) {
            Ok(Some(true)) => return self.put_or_delete().map(Some),
            Ok(Some(false)) => return Ok(None),
            Ok(None) => {}
            Err(e) => {
                self.searched = false;
                return Err(self.broken(e));
            }
        }
        if !self.covers(wanted.key) && !self.locate(inner, run, wanted.key)? {
            return Ok(None);
        }
        self.search(inner, run, wanted)
    }

    /// Steps on to an entry of `key` if that is among the next few in this block, as it nearly always is where a whole run is
    /// read. Otherwise nothing is known, and the place may be lost.
    #[inline]
    pub(crate) fn step_to(&mut self, key: &[u8]) -> Result<Option<u64>, LsmError> {
        let (true, true, Some(block)) = (self.searched, self.spot.is_valid(), self.block.as_ref()) else {
            return Ok(None);
        };
        // Not from an entry of the same key: the next one may be an older one of it.
        if self.spot.user() >= key {
            return Ok(None);
        }
        for _ in 0..STRIDE {
            let order = match block.step(&mut self.spot) {
                Ok(true) => self.spot.user().cmp(key),
                Ok(false) => break,
                Err(e) => {
                    self.searched = false;
                    return Err(self.broken(e));
                }
            };
            if order.is_eq() {
                self.floor.clear();
                self.floor.extend_from_slice(key);
                return self.put_or_delete().map(Some);
            }
            if order.is_gt() {
                break;
            }
        }
        self.searched = false;
        Ok(None)
    }

    /// Value of the entry last found.
    pub(crate) fn value(&self) -> &[u8] {
        match (&self.table, &self.block) {
            (Some(table), Some(block)) => table.value(block, &self.spot),
            _ => &[],
        }
    }

    fn covers(&self, key: &[u8]) -> bool {
        let low = self.low.as_slice();
        self.located.is_some() && key <= self.high.as_slice() && (key > low || (self.low_included && key == low))
    }

    /// Locates the block for `key`; `false` if no table of the run spans it.
    fn locate(&mut self, inner: &Inner, run: &[Entry], key: &[u8]) -> Result<bool, LsmError> {
        if self.gap.is_some_and(|gap| lies_before(run, gap, key)) {
            return Ok(false);
        }
        let here = spans(run, self.nth, key);
        if here && self.located.is_some() && key > self.high.as_slice() {
            self.next_block(inner, run)?;
            if self.covers(key) {
                return Ok(true);
            }
        }
        if !here {
            let mut nth = self.nth + 1;
            if !spans(run, nth, key) {
                nth = run.partition_point(|entry| entry.largest_user() < key);
                if !spans(run, nth, key) {
                    self.gap = Some(nth);
                    return Ok(false);
                }
            }
            self.nth = nth;
            self.table = None;
            self.forget();
            if let Some(ahead) = &mut self.ahead {
                ahead.window.reset(true);
            }
        }
        let Some(entry) = run.get(self.nth) else {
            return Ok(false);
        };
        let table = match &self.table {
            Some(table) => Arc::clone(table),
            None => inner.tables.get(entry)?,
        };
        // Put back below if the seek ends where it began, so that a failed one leaves
        // nothing half-moved.
        let was = (self.located.take(), self.block.take(), self.searched);
        self.searched = false;
        let (handle, passed) = self.index.seek(inner, &table, key, &mut self.low)?;
        self.table = Some(table);
        self.low_included = !passed && spans(run, self.nth, entry.smallest_user());
        if !passed {
            self.low.clear();
            self.low.extend_from_slice(entry.smallest_user());
        }
        self.located = handle;
        self.bound(run);
        if handle == was.0 {
            (_, self.block, self.searched) = was;
        } else {
            self.keep_spare(was.1);
        }
        Ok(handle.is_some())
    }

    /// Moves the located block one on within the table.
    fn next_block(&mut self, inner: &Inner, run: &[Entry]) -> Result<(), LsmError> {
        let Some(table) = self.table.clone() else {
            return Ok(());
        };
        self.low.clear();
        self.low.extend_from_slice(self.index.user());
        self.low_included = false;
        self.forget();
        self.located = self.index.step(inner, &table)?;
        self.bound(run);
        Ok(())
    }

    /// Sets `high` to the separator, or to the table's last key if that is lower: the
    /// last separator of a table may reach far into the tables after it.
    fn bound(&mut self, run: &[Entry]) {
        let largest = run.get(self.nth).map_or(&[][..], Entry::largest_user);
        self.high.clear();
        self.high.extend_from_slice(self.index.user().min(largest));
    }

    fn forget(&mut self) {
        self.located = None;
        let block = self.block.take();
        self.keep_spare(block);
        self.searched = false;
    }

    fn keep_spare(&mut self, block: Option<Arc<Block>>) {
        if let (Some(ahead), Some(block)) = (&mut self.ahead, block) {
            ahead.spare = block;
        }
    }

    /// The contents of a block, from the cache, or read ahead.
    fn fetch(&mut self, inner: &Inner, table: &Table, handle: Handle) -> Result<Arc<Block>, LsmError> {
        let Some(ahead) = &mut self.ahead else { return inner.block(table, handle, &mut self.scratch) };
        let mut block = std::mem::take(&mut ahead.spare);
        let raw = ahead.window.raw_near(table, handle)?;
        let contents = Arc::make_mut(&mut block);
        table.unpack_into(contents, raw).map_err(|e| e.in_block(table.path(), handle.offset))?;
        Ok(block)
    }

    /// Searches the located block, unless its filter says that this is in vain.
    fn search(&mut self, inner: &Inner, run: &[Entry], wanted: &mut Wanted<'_>) -> Result<Option<u64>, LsmError> {
        let (Some(handle), Some(table)) = (self.located, self.table.clone()) else {
            return Ok(None);
        };
        self.searched = false;
        let block = match self.block.take() {
            Some(block) => block,
            None if !table.may_contain(handle.offset, wanted.hash()) => return Ok(None),
            None => self.fetch(inner, &table, handle)?,
        };
        let sought = block.seek(&mut self.spot, wanted.key, None);
        self.block = Some(block);
        if let Err(e) = sought {
            return Err(self.broken(e));
        }
        if !self.spot.is_valid() && wanted.key == self.high.as_slice() {
            return self.spill(inner, run, wanted.key);
        }
        self.searched = true;
        self.floor.clear();
        self.floor.extend_from_slice(wanted.key);
        self.answer(wanted.key)
    }

    /// A separator may equal a user key which only begins in the next block.
    fn spill(&mut self, inner: &Inner, run: &[Entry], key: &[u8]) -> Result<Option<u64>, LsmError> {
        self.next_block(inner, run)?;
        let (Some(handle), Some(table)) = (self.located, self.table.clone()) else {
            return Ok(None);
        };
        let block = self.fetch(inner, &table, handle)?;
        self.spot.reset();
        let stepped = block.step(&mut self.spot);
        self.block = Some(block);
        if let Err(e) = stepped {
            return Err(self.broken(e));
        }
        self.answer(key)
    }

    /// Steps from the spot to the first entry not below `key`, if that is near and in this block: whether it is one of
    /// `key`, or `None` if it was not reached. The spot is of no use then.
    #[inline]
    fn walk(&mut self, key: &[u8]) -> Result<Option<bool>, Malformed> {
        let (true, Some(block)) = (self.searched, self.block.as_ref()) else { return Ok(None) };
        if !self.spot.is_valid() {
            return Ok(None);
        }
        let mut order = key.cmp(self.spot.user());
        if order.is_lt() && key < self.floor.as_slice() {
            return Ok(None);
        }
        let mut steps = 0;
        while order.is_gt() {
            // The next entry is what is asked for nearly always; it is looked at before anything else is compared.
            if steps == STRIDE || steps == 1 && key > self.high.as_slice() || !block.step(&mut self.spot)? {
                // Entries were passed that keys between the floor and this one may need.
                self.searched = false;
                return Ok(None);
            }
            order = key.cmp(self.spot.user());
            steps += 1;
        }
        self.floor.clear();
        self.floor.extend_from_slice(key);
        Ok(Some(order.is_eq()))
    }

    /// Up to where this run has no entry above `key`, which was just looked for in vain: `None` if that is not known.
    pub(crate) fn quiet_until<'a>(&'a self, run: &'a [Entry], key: &[u8]) -> Option<Until<'a>> {
        if let Some(gap) = self.gap.filter(|gap| lies_before(run, *gap, key)) {
            return Some(run.get(gap).map_or(Until::End, |table| Until::Key(table.smallest_user())));
        }
        if !self.searched || self.floor != key {
            return None;
        }
        Some(Until::Key(if self.spot.is_valid() { self.spot.user() } else { &self.high }))
    }

    fn answer(&self, key: &[u8]) -> Result<Option<u64>, LsmError> {
        if !self.spot.is_valid() || self.spot.user() != key {
            return Ok(None);
        }
        self.put_or_delete().map(Some)
    }

    #[inline]
    fn put_or_delete(&self) -> Result<u64, LsmError> {
        let (Some(table), Some(block)) = (&self.table, &self.block) else {
            return Err(self.broken(Malformed::new(0, "an entry of no block")));
        };
        table.judge(block, &self.spot).map_err(|fault| match fault {
            Fault::Malformed(e) => self.broken(e),
            fault @ Fault::Unsupported(_) => fault.within(table.path(), 0),
        })
    }

    #[cold]
    fn broken(&self, e: Malformed) -> LsmError {
        let path = self.table.as_ref().map(|table| table.path());
        let block = self.located.map_or(0, |handle| handle.offset);
        e.in_block(path.unwrap_or("".as_ref()), block)
    }
}

/// Whether table `nth` is where the newest entry of `key` can be: within its bounds, and
/// not begun by the table before it.
fn spans(run: &[Entry], nth: usize, key: &[u8]) -> bool {
    let Some(entry) = run.get(nth) else {
        return false;
    };
    let before = nth.checked_sub(1).and_then(|nth| run.get(nth));
    key >= entry.smallest_user()
        && key <= entry.largest_user()
        && before.is_none_or(|before| key > before.largest_user())
}

/// Whether `key` lies between table `nth` and the one before it.
fn lies_before(run: &[Entry], nth: usize, key: &[u8]) -> bool {
    let before = nth.checked_sub(1).and_then(|nth| run.get(nth));
    before.is_none_or(|before| key > before.largest_user())
        && run.get(nth).is_none_or(|after| key < after.smallest_user())
}
