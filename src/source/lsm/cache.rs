//! Owns the cache of unpacked data blocks: bounded in bytes, sharded, with the clock
//! algorithm. Only cursors use it; iterators keep their own buffers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::block::Block;

const SHARDS: usize = 8;
/// What a cached block costs beside its contents, roughly.
const OVERHEAD: usize = 160;

/// Table number and offset of a block.
pub(crate) type BlockId = (u64, u64);

/// Unpacked blocks by place.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: usize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    index: HashMap<BlockId, usize>,
    bytes: usize,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    id: BlockId,
    block: Arc<Block>,
    used: bool,
}

impl Cache {
    pub(crate) fn new(bytes: usize) -> Cache {
        Cache { shards: Default::default(), shard_bytes: bytes / SHARDS }
    }

    fn shard(&self, id: BlockId) -> Option<&Mutex<Shard>> {
        // Block offsets are no multiples of anything: any mixing spreads them.
        let mixed = (id.0 ^ id.1.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.shards.get((mixed >> 61) as usize % SHARDS)
    }

    pub(crate) fn get(&self, id: BlockId) -> Option<Arc<Block>> {
        let mut shard = self.shard(id)?.lock().unwrap_or_else(PoisonError::into_inner);
        let at = *shard.index.get(&id)?;
        let slot = shard.slots.get_mut(at)?;
        slot.used = true;
        Some(Arc::clone(&slot.block))
    }

    pub(crate) fn insert(&self, id: BlockId, block: &Arc<Block>) {
        let cost = block.bytes() + OVERHEAD;
        let Some(shard) = self.shard(id) else { return };
        if cost > self.shard_bytes {
            return;
        }
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.index.contains_key(&id) {
            return;
        }
        while shard.bytes + cost > self.shard_bytes && shard.evict() {}
        let at = shard.slots.len();
        shard.index.insert(id, at);
        shard.bytes += cost;
        shard.slots.push(Slot { id, block: Arc::clone(block), used: false });
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap().bytes).sum()
    }
}

impl Shard {
    /// Removes one block that was not used since the hand last passed.
    fn evict(&mut self) -> bool {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some(slot) = self.slots.get_mut(self.hand) else {
                return false;
            };
            if std::mem::take(&mut slot.used) {
                self.hand += 1;
                continue;
            }
            let slot = self.slots.swap_remove(self.hand);
            self.index.remove(&slot.id);
            self.bytes -= slot.block.bytes() + OVERHEAD;
            if let Some(moved) = self.slots.get(self.hand) {
                self.index.insert(moved.id, self.hand);
            }
            // The block moved here from the end has not had its turn yet
            // less than the next one has; going on keeps new blocks longer.
            self.hand += 1;
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(bytes: usize) -> Arc<Block> {
        let mut data = vec![0; bytes];
        let at = bytes - 4;
        data[at..].copy_from_slice(&1u32.to_le_bytes());
        Arc::new(Block::new(data).unwrap())
    }

    #[test]
    fn the_bytes_stay_bounded_and_recent_blocks_stay() {
        let cache = Cache::new(8 * 10_000);
        let hot = block(1000);
        cache.insert((9, 9), &hot);
        for offset in 0..5000 {
            cache.insert((1, offset), &block(1000));
            assert!(cache.get((9, 9)).is_some(), "{offset}");
            assert!(cache.bytes() <= 80_000);
        }
        assert!(cache.get((1, 4999)).is_some());
        assert!(cache.get((1, 0)).is_none());
        cache.insert((2, 0), &block(20_000));
        assert!(cache.get((2, 0)).is_none());
    }
}
