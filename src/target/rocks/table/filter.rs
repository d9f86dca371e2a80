//! Owns the bloom filter over all user keys of a table, in the form RocksDB wrote before format version 5 and reads in any:
//! each key sets its bits within one line of 64 bytes. The newer form has the same size and needs a hash of its own.

/// Metaindex key under which RocksDB looks for it.
pub(super) const NAME: &str = "fullfilter.rocksdb.BuiltinBloomFilter";

const LINE: usize = 64;

/// Collects keys, as hashes, until their number is known.
#[derive(Debug)]
pub(super) struct Filter {
    bits_per_key: u64,
    hashes: Vec<u32>,
}

impl Filter {
    pub(super) fn new(bits_per_key: usize) -> Filter {
        Filter { bits_per_key: bits_per_key as u64, hashes: Vec::new() }
    }

    /// Adds a user key without timestamp. Versions of a key follow each other and count once.
    #[inline]
    pub(super) fn add(&mut self, key: &[u8]) {
        let hash = hash(key);
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
    }

    pub(super) fn keys(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Appends the filter: lines, number of probes, LE4 number of lines.
    pub(super) fn build(&self, out: &mut Vec<u8>) {
        // More bits than readers count with 32 bits are never made.
        let bits = self.keys().saturating_mul(self.bits_per_key).min(0xffff_0000);
        // Odd, so that the line depends on more than the low bits of the hash.
        let count = bits.div_ceil(8 * LINE as u64) as u32 | 1;
        // ln 2 of the bits per key are the most selective.
        let probes = (self.bits_per_key * 69 / 100).clamp(1, 30) as u8;
        let start = out.len();
        out.resize(start + count as usize * LINE, 0);
        let (lines, _) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<LINE>();
        for &hash in &self.hashes {
            let Some(line) = lines.get_mut((hash % count) as usize) else { continue };
            let delta = hash.rotate_right(17);
            let mut bit = hash;
            for _ in 0..probes {
                let byte = (bit as usize / 8) % LINE;
                line[byte] |= 1 << (bit % 8);
                bit = bit.wrapping_add(delta);
            }
        }
        out.push(probes);
        out.extend_from_slice(&count.to_le_bytes());
    }
}

/// RocksDB's hash for this form of filter. It is LevelDB's but for the last one to three bytes, which count as signed.
#[inline]
fn hash(key: &[u8]) -> u32 {
    const M: u32 = 0xc6a4_a793;
    let mut h = 0xbc9f_1d34 ^ (key.len() as u32).wrapping_mul(M);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        h = h.wrapping_add(u32::from_le_bytes(*word)).wrapping_mul(M);
        h ^= h >> 16;
    }
    if !rest.is_empty() {
        for (nth, &byte) in rest.iter().enumerate() {
            h = h.wrapping_add((i32::from(byte as i8) as u32) << (8 * nth));
        }
        h = h.wrapping_mul(M);
        h ^= h >> 24;
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `util/hash_test.cc` of RocksDB: pinned there, as files depend on it.
    #[test]
    fn the_hash_is_rocksdbs() {
        assert_eq!(hash(b""), 3_164_544_308);
        assert_eq!(hash(b"\x08"), 422_599_524);
        assert_eq!(hash(b"\x17"), 3_168_152_998);
        assert_eq!(hash(b"\x9a"), 3_195_034_349);
        assert_eq!(hash(b"\x91\xf7"), 31_066_776);
        assert_eq!(hash(b"\x56\xdc\xd6"), 2_157_698_265);
        assert_eq!(hash(b"\x46\xdc\x54\xbe"), 447_346_355);
        assert_eq!(hash(b"\x86\x83\xd5\xa4\xd8"), 2_390_603_402);
        assert_eq!(hash(b"\x38\xd6\xf7\x28\x20\xb4\x8a\xe9"), 3_530_274_698);
    }

    #[test]
    fn as_large_as_announced() {
        for keys in [1u32, 50, 51, 52, 1000, 100_000] {
            let mut filter = Filter::new(10);
            (0..keys).for_each(|n| filter.add(&n.to_be_bytes()));
            let mut out = vec![7; 3];
            filter.build(&mut out);
            let lines = u32::from_le_bytes(*out.last_chunk().unwrap());
            assert!(lines % 2 == 1 && lines * 512 >= keys * 10, "{keys}: {lines}");
            assert_eq!(out.len(), 3 + 64 * lines as usize + 5);
            assert_eq!(out[out.len() - 5], 6);
        }
    }
}
