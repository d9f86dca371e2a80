//! Commit info as store/v2 writes it: uv version ‖ zz Unix nanoseconds ‖ uv count ‖ per store bytes name, bytes hash,
//! bytes structure (store/v2 `proof.CommitInfo`, beta 1). Not protobuf.

use crate::{
    iavl::varint::{Fields, put_bytes, put_uv, put_zz},
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Timestamp, Version},
};

/// Encodes a commit info. Stores go in order of name; the Go code reads any order.
#[must_use]
pub fn encode(info: &CommitInfo) -> Vec<u8> {
    let mut out = Vec::new();
    put_uv(&mut out, info.version.0);
    put_zz(&mut out, info.timestamp.unwrap_or(Timestamp::ZERO).unix_nanos());
    put_uv(&mut out, info.stores.len() as u64);
    for store in &info.stores {
        put_bytes(&mut out, store.name.as_str().as_bytes());
        put_bytes(&mut out, store.root.as_ref().map_or(&[], |root| &root.0));
        put_bytes(&mut out, b"");
    }
    out
}

/// Decodes a commit info; `None` if the bytes are not one. The time is kept as far as nanoseconds carry it.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<CommitInfo> {
    let mut fields = Fields::new(bytes);
    let version = Version(fields.uv()?);
    let nanos = fields.zz()?;
    let timestamp = if nanos == Timestamp::ZERO.unix_nanos() {
        Timestamp::ZERO
    } else {
        Timestamp {
            seconds: nanos.div_euclid(1_000_000_000),
            nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?,
        }
    };
    let count = fields.uv()?;
    let mut stores = Vec::new();
    for _ in 0..count {
        let name = std::str::from_utf8(fields.bytes()?).ok()?;
        let root = match fields.bytes()? {
            [] => None,
            root => Some(Hash(root.try_into().ok()?)),
        };
        fields.bytes()?;
        stores.push(StoreInfo { name: StoreKey::from(name), version, root });
    }
    stores.sort_by(|a, b| a.name.cmp(&b.name));
    fields.rest().is_empty().then_some(CommitInfo { version, stores, timestamp: Some(timestamp) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn commit_infos_that_go_encoded_decode_to_its_app_hashes() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/v2_commit_info_cases.json")).unwrap();
        let mut checked = 0;
        // The last entry is the zero time alone.
        for case in cases.as_array().unwrap().iter().filter(|case| !case["stores"].is_null()) {
            for field in ["encoded_before_sort", "encoded_sorted"] {
                let info = decode(&unhex(case[field].as_str().unwrap())).unwrap();
                assert_eq!(info.version.0, case["version"].as_u64().unwrap());
                let nanos = info.timestamp.unwrap().unix_nanos();
                assert_eq!(nanos, case["timestamp_unix_nano"].as_i64().unwrap());
                if let Ok(app_hash) = case["app_hash"].as_str().unwrap().parse::<Hash>() {
                    assert_eq!(info.app_hash(), app_hash);
                    checked += 1;
                }
            }
        }
        assert_eq!(checked, 10);
    }

    #[test]
    fn the_zero_time_is_encoded_as_go_does() {
        let info = CommitInfo { version: Version(1), stores: vec![], timestamp: None };
        assert_eq!(encode(&info), unhex("01ffffafae9885fecdbc0100"));
        assert_eq!(decode(&encode(&info)).unwrap().timestamp, Some(Timestamp::ZERO));
    }

    #[test]
    fn every_cut_of_an_encoding_is_refused() {
        let store = StoreInfo { name: "bank".into(), version: Version(9), root: Some(Hash::EMPTY) };
        let bytes = encode(&CommitInfo { version: Version(9), stores: vec![store], timestamp: None });
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
