//! A table's last bytes: which format it has. Only to name tables that this RocksDB does not read; all else is left to it.
//!
//! Source: RocksDB's `table/format.cc`: the file ends in the format version (little endian, 4 bytes) and a magic number (8).

/// Bytes of a table's end that are needed.
pub const BYTES: u64 = 12;
/// The oldest and newest format that is read.
const OLDEST: u32 = 2;
const NEWEST: u32 = 7;

const BLOCK_BASED: u64 = 0x88e2_41b7_85f4_cff7;
const LEVELDB: u64 = 0xdb47_7524_8b80_fb57;
const PLAIN: u64 = 0x8242_2296_63bf_9564;
const PLAIN_OLD: u64 = 0x4f34_18eb_7a8f_13b8;
const CUCKOO: u64 = 0x926789d0c5f17873;

/// Why a table cannot be read, from its last 12 bytes; none if it can, or if these bytes belong to no table at all.
#[must_use]
pub fn objection(end: &[u8]) -> Option<String> {
    let (version, magic) = end.split_first_chunk::<4>()?;
    let version = u32::from_le_bytes(*version);
    match u64::from_le_bytes(*magic.first_chunk::<8>()?) {
        BLOCK_BASED if version > NEWEST => {
            Some(format!("a table of format {version}, of a newer RocksDB than this release reads (format {NEWEST})"))
        }
        BLOCK_BASED if version < OLDEST => Some(format!(
            "a table of format {version}, of a RocksDB older than this release reads (format {OLDEST}); {COMPACT}"
        )),
        LEVELDB => Some(format!("a table of format 0, of a LevelDB or a very old RocksDB; {COMPACT}")),
        PLAIN | PLAIN_OLD => Some("a plain table; nodes write block-based tables only".to_owned()),
        CUCKOO => Some("a cuckoo table; nodes write block-based tables only".to_owned()),
        _ => None,
    }
}

const COMPACT: &str = "compact the database with the node's own RocksDB first";

#[cfg(test)]
mod tests {
    use super::*;

    fn end(version: u32, magic: u64) -> Vec<u8> {
        [&version.to_le_bytes()[..], &magic.to_le_bytes()].concat()
    }

    #[test]
    fn formats_2_to_7_of_block_based_tables_are_read_and_others_named() {
        for version in 2..=7 {
            assert_eq!(objection(&end(version, BLOCK_BASED)), None);
        }
        assert!(objection(&end(8, BLOCK_BASED)).unwrap().contains("format 8, of a newer"));
        assert!(objection(&end(1, BLOCK_BASED)).unwrap().contains("format 1, of a RocksDB older"));
        assert!(objection(&end(0, LEVELDB)).unwrap().contains("format 0"));
        assert!(objection(&end(0, PLAIN)).unwrap().contains("plain"));
        assert!(objection(&end(0, PLAIN_OLD)).unwrap().contains("plain"));
        assert!(objection(&end(1, CUCKOO)).unwrap().contains("cuckoo"));
    }

    #[test]
    fn what_is_no_footer_is_left_to_rocksdb_to_judge() {
        assert_eq!(objection(&end(5, 0x1234)), None);
        assert_eq!(objection(&end(5, BLOCK_BASED)[1..]), None);
        assert_eq!(objection(&[]), None);
    }
}
