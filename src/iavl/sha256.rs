//! SHA-256 of many small inputs: the blocks go straight from where they lie to the compression function, and only the
//! padded end is copied. What the general hasher does for streams costs as much as a block here.

use sha2::block_api::compress256;

const BLOCK: usize = 64;

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
    // The rest, a one, zeros, and the length in bits: one block, or two where the length does not fit the first.
    let mut end = [[0; BLOCK]; 2];
    if let Some((to, after)) = end.as_flattened_mut().split_at_mut_checked(rest.len()) {
        to.copy_from_slice(rest);
        if let Some(one) = after.first_mut() {
            *one = 0x80;
        }
    }
    let padded = if rest.len() + 1 + 8 <= BLOCK { end.split_at_mut(1).0 } else { &mut end };
    if let Some(length) = padded.as_flattened_mut().last_chunk_mut::<8>() {
        *length = (bytes.len() as u64).wrapping_mul(8).to_be_bytes();
    }
    compress256(&mut state, padded);
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
            assert_eq!(sha256(&bytes[..length]), <[u8; 32]>::from(Sha256::digest(&bytes[..length])), "{length}");
        }
    }
}
