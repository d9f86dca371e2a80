//! The integer encodings of IAVL records: unsigned LEB128 (`uv`) and zigzag LEB128 (`zz`), as Go's `encoding/binary`
//! writes them, and byte strings with an `uv` length.

/// Reads fields from the front of a byte slice; every read returns `None` past the end or on an overlong integer.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Fields of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An unsigned varint.
    #[inline]
    pub fn uv(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && byte > 1 {
                return None;
            }
            value |= bits << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..)?;
                return Some(value);
            }
        }
        None
    }

    /// A signed (zigzag) varint.
    #[inline]
    pub fn zz(&mut self) -> Option<i64> {
        let raw = self.uv()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A byte string with its length in front. The length is never trusted beyond the bytes that are there.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.uv()?).ok()?;
        self.take(length)
    }

    /// Exactly `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(front)
    }
}

/// Appends an unsigned varint.
#[inline]
pub fn put_uv(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of an unsigned varint as [`put_uv`] writes it.
#[inline]
#[must_use]
pub fn uv_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a signed (zigzag) varint.
#[inline]
pub fn put_zz(out: &mut Vec<u8>, value: i64) {
    put_uv(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a byte string with its length in front.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uv(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worked_examples_of_go_come_out() {
        let zz = |v| {
            let mut out = Vec::new();
            put_zz(&mut out, v);
            out
        };
        assert_eq!(zz(0), [0x00]);
        assert_eq!(zz(1), [0x02]);
        assert_eq!(zz(-1), [0x01]);
        assert_eq!(zz(100), [0xc8, 0x01]);
        assert_eq!(zz(i64::from(u32::MAX)), [0xfe, 0xff, 0xff, 0xff, 0x1f]);
    }

    #[test]
    fn overlong_and_truncated_integers_are_refused() {
        assert_eq!(Fields::new(&[0x80]).uv(), None);
        assert_eq!(Fields::new(&[0xff; 11]).uv(), None);
        assert_eq!(Fields::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).uv(), None);
        assert_eq!(Fields::new(&[5, 1, 2]).bytes(), None);
    }

    proptest! {
        #[test]
        fn integers_read_back(u: u64, s: i64) {
            let mut out = Vec::new();
            put_uv(&mut out, u);
            prop_assert_eq!(out.len(), uv_len(u));
            put_zz(&mut out, s);
            let mut fields = Fields::new(&out);
            prop_assert_eq!(fields.uv(), Some(u));
            prop_assert_eq!(fields.zz(), Some(s));
            prop_assert!(fields.rest().is_empty());
        }
    }
}
