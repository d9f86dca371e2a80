//! Owns the write batch, the payload of one record of `NNNNNN.log`:
//! LE8 sequence ‖ LE4 count ‖ operations. Hands operations to the log replay.

use super::bytes::Fields;
use super::error::Malformed;
use super::key::{DELETE, PUT};

/// One change inside a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Sequence number of this change alone.
    pub sequence: u64,
    /// User key.
    pub key: &'a [u8],
    /// New value, or `None` for a deletion.
    pub value: Option<&'a [u8]>,
}

/// Calls `each` for every change of one batch, in order.
///
/// # Errors
/// Anything but exactly the announced number of well-formed operations.
pub fn decode<'a>(payload: &'a [u8], mut each: impl FnMut(Operation<'a>)) -> Result<(), Malformed> {
    let mut fields = Fields::new(payload);
    let first = fields.u64_le()?;
    let count = fields.u32_le()?;
    if first.saturating_add(u64::from(count)) >= 1 << 56 {
        return Err(Malformed::new(0, "a sequence number exceeds 56 bits"));
    }
    for sequence in first..first + u64::from(count) {
        let at = fields.at();
        let kind = fields.byte()?;
        let key = fields.prefixed()?;
        let value = match kind {
            PUT => Some(fields.prefixed()?),
            DELETE => None,
            _ => return Err(Malformed::new(at, "unknown type of batch operation")),
        };
        each(Operation { sequence, key, value });
    }
    if !fields.is_empty() {
        return Err(Malformed::new(fields.at(), "a batch holds more than it announces"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_take_consecutive_sequence_numbers() {
        let mut payload = 7u64.to_le_bytes().to_vec();
        payload.extend(2u32.to_le_bytes());
        payload.extend(b"\x01\x01k\x02vv\x00\x01d");
        let mut seen = Vec::new();
        decode(&payload, |op| seen.push((op.sequence, op.key, op.value))).unwrap();
        assert_eq!(seen, [(7, &b"k"[..], Some(&b"vv"[..])), (8, &b"d"[..], None)]);
    }

    #[test]
    fn a_count_which_disagrees_with_the_bytes_is_refused() {
        for (count, body) in [
            (2u32, &b"\x00\x01d"[..]),
            (0, b"\x00\x01d"),
            (u32::MAX, b"\x00\x01d"),
            (1, b"\x02\x01d"),
            (1, b"\x01\x01d\xff\xff\xff\xff\x0f"),
        ] {
            let mut payload = 7u64.to_le_bytes().to_vec();
            payload.extend(count.to_le_bytes());
            payload.extend(body);
            assert!(decode(&payload, |_| ()).is_err(), "{count} {body:?}");
        }
        assert!(decode(&[0xff; 12], |_| ()).is_err());
        assert!(decode(&[], |_| ()).is_err());
    }
}
