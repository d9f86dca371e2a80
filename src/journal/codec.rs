//! The envelope around every record: `SSJ` ‖ format u16 ‖ payload length u32 ‖ payload ‖ 16 bytes of BLAKE3 over all of it
//! and the record's place. Little endian. bincode is known to this file only.
//!
//! redb checks its pages; this digest also notices a record in the wrong place and a decoder that reads too little, which
//! bincode by itself does not.

use super::JournalError;
use serde::{Serialize, de::DeserializeOwned};

/// The format this release writes.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 3] = b"SSJ";
const DIGEST: usize = 16;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_little_endian().with_limit::<{ 64 << 20 }>()
}

/// Wraps a record for one place, e.g. `chunk/17`.
///
/// # Errors
/// It is larger than records may be.
pub fn encode<T: Serialize>(place: &str, record: &T) -> Result<Vec<u8>, JournalError> {
    let damaged = |what: String| JournalError::Record { place: place.to_owned(), what };
    let payload = bincode::serde::encode_to_vec(record, config()).map_err(|error| damaged(error.to_string()))?;
    let length = u32::try_from(payload.len()).map_err(|_| damaged("is larger than 4 GiB".to_owned()))?;
    let mut bytes = Vec::with_capacity(payload.len() + 25);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&payload);
    let digest = digest(place, &bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

/// Unwraps the record of one place.
///
/// # Errors
/// It is damaged, another place's, or of another format.
pub fn decode<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T, JournalError> {
    let damaged = |what: &str| JournalError::Record { place: place.to_owned(), what: what.to_owned() };
    let (body, found) =
        bytes.split_at_checked(bytes.len().saturating_sub(DIGEST)).ok_or_else(|| damaged("is cut short"))?;
    if found != digest(place, body) {
        return Err(damaged("does not have the digest it was written with"));
    }
    let Some((MAGIC, rest)) = body.split_first_chunk() else { return Err(damaged("has no header")) };
    let Some((format, rest)) = rest.split_first_chunk() else { return Err(damaged("has no format")) };
    let Some((length, payload)) = rest.split_first_chunk() else { return Err(damaged("has no length")) };
    let format = u16::from_le_bytes(*format);
    if format != FORMAT {
        return Err(JournalError::Format { found: format, known: FORMAT });
    }
    if u32::from_le_bytes(*length) as usize != payload.len() {
        return Err(damaged("has the wrong length"));
    }
    decode_payload(place, payload)
}

/// Decodes what is in the envelope.
///
/// # Errors
/// It is no such record, or more than one.
pub fn decode_payload<T: DeserializeOwned>(place: &str, payload: &[u8]) -> Result<T, JournalError> {
    let damaged = |what: &str| JournalError::Record { place: place.to_owned(), what: what.to_owned() };
    match bincode::serde::decode_from_slice(payload, config()) {
        Ok((record, used)) if used == payload.len() => Ok(record),
        Ok(_) => Err(damaged("has bytes left over")),
        Err(error) => Err(damaged(&error.to_string())),
    }
}

pub(super) fn digest(place: &str, bytes: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new_derive_key("storeshift 2026 journal record");
    hasher.update(&(place.len() as u64).to_le_bytes());
    hasher.update(place.as_bytes());
    hasher.update(bytes);
    let mut digest = [0; DIGEST];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_cut_and_swap_is_noticed() {
        let record = (7u64, "text".to_owned(), vec![Some(3u8), None]);
        let bytes = encode("a/1", &record).unwrap();
        assert_eq!(decode::<(u64, String, Vec<Option<u8>>)>("a/1", &bytes).unwrap(), record);
        let refused = |place: &str, bytes: &[u8]| decode::<(u64, String, Vec<Option<u8>>)>(place, bytes).is_err();
        assert!(refused("a/2", &bytes), "a record in another's place");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused("a/1", &flipped), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(refused("a/1", &bytes[..length]), "cut at {length}");
        }
    }

    #[test]
    fn a_longer_record_does_not_decode_as_a_shorter_one() {
        let bytes = encode("a/1", &(1u64, 2u64)).unwrap();
        assert!(decode::<u64>("a/1", &bytes).is_err());
    }

    #[test]
    fn the_bytes_of_format_1_never_change() {
        let bytes = encode("event/3", &(1u64, true)).unwrap();
        let hex = crate::model::to_hex(&bytes);
        assert!(hex.starts_with("53534a0100090000000100000000000000 01".replace(' ', "").as_str()), "{hex}");
        assert_eq!(bytes.len(), 3 + 2 + 4 + 9 + 16);
    }
}
