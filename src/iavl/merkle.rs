//! Merkle hashes of nodes, one by one and many at a time. Owns what they are taken over.

use super::{
    sha256::{self, sha256},
    varint::{put_bytes, put_zz},
};
use crate::model::{Hash, Version};

pub(super) use sha256::MANY;

/// Merkle hash of a leaf: `SHA-256(zz 0 ‖ zz 1 ‖ zz version ‖ bytes key ‖ 20 ‖ SHA-256(value))`.
#[inline]
#[must_use]
pub fn leaf_hash(version: Version, key: &[u8], value: &[u8]) -> Hash {
    let digest = sha256(value);
    let mut preimage = LeafPreimage::EMPTY;
    if preimage.put_leaf(version, key, &digest) {
        Hash(sha256::padded(preimage.padded()))
    } else {
        long_leaf_hash(version, key, &digest)
    }
}

/// Merkle hash of an inner node: `SHA-256(zz height ‖ zz size ‖ zz version ‖ 20 ‖ left ‖ 20 ‖ right)`.
#[inline]
#[must_use]
pub fn inner_hash(height: u8, size: u64, version: Version, left: &Hash, right: &Hash) -> Hash {
    let mut preimage = InnerPreimage::EMPTY;
    preimage.put_inner(height, size, version, left, right);
    Hash(sha256::padded(preimage.padded()))
}

/// Merkle hashes of leaves, each given as its version, key and value. At most [`MANY`] are hashed, the rest of `hashes` stays
/// as it is.
pub(super) fn leaf_hashes(leaves: &[(Version, &[u8], &[u8])], hashes: &mut [Hash; MANY]) {
    let mut digests = [[0; 32]; MANY];
    let mut values: [&[u8]; MANY] = [&[]; MANY];
    for (to, (_, _, value)) in values.iter_mut().zip(leaves) {
        *to = value;
    }
    sha256::many(values.get(..leaves.len()).unwrap_or_default(), &mut digests);
    let mut preimages = [LeafPreimage::EMPTY; MANY];
    let mut messages: [&[[u8; sha256::BLOCK]]; MANY] = [&[]; MANY];
    let leaves = leaves.iter().zip(&digests);
    for (((version, key, _), digest), (preimage, message)) in
        leaves.clone().zip(preimages.iter_mut().zip(&mut messages))
    {
        if preimage.put_leaf(*version, key, digest) {
            *message = preimage.padded();
        }
    }
    let mut hashed = [[0; 32]; MANY];
    sha256::many_padded(messages.get(..leaves.len()).unwrap_or_default(), &mut hashed);
    for (((version, key, _), digest), ((hash, hashed), message)) in
        leaves.zip(hashes.iter_mut().zip(hashed).zip(messages))
    {
        *hash = if message.is_empty() { long_leaf_hash(*version, key, digest) } else { Hash(hashed) };
    }
}

/// Inner nodes whose hashes are taken together.
#[derive(Default)]
pub(super) struct InnerNodes {
    preimages: Vec<InnerPreimage>,
    hashes: Vec<[u8; 32]>,
}

impl InnerNodes {
    /// Adds a node: its height, size and version, and the hashes of its children.
    #[inline]
    pub(super) fn push(&mut self, height: u8, size: u64, version: Version, left: &Hash, right: &Hash) {
        self.preimages.push_mut(InnerPreimage::EMPTY).put_inner(height, size, version, left, right);
    }

    /// The hashes of all nodes that were added since the last time, in that order.
    pub(super) fn hashes(&mut self) -> impl Iterator<Item = Hash> {
        self.hashes.clear();
        self.hashes.resize(self.preimages.len(), [0; 32]);
        for (preimages, hashes) in self.preimages.chunks_mut(MANY).zip(self.hashes.chunks_mut(MANY)) {
            let mut messages: [&[[u8; sha256::BLOCK]]; MANY] = [&[]; MANY];
            for (preimage, message) in preimages.iter_mut().zip(&mut messages) {
                *message = preimage.padded();
            }
            sha256::many_padded(messages.get(..hashes.len()).unwrap_or_default(), hashes);
        }
        self.preimages.clear();
        self.hashes.iter().copied().map(Hash)
    }
}

/// The hash of a leaf whose key is long.
#[cold]
fn long_leaf_hash(version: Version, key: &[u8], value_digest: &[u8; 32]) -> Hash {
    let mut preimage = Vec::with_capacity(key.len() + 64);
    put_zz(&mut preimage, 0);
    put_zz(&mut preimage, 1);
    put_zz(&mut preimage, version.0 as i64);
    put_bytes(&mut preimage, key);
    put_bytes(&mut preimage, value_digest);
    Hash(sha256(&preimage))
}

/// Three blocks.
type LeafPreimage = Preimage<{ 3 * sha256::BLOCK }>;
/// Two blocks: 20 bytes of integers at most, two digests with their lengths, 9 bytes of padding.
type InnerPreimage = Preimage<{ 2 * sha256::BLOCK }>;

