//! Owns the bloom filter block (`filter.leveldb.BuiltinBloomFilter`): filters, LE4 offset
//! of each, LE4 position of the offsets, base lg. Tells the cursor which data blocks
//! cannot hold a key.

use super::bytes::u32_le;
use super::error::Malformed;

/// Metaindex key of the only filter understood.
pub(crate) const NAME: &[u8] = b"filter.leveldb.BuiltinBloomFilter";

/// Filter block of one table.
#[derive(Debug)]
pub struct Filter {
    data: Vec<u8>,
    offsets_at: usize,
    filters: u64,
    base_lg: u8,
}

impl Filter {
    /// Takes the unpacked filter block.
    pub fn new(data: Vec<u8>) -> Result<Filter, Malformed> {
        let short = Malformed::new(0, "a filter block is cut short");
        let tail = data.len().checked_sub(5).ok_or(short)?;
        let base_lg = data.last().copied().ok_or(short)?;
        let offsets_at = u32_le(&data, tail).ok_or(short)? as usize;
        let array = tail.checked_sub(offsets_at).ok_or(Malformed::new(tail, "filter offsets lie outside the block"))?;
        if base_lg >= 64 {
            return Err(Malformed::new(tail + 4, "base lg of a filter is absurd"));
        }
        Ok(Filter { data, offsets_at, filters: (array / 4) as u64, base_lg })
    }

    /// Whether the data block at `block` may hold the key with this
    /// [`hash`]. `false` is certain; whatever is unclear answers `true`.
    pub fn may_contain(&self, block: u64, hash: u32) -> bool {
        let nth = block >> self.base_lg;
        if nth >= self.filters {
            return true;
        }
        let at = self.offsets_at + 4 * nth as usize;
        let bits = match (u32_le(&self.data, at), u32_le(&self.data, at + 4)) {
            (Some(from), Some(to)) if from == to => return false,
            (Some(from), Some(to)) if to as usize <= self.offsets_at => self.data.get(from as usize..to as usize),
            _ => None,
        };
        bits.is_none_or(|bits| bloom(bits, hash))
    }
}

fn bloom(filter: &[u8], hash: u32) -> bool {
    let Some((&probes, bits @ [_, ..])) = filter.split_last() else {
        // No key, no bits.
        return false;
    };
    let count = (bits.len() as u32).wrapping_mul(8);
    if probes > 30 {
        // Reserved by LevelDB for other encodings.
        return true;
    }
    let delta = hash.rotate_right(17);
    let mut position = hash;
    for _ in 0..probes {
        let bit = position % count;
        let byte = bits.get(bit as usize / 8).copied().unwrap_or(0xff);
        if byte & (1 << (bit % 8)) == 0 {
            return false;
        }
        position = position.wrapping_add(delta);
    }
    true
}

/// Hash of a user key as LevelDB's bloom filter defines it: 32-bit, little-endian words,
/// seed 0xbc9f1d34.
#[inline]
pub fn hash(key: &[u8]) -> u32 {
    const M: u32 = 0xc6a4_a793;
    let mut h = 0xbc9f_1d34 ^ (key.len() as u32).wrapping_mul(M);
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = word.try_into().map_or(0, u32::from_le_bytes);
        h = h.wrapping_add(word).wrapping_mul(M);
        h ^= h >> 16;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (i, &byte) in rest.iter().enumerate() {
            h = h.wrapping_add(u32::from(byte) << (8 * i));
        }
        h = h.wrapping_mul(M);
        h ^= h >> 24;
    }
    h
}
