//! Owns bounded reading of primitive fields (varints, little-endian integers,
//! length-prefixed strings) and hands them to every parser of this module.

use super::error::Malformed;

/// Decodes one unsigned LEB128 number and says how many bytes it took;
/// `None` when the bytes end early or the number exceeds 64 bits.
#[inline]
pub fn uvarint(data: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in data.iter().take(10).enumerate() {
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// A reading position in bytes nobody has checked yet.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Starts at the first byte.
    pub fn new(data: &'a [u8]) -> Fields<'a> {
        Fields { data, at: 0 }
    }

    /// Bytes consumed so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or(&[])
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.rest().first().copied();
        let byte = byte.ok_or(Malformed::new(self.at, "a byte is missing"))?;
        self.at += 1;
        Ok(byte)
    }

    /// The next unsigned varint.
    pub fn uvarint(&mut self) -> Result<u64, Malformed> {
        let (value, used) = uvarint(self.rest()).ok_or(Malformed::new(self.at, "a number is cut short"))?;
        self.at += used;
        Ok(value)
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let taken = self.rest().get(..len);
        let taken = taken.ok_or(Malformed::new(self.at, "a length exceeds the bytes there are"))?;
        self.at += len;
        Ok(taken)
    }

    /// A varint length and that many bytes.
    pub fn prefixed(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.uvarint()?;
        self.take(len)
    }

    /// Four bytes, little-endian.
    pub fn u32_le(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(u32_le(bytes, 0).unwrap_or(0))
    }

    /// Eight bytes, little-endian.
    pub fn u64_le(&mut self) -> Result<u64, Malformed> {
        let low = self.u32_le()?;
        let high = self.u32_le()?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }
}

/// Four little-endian bytes at `at`, if they are there.
#[inline]
pub(crate) fn u32_le(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_over_64_bits_or_cut_short_is_refused() {
        assert_eq!(uvarint(&[0x96, 0x01, 9]), Some((150, 2)));
        assert_eq!(uvarint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), Some((u64::MAX, 10)));
        assert_eq!(uvarint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), None);
        assert_eq!(uvarint(&[0x80; 12]), None);
        assert_eq!(uvarint(&[0x80]), None);
        assert_eq!(uvarint(&[]), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_without_allocation() {
        let hostile = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1];
        assert!(Fields::new(&hostile).prefixed().is_err());
    }
}
