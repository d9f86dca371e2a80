//! The journal's records: what is read is written back to the same bytes, and what it means survives being written again.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use storeshift::{
    iavl::SpineNode,
    journal::{
        EventRecord, Job, codec,
        record::{Chunk1, Job1, Manifest1, Restored1, Spine1, State1},
    },
    machine::State,
    model::{Chunk, Manifest, Restored},
};

pub fn run(data: &[u8]) {
    // The first byte says which kind of record.
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 => means::<Job1, Job>(data),
        1 => means::<State1, State>(data),
        2 => means::<Manifest1, Manifest>(data),
        3 => means::<Chunk1, Chunk>(data),
        4 => means::<Spine1, SpineNode>(data),
        5 => means::<Restored1, Restored>(data),
        6 => drop(written::<EventRecord>(data)),
        // Nobody guesses a digest, so this is about what comes before it is compared.
        _ => assert!(codec::decode::<State1>("state", data).is_err() || data.len() > 24),
    }
}

/// Reads a record, and sees that it is written back to the same bytes, which no other place may have.
fn written<T: Serialize + DeserializeOwned>(payload: &[u8]) -> Option<T> {
    let record: T = codec::decode_payload("place", payload).ok()?;
    let bytes = codec::encode("place", &record).expect("what was read is written");
    assert!(bytes[9..bytes.len() - 16] == *payload, "written otherwise than it was read");
    assert!(codec::decode::<T>("place", &bytes).is_ok() && codec::decode::<T>("another", &bytes).is_err());
    Some(record)
}

fn means<T, M>(payload: &[u8])
where
    T: Serialize + DeserializeOwned + for<'a> From<&'a M>,
    M: TryFrom<T> + PartialEq + Debug,
{
    let Some(record) = written::<T>(payload) else { return };
    let Ok(meaning) = M::try_from(record) else { return };
    let again: T = (&meaning).into();
    let bytes = codec::encode("place", &again).expect("what was read is written");
    let read = M::try_from(codec::decode("place", &bytes).expect("what was written is read"));
    assert_eq!(read.ok().expect("what was written means something"), meaning);
}
