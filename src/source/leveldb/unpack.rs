//! Owns the way from a block's bytes in the file (contents, type, masked CRC32C) to its
//! plain contents. Hands these to blocks and filters.

use super::error::Malformed;
use super::footer::BLOCK_TRAILER;
use super::journal;

/// Largest plain block. Values of several megabytes make blocks as large.
pub const MAX_BLOCK: usize = 256 << 20;

/// Snappy's longest copy gives 64 bytes for 3; a block which claims more is
/// lying, and must not make us allocate.
const MAX_RATIO: usize = 22;

/// Verifies the checksum of `raw` and replaces `plain` by the contents.
///
/// # Errors
/// A differing checksum, an unknown compression, an implausible or wrong
/// decompressed size. `plain` holds nothing useful then.
pub fn unpack(raw: &[u8], plain: &mut Vec<u8>) -> Result<(), Malformed> {
    let covered = journal::checked(raw)
        .ok_or(Malformed::new(raw.len().saturating_sub(BLOCK_TRAILER), "checksum of a block differs"))?;
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
            if size > MAX_BLOCK || size > contents.len().saturating_mul(MAX_RATIO) {
                return Err(Malformed::new(0, "a block claims an implausible size"));
            }
            // Not cleared first: only growth has to be zeroed.
            plain.resize(size, 0);
            let written = snap::raw::Decoder::new().decompress(contents, plain);
            match written {
                Ok(written) if written == size => Ok(()),
                _ => Err(wrong),
            }
        }
        _ => Err(Malformed::new(contents.len(), "a block uses an unknown compression")),
    }
}
