//! Owns the plain block: prefix-compressed entries (shared, non-shared, value length as
//! varints, key suffix, value), then LE4 restart points and their LE4 count. Hands
//! entries to cursor and iterator, through a [`Spot`] which the caller keeps.

use super::bytes::{u32_le, uvarint};
use super::error::Malformed;
use super::key;

/// One unpacked block of data, index or metaindex.
#[derive(Clone, Debug, Default)]
pub struct Block {
    data: Vec<u8>,
    /// End of the entries, begin of the restart points.
    limit: usize,
    restarts: usize,
    /// The bits of a restart point that are its offset.
    restart_mask: u32,
}

/// A position in a block: the current entry, or none.
#[derive(Debug, Default, Clone)]
pub struct Spot {
    key: Vec<u8>,
    value: (usize, usize),
    next: usize,
    valid: bool,
}

impl Spot {
    /// Moves before the first entry.
    pub fn reset(&mut self) {
        self.key.clear();
        self.next = 0;
        self.valid = false;
    }

    /// Whether there is a current entry.
    #[inline]
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// Whole key of the current entry.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// User part of the current internal key.
    #[inline]
    pub fn user(&self) -> &[u8] {
        key::user(&self.key)
    }

    /// `sequence << 8 | type` of the current internal key.
    #[inline]
    pub fn tag(&self) -> u64 {
        key::tag(&self.key)
    }
}

/// Lengths of one entry and the position of its key suffix.
#[derive(Clone, Copy)]
struct Header {
    shared: usize,
    unshared: usize,
    value: usize,
    at: usize,
}

impl Block {
    /// Takes the plain contents of a block.
    ///
    /// # Errors
    /// Too few bytes for the restart points announced, or no restart point.
    pub fn new(data: Vec<u8>) -> Result<Block, Malformed> {
        let mut block = Block::default();
        block.refill(u32::MAX, |buffer| {
            *buffer = data;
            Ok(())
        })?;
        Ok(block)
    }

    /// Lets `fill` write new contents into the block's own buffer. Of its restart points only the bits of the mask are
    /// offsets.
    ///
    /// # Errors
    /// Those of `fill` and of [`Block::new`]; the block is empty then.
    pub fn refill<E: From<Malformed>>(
        &mut self,
        restart_mask: u32,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        (self.limit, self.restarts, self.restart_mask) = (0, 0, restart_mask);
        fill(&mut self.data)?;
        let short = Malformed::new(0, "a block is too short for its restart points");
        let tail = self.data.len().checked_sub(4).ok_or(short)?;
        let restarts = u32_le(&self.data, tail).ok_or(short)? as usize;
        let array = restarts.checked_mul(4).ok_or(short)?;
        let limit = tail.checked_sub(array).ok_or(short)?;
        if restarts == 0 && limit != 0 {
            return Err(Malformed::new(tail, "a block has no restart point").into());
        }
        (self.limit, self.restarts) = (limit, restarts);
        Ok(())
    }

    /// Bytes of memory the contents take.
    pub fn bytes(&self) -> usize {
        self.data.capacity()
    }

    /// Value of the entry a spot of this block is at; empty if it is at none.
    #[inline]
    pub fn value(&self, spot: &Spot) -> &[u8] {
        self.data.get(spot.value.0..spot.value.1).unwrap_or(&[])
    }

    #[inline]
    fn header(&self, at: usize) -> Result<Header, Malformed> {
        let entries = self.data.get(..self.limit).unwrap_or(&[]);
        let rest = entries.get(at..).unwrap_or(&[]);
        let header = match rest {
            // Nearly every length is below 128.
            [shared, unshared, value, ..] if (shared | unshared | value) < 0x80 => Header {
                shared: usize::from(*shared),
                unshared: usize::from(*unshared),
                value: usize::from(*value),
                at: at + 3,
            },
            _ => long_header(rest, at)?,
        };
        let room = self.limit - header.at.min(self.limit);
        if header.unshared > room || header.value > room - header.unshared {
            return Err(Malformed::new(at, "an entry exceeds its block"));
        }
        Ok(header)
    }

    /// Moves to the next entry of a block whose keys are plain strings (the
    /// metaindex). `false` at the end, where the spot stays.
    #[inline]
    pub fn step_plain(&self, spot: &mut Spot) -> Result<bool, Malformed> {
        if spot.next >= self.limit {
            spot.valid = false;
            return Ok(false);
        }
        let header = self.header(spot.next)?;
        if header.shared > spot.key.len() {
            let what = "an entry shares more than the key before it has";
            return Err(Malformed::new(spot.next, what));
        }
        let suffix_end = header.at + header.unshared;
        let suffix = self.data.get(header.at..suffix_end).unwrap_or(&[]);
        spot.key.truncate(header.shared);
        spot.key.extend_from_slice(suffix);
        spot.next = suffix_end + header.value;
        spot.value = (suffix_end, spot.next);
        spot.valid = true;
        Ok(true)
    }

    /// Moves to the next entry of a block of internal keys (data, index).
    #[inline]
    pub fn step(&self, spot: &mut Spot) -> Result<bool, Malformed> {
        let at = spot.next;
        let moved = self.step_plain(spot)?;
        if moved && spot.key.len() < key::TRAILER {
            spot.valid = false;
            return Err(Malformed::new(at, "a key is too short for its sequence"));
        }
        Ok(moved)
    }

    /// Moves to the first entry whose user key is not below `user`; since
    /// newer entries come first, that is the newest one of its key. When
    /// entries were passed to get there, `before` receives the user key of the last of
    /// them and the result says so; `spot` is invalid if there is no such entry.
    pub fn seek(&self, spot: &mut Spot, user: &[u8], mut before: Option<&mut Vec<u8>>) -> Result<bool, Malformed> {
        spot.reset();
        spot.next = self.restart_below(user)?;
        let mut passed = false;
        while self.step(spot)? && spot.user() < user {
            passed = true;
            if let Some(before) = before.as_deref_mut() {
                before.clear();
                before.extend_from_slice(spot.user());
            }
        }
        Ok(passed)
    }

    /// Position of the last restart point whose user key is below `user`, or of the first.
    fn restart_below(&self, user: &[u8]) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
        let mut found = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.restart(middle)?;
            if at == self.limit {
                // A writer may close a block right after a restart point.
                high = middle;
                continue;
            }
            let header = self.header(at)?;
            let end = header.at + header.unshared;
            let key = self.data.get(header.at..end).unwrap_or(&[]);
            if header.shared != 0 || key.len() < key::TRAILER {
                return Err(Malformed::new(at, "a restart point has no whole key"));
            }
            if key::user(key) < user {
                found = at;
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    fn restart(&self, nth: usize) -> Result<usize, Malformed> {
        let at = self.limit + 4 * nth;
        match u32_le(&self.data, at) {
            Some(offset) if (offset & self.restart_mask) as usize <= self.limit => {
                Ok((offset & self.restart_mask) as usize)
            }
            _ => Err(Malformed::new(at, "a restart point lies outside its block")),
        }
    }
}

#[cold]
fn long_header(rest: &[u8], at: usize) -> Result<Header, Malformed> {
    let mut used = 0;
    let mut number = || {
        let (value, size) = uvarint(rest.get(used..)?)?;
        used += size;
        usize::try_from(value).ok()
    };
    let cut = Malformed::new(at, "lengths of an entry are cut short");
    let shared = number().ok_or(cut)?;
    let unshared = number().ok_or(cut)?;
    let value = number().ok_or(cut)?;
    Ok(Header { shared, unshared, value, at: at + used })
}
