//! SHA-256 of many small inputs: the blocks go straight from where they lie to the compression function, and only the
//! padded end is copied. What the general hasher does for streams costs as much as a block here. Where many messages are there at
//! once and the processor can, they are hashed side by side ([`lanes`]).

mod lanes;

use sha2::block_api::compress256;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Messages that are worth collecting before they are hashed.
pub(super) const MANY: usize = 64;
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

/// The SHA-256 of a message that is padded.
#[inline]
pub(super) fn padded(blocks: &[[u8; BLOCK]]) -> [u8; 32] {
    let mut state = INITIAL;
    compress256(&mut state, blocks);
    digest(state)
}

/// The SHA-256 of each message.
pub(super) fn many(messages: &[&[u8]], digests: &mut [[u8; 32]]) {
    if !lanes::are_there() {
        for (message, digest) in messages.iter().zip(digests) {
            *digest = sha256(message);
        }
        return;
    }
    for (messages, digests) in messages.chunks(MANY).zip(digests.chunks_mut(MANY)) {
        let mut ends = [[0; 2 * BLOCK]; MANY];
        let mut blocks = [Blocks::default(); MANY];
        for ((message, end), blocks) in messages.iter().zip(&mut ends).zip(&mut blocks) {
            let (whole, rest) = message.as_chunks();
            if let Some(to) = end.get_mut(..rest.len()) {
                to.copy_from_slice(rest);
            }
            *blocks = Blocks { whole, end: pad(end, rest.len(), message.len()).unwrap_or_default() };
        }
        in_groups(blocks.get(..messages.len()).unwrap_or_default(), digests);
    }
}

/// As [`many`], of messages that are padded.
pub(super) fn many_padded(messages: &[&[[u8; BLOCK]]], digests: &mut [[u8; 32]]) {
    for (messages, digests) in messages.chunks(MANY).zip(digests.chunks_mut(MANY)) {
        let mut blocks = [Blocks::default(); MANY];
        for (whole, blocks) in messages.iter().zip(&mut blocks) {
            *blocks = Blocks { whole, end: &[] };
        }
        in_groups(blocks.get(..messages.len()).unwrap_or_default(), digests);
    }
}

/// The blocks of a message: those that lie together where it lies, and those behind it.
#[derive(Clone, Copy, Default)]
struct Blocks<'a> {
    whole: &'a [[u8; BLOCK]],
    end: &'a [[u8; BLOCK]],
}

impl<'a> Blocks<'a> {
    #[inline]
    fn count(&self) -> usize {
        self.whole.len() + self.end.len()
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&'a [u8; BLOCK]> {
        self.whole.get(index).or_else(|| self.end.get(index.wrapping_sub(self.whole.len())))
    }

    fn hash(&self) -> [u8; 32] {
        let mut state = INITIAL;
        compress256(&mut state, self.whole);
        compress256(&mut state, self.end);
        digest(state)
    }
}

/// Hashes up to [`MANY`] messages: those of similar length side by side, so that no lane runs empty for long.
fn in_groups(messages: &[Blocks<'_>], digests: &mut [[u8; 32]]) {
    /// Messages with more blocks are not told apart.
    const LONG: usize = 15;
    /// A group takes as long as this many of its blocks one at a time.
    const WORTH: usize = 7;
    let class = |message: &Blocks<'_>| message.count().min(LONG);
    let mut places = [0; LONG + 1];
    for message in messages {
        if let Some(count) = places.get_mut(class(message)) {
            *count += 1;
        }
    }
    let mut before = 0u8;
    for place in &mut places {
        (*place, before) = (before, before + *place);
    }
    let mut order = [0u8; MANY];
    for (index, message) in (0..).zip(messages) {
        if let Some(place) = places.get_mut(class(message)) {
            if let Some(at) = order.get_mut(usize::from(*place)) {
                *at = index;
            }
            *place += 1;
        }
    }
    let mut hashes = [[0; 32]; lanes::LANES];
    for group in order.get(..messages.len()).unwrap_or_default().chunks(lanes::LANES) {
        let mut side_by_side = [Blocks::default(); lanes::LANES];
        for (lane, index) in side_by_side.iter_mut().zip(group) {
            *lane = messages.get(usize::from(*index)).copied().unwrap_or_default();
        }
        let blocks: usize = side_by_side.iter().map(Blocks::count).sum();
        let most = side_by_side.iter().map(Blocks::count).max().unwrap_or(0);
        if blocks <= WORTH * most || !lanes::hash(&side_by_side, &mut hashes) {
            hashes = side_by_side.map(|message| message.hash());
        }
        for (index, hash) in group.iter().zip(hashes) {
            if let Some(digest) = digests.get_mut(usize::from(*index)) {
                *digest = hash;
            }
        }
    }
}

/// Appends what ends a message: a one, zeros, and the length of all of it in bits.
#[inline]
pub(super) fn pad(buffer: &mut [u8], length: usize, all: usize) -> Option<&[[u8; BLOCK]]> {
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
            let hash = pad(&mut buffer, length, length).map(padded);
            assert_eq!(hash, (length <= 192 - 9).then_some(expected), "{length} padded in place");
        }
    }

    /// Of every length with every other, in groups of every size: where this processor has no lanes, that they are hashed one
    /// after the other is all that is tested.
    #[test]
    fn messages_have_the_same_hashes_side_by_side_as_alone() {
        println!("lanes: {}", lanes::are_there());
        let bytes: Vec<u8> = (0..4096u32).map(|i| ((i * 37) >> 3) as u8).collect();
        let length = |n: usize| match n % 11 {
            0 => n % 4096,
            1 => 0,
            _ => (n * 7919) % 330,
        };
        for count in (0..2 * MANY).chain([500, 5000]) {
            let messages: Vec<&[u8]> = (0..count).map(|n| &bytes[n % 5..][..length(n + count).min(4000)]).collect();
            let mut digests = vec![[0; 32]; count];
            many(&messages, &mut digests);
            for (message, digest) in messages.iter().zip(digests) {
                assert_eq!(digest, <[u8; 32]>::from(Sha256::digest(message)), "{} of {count}", message.len());
            }
        }
    }
}