/// What a Merkle hash is taken over: gathered where nothing is allocated, and padded where it was gathered.
#[derive(Clone, Copy)]
struct Preimage<const BYTES: usize> {
    gathered: [u8; BYTES],
    length: usize,
}

impl LeafPreimage {
    /// Bytes of a key that has room beside 24 bytes of integers, a digest with its length, and padding.
    const KEY: usize = 3 * sha256::BLOCK - 24 - 33 - 9;

    /// False if the key is too long.
    #[inline]
    fn put_leaf(&mut self, version: Version, key: &[u8], value_digest: &[u8; 32]) -> bool {
        if key.len() > LeafPreimage::KEY {
            return false;
        }
        self.zz(0);
        self.zz(1);
        self.zz(version.0 as i64);
        self.uv(key.len() as u64);
        self.bytes(key);
        self.digest(value_digest);
        true
    }
}

impl InnerPreimage {
    #[inline]
    fn put_inner(&mut self, height: u8, size: u64, version: Version, left: &Hash, right: &Hash) {
        self.zz(i64::from(height));
        self.zz(size as i64);
        self.zz(version.0 as i64);
        self.digest(&left.0);
        self.digest(&right.0);
    }
}

impl<const BYTES: usize> Preimage<BYTES> {
    const EMPTY: Preimage<BYTES> = Preimage { gathered: [0; BYTES], length: 0 };

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.gathered.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// A hash with its length before it.
    #[inline]
    fn digest(&mut self, digest: &[u8; 32]) {
        let room = self.gathered.get_mut(self.length..).and_then(<[u8]>::split_first_mut);
        if let Some((length, room)) = room
            && let Some(room) = room.first_chunk_mut::<32>()
        {
            (*length, *room) = (32, *digest);
            self.length += 33;
        }
    }

    #[inline]
    fn uv(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.bytes(&[value as u8]);
    }

    #[inline]
    fn zz(&mut self, value: i64) {
        self.uv(((value << 1) ^ (value >> 63)) as u64);
    }

    #[inline]
    fn padded(&mut self) -> &[[u8; sha256::BLOCK]] {
        sha256::pad(&mut self.gathered, self.length, self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn a_hash_is_the_same_however_long_its_key_is_and_how_many_are_hashed_at_once() {
        let lengths: Vec<usize> = (0..400).chain([100_000]).collect();
        for lengths in lengths.chunks(MANY) {
            let keys: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
            let values: Vec<Vec<u8>> = lengths.iter().map(|length| vec![9; (length * 37) % 1500]).collect();
            let mut leaves: Vec<(Version, &[u8], &[u8])> = Vec::new();
            for ((key, value), version) in
                keys.iter().zip(&values).zip([0, 1, 64, 100, u64::MAX >> 1].into_iter().cycle())
            {
                leaves.push((Version(version), key, value));
            }
            let mut hashes = [Hash::EMPTY; MANY];
            leaf_hashes(&leaves, &mut hashes);
            for ((version, key, value), hash) in leaves.into_iter().zip(hashes) {
                let mut whole = vec![0, 2];
                put_zz(&mut whole, version.0 as i64);
                put_bytes(&mut whole, key);
                put_bytes(&mut whole, &Sha256::digest(value));
                let expected = Hash(Sha256::digest(&whole).into());
                assert_eq!(leaf_hash(version, key, value), expected, "{}", key.len());
                assert_eq!(hash, expected, "{} with others", key.len());
            }
        }
    }

    #[test]
    fn inner_nodes_have_the_same_hashes_together_as_alone() {
        let mut nodes = InnerNodes::default();
        for count in 0..150u64 {
            let node = |n: u64| {
                let hash = |salt: u64| Hash(Sha256::digest((n ^ salt).to_be_bytes()).into());
                let large = if n.is_multiple_of(3) { i64::MAX as u64 } else { n };
                (n as u8 & 127, large, Version(large >> (n % 64)), hash(0), hash(1))
            };
            for (height, size, version, left, right) in (0..count).map(node) {
                nodes.push(height, size, version, &left, &right);
            }
            let mut seen = 0;
            for (index, hash) in (0..).zip(nodes.hashes()) {
                let (height, size, version, left, right) = node(index);
                let mut whole = Vec::new();
                put_zz(&mut whole, i64::from(height));
                put_zz(&mut whole, size as i64);
                put_zz(&mut whole, version.0 as i64);
                put_bytes(&mut whole, &left.0);
                put_bytes(&mut whole, &right.0);
                assert_eq!(hash, Hash(Sha256::digest(&whole).into()), "{index} of {count}");
                assert_eq!(hash, inner_hash(height, size, version, &left, &right), "{index} of {count}");
                seen += 1;
            }
            assert_eq!(seen, count);
        }
    }
}
