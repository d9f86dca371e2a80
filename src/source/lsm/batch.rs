//! Owns the write batch, the payload of one record of a write-ahead log: LE8 sequence ‖ LE4 count ‖ operations. Which kinds
//! of operations there are is the engine's matter. Hands operations to the log replay.

use super::bytes::Fields;
use super::error::{Fault, Malformed};

/// What an operation of some kind has, and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Key and value.
    Put,
    /// Key only: removes it.
    Delete,
    /// Key and something about what is removed.
    DeleteSized,
    /// Bytes that are only for the log; not counted, and without a sequence number.
    Comment,
    /// What a reader cannot apply.
    Unsupported(&'static str),
}

/// The form of each kind of operation; none if the engine has no such kind.
pub type Forms = fn(u8) -> Option<Form>;

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

/// Calls `each` for every change of one batch, in order; returns the first sequence number and the one after the last.
///
/// # Errors
/// Anything but exactly the announced number of well-formed operations.
pub fn decode<'a>(payload: &'a [u8], forms: Forms, mut each: impl FnMut(Operation<'a>)) -> Result<(u64, u64), Fault> {
    let mut fields = Fields::new(payload);
    let first = fields.u64_le()?;
    let count = fields.u32_le()?;
    if first.saturating_add(u64::from(count)) >= 1 << 56 {
        return Err(Malformed::new(0, "a sequence number exceeds 56 bits").into());
    }
    let (mut sequence, end) = (first, first + u64::from(count));
    while !fields.is_empty() {
        let at = fields.at();
        let form = forms(fields.byte()?).ok_or(Malformed::new(at, "unknown type of batch operation"))?;
        if let Form::Unsupported(what) = form {
            return Err(Fault::Unsupported(format!("it has {what}")));
        }
        let key = fields.prefixed()?;
        let value = match form {
            Form::Comment => continue,
            Form::Put => Some(fields.prefixed()?),
            Form::DeleteSized => {
                fields.prefixed()?;
                None
            }
            Form::Delete | Form::Unsupported(_) => None,
        };
        if sequence == end {
            return Err(Malformed::new(at, "a batch holds more than it announces").into());
        }
        each(Operation { sequence, key, value });
        sequence += 1;
    }
    if sequence != end {
        return Err(Malformed::new(fields.at(), "a batch holds less than it announces").into());
    }
    Ok((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::leveldb::DIALECT;

    #[test]
    fn operations_take_consecutive_sequence_numbers() {
        let mut payload = 7u64.to_le_bytes().to_vec();
        payload.extend(2u32.to_le_bytes());
        payload.extend(b"\x01\x01k\x02vv\x00\x01d");
        let mut seen = Vec::new();
        decode(&payload, DIALECT.forms, |op| seen.push((op.sequence, op.key, op.value))).unwrap();
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
            assert!(decode(&payload, DIALECT.forms, |_| ()).is_err(), "{count} {body:?}");
        }
        assert!(decode(&[0xff; 12], DIALECT.forms, |_| ()).is_err());
        assert!(decode(&[], DIALECT.forms, |_| ()).is_err());
    }
}
