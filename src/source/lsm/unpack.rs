//! Owns the way from a block's bytes in the file (contents, compression, LE4 checksum over both) to its plain contents.
//! Hands these to blocks and filters.

use std::cell::RefCell;

use ruzstd::decoding::FrameDecoder;

use super::bytes::{u32_le, uvarint};
use super::error::Malformed;
use super::footer::{BLOCK_TRAILER, Checksum, Packing};
use super::log;

/// Largest plain block. Values of several megabytes make blocks as large.
pub const MAX_BLOCK: usize = 256 << 20;

/// Snappy's longest copy gives 64 bytes for 3; a block which claims more is
/// lying, and must not make us allocate.
const SNAPPY_RATIO: usize = 22;
/// Zstandard's shortest block, of 4 bytes, gives 128 KiB at most.
const ZSTD_RATIO: usize = 32 << 10;
/// Writers may announce more of a window than they have contents.
const ZSTD_WINDOW: u64 = 8 << 20;

thread_local! {
    /// Its tables are large, and the same for every block.
    static ZSTD: RefCell<FrameDecoder> = RefCell::new(FrameDecoder::new());
}

/// Verifies the checksum of `raw` and replaces `plain` by the contents.
///
/// # Errors
/// A differing checksum, an unknown compression, an implausible or wrong
/// decompressed size. `plain` holds nothing useful then.
pub fn unpack(raw: &[u8], plain: &mut Vec<u8>, packing: Packing) -> Result<(), Malformed> {
    let covered = match packing.checksum {
        Checksum::Crc32c => log::checked(raw),
        Checksum::XxHash64 => hashed(raw),
    };
    let covered =
        covered.ok_or(Malformed::new(raw.len().saturating_sub(BLOCK_TRAILER), "checksum of a block differs"))?;
    let Some((&kind, contents)) = covered.split_last() else {
        return Err(Malformed::new(0, "a block is cut short"));
    };
    match kind {
        0 => {
            plain.clear();
            plain.extend_from_slice(contents);
            Ok(())
        }
        1 => {
            let wrong = Malformed::new(0, "a block is not valid Snappy");
            let size = snap::raw::decompress_len(contents).map_err(|_| wrong)?;
            resize(plain, size, contents.len().saturating_mul(SNAPPY_RATIO))?;
            let written = snap::raw::Decoder::new().decompress(contents, plain);
            match written {
                Ok(written) if written == size => Ok(()),
                _ => Err(wrong),
            }
        }
        // Pebble and RocksDB put the size before the frame.
        7 if packing.zstd => {
            let wrong = Malformed::new(0, "a block is not valid Zstandard");
            let (size, used) = uvarint(contents).ok_or(wrong)?;
            let size = usize::try_from(size).map_err(|_| wrong)?;
            resize(plain, size, contents.len().saturating_mul(ZSTD_RATIO))?;
            let frame = contents.get(used..).unwrap_or(&[]);
            let written = ZSTD.with_borrow_mut(|decoder| {
                decoder.set_max_window_size((size as u64).max(ZSTD_WINDOW));
                decoder.decode_all(frame, plain)
            });
            match written {
                Ok(written) if written == size => Ok(()),
                _ => Err(wrong),
            }
        }
        _ => Err(Malformed::new(contents.len(), "a block uses an unknown compression")),
    }
}

/// Makes room for the size a block claims, if it can have that.
fn resize(plain: &mut Vec<u8>, size: usize, most: usize) -> Result<(), Malformed> {
    if size > MAX_BLOCK || size > most {
        return Err(Malformed::new(0, "a block claims an implausible size"));
    }
    // Not cleared first: only growth has to be zeroed.
    plain.resize(size, 0);
    Ok(())
}

/// Checks the low half of an XXH64 which ends `data`, and returns what it covers.
fn hashed(data: &[u8]) -> Option<&[u8]> {
    let end = data.len().checked_sub(4)?;
    let covered = data.get(..end)?;
    (twox_hash::XxHash64::oneshot(0, covered) as u32 == u32_le(data, end)?).then_some(covered)
}
