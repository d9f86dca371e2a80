//! SHA-256 of many small inputs: the blocks go straight from where they lie to the compression function, and only the
//! padded end is copied. What the general hasher does for streams costs as much as a block here.

use sha2::block_api::compress256;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Bytes that follow what is hashed, at least: a one, and its length in bits.
const PADDING: usize = 1 + 8;

/// Initial state: the first 32 bits of the fractional parts of the square roots of the first 8 primes (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The SHA-256 of these bytes.
#[inline]
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    if !blocks.is_empty() {
        compress256(&mut state, blocks);
    }
    let mut end = [0; 2 * BLOCK];
    if let Some(to) = end.get_mut(..rest.len()) {
        to.copy_from_slice(rest);
    }
    if let Some(padded) = pad(&mut end, rest.len(), bytes.len()) {
        compress256(&mut state, padded);
    }
    digest(state)
}

/// The SHA-256 of the first bytes of a buffer that is zero behind them, and is used for padding; none if that does not fit.
#[inline]
pub(super) fn in_place(buffer: &mut [u8], length: usize) -> Option<[u8; 32]> {
    let mut state = INITIAL;
    compress256(&mut state, pad(buffer, length, length)?);
    Some(digest(state))
}

/// Appends what ends a message: a one, zeros, and the length of all of it in bits.
#[inline]
fn pad(buffer: &mut [u8], length: usize, all: usize) -> Option<&[[u8; BLOCK]]> {
    let blocks = (length + PADDING).div_ceil(BLOCK);
    let buffer = buffer.get_mut(..blocks * BLOCK)?;
    *buffer.get_mut(length)? = 0x80;
    *buffer.last_chunk_mut::<8>()? = (all as u64).wrapping_mul(8).to_be_bytes();
    Some(buffer.as_chunks::<BLOCK>().0)
}

#[inline]
fn digest(state: [u32; 8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn every_length_has_the_hash_of_the_general_hasher() {
        let bytes: Vec<u8> = (0..4096u32).map(|i| ((i * 31) >> 3) as u8).collect();
        for length in (0..300).chain([1000, 4096]) {
            let expected = <[u8; 32]>::from(Sha256::digest(&bytes[..length]));
            assert_eq!(sha256(&bytes[..length]), expected, "{length}");
            let mut buffer = [0; 192];
            if let Some(gathered) = buffer.get_mut(..length) {
                gathered.copy_from_slice(&bytes[..length]);
            }
            let hash = in_place(&mut buffer, length);
            assert_eq!(hash, (length <= 192 - 9).then_some(expected), "{length} in place");
        }
    }
}
