//! The stream of a snapshot, packed as it comes and packed here: whatever it holds is rebuilt or refused. And its metadata.

use storeshift::{model::Version, source::snapshot};

const HEIGHT: Version = Version(1000);

pub fn run(data: &[u8]) {
    check(data);
    check(&packed(data));
    if let Ok(metadata) = snapshot::Metadata::decode(data) {
        assert!(metadata.chunk_hashes.len() * 32 <= data.len());
    }
}

fn check(packed: &[u8]) {
    let Ok(info) = snapshot::commit_info_of(HEIGHT, packed) else { return };
    assert_eq!(info.version, HEIGHT);
    assert!(info.stores.is_sorted_by(|a, b| a.name < b.name));
    assert!(info.stores.iter().all(|store| store.version == HEIGHT && store.root.is_some()));
    // Cut short it is no stream any more, whatever was in it.
    assert!(snapshot::commit_info_of(HEIGHT, packed.split_last().map_or(&[], |(_, rest)| rest)).is_err());
}

/// A zlib stream of stored blocks, so that what is fuzzed is what is unpacked.
fn packed(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let sums = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    out.extend((sums.1 << 16 | sums.0).to_be_bytes());
    out
}
