//! SHA-256 hashes as the chain computes them: node hashes, store roots, app hashes.

use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// A SHA-256 hash, 32 bytes. Printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of nothing: the root of an empty tree and the app hash of no stores.
    pub const EMPTY: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// SHA-256 of the parts, one after the other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a hash.
#[derive(Debug, thiserror::Error)]
#[error("a hash is 64 hex digits, this has {length} characters{}", if *.length == 64 { ", not all of them hex digits" } else { "" })]
pub struct HashParseError {
    length: usize,
}

impl FromStr for Hash {
    type Err = HashParseError;

    /// Reads 64 hex digits in either case, as block explorers and headers print them.
    fn from_str(text: &str) -> Result<Hash, HashParseError> {
        let error = || HashParseError { length: text.chars().count() };
        let text = text.as_bytes();
        let mut hash = [0u8; 32];
        if text.len() != 64 {
            return Err(error());
        }
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            for &digit in pair {
                let value = (digit as char).to_digit(16).ok_or_else(error)?;
                *byte = (*byte << 4) | value as u8;
            }
        }
        Ok(Hash(hash))
    }
}

/// Bytes as lower-case hex digits, for messages.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_hash_is_sha256_of_nothing() {
        assert_eq!(Hash::of(&[]), Hash::EMPTY);
    }

    #[test]
    fn hex_in_either_case_reads_back_and_other_text_is_refused() {
        let text = Hash::EMPTY.to_string();
        assert_eq!(text.parse::<Hash>().unwrap(), Hash::EMPTY);
        assert_eq!(text.to_uppercase().parse::<Hash>().unwrap(), Hash::EMPTY);
        for bad in ["", "e3", &format!("{text}00"), &text.replace('e', "g"), &"é".repeat(32)] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
    }
}
