//! Commit info as store/v1 writes it: protobuf `cosmos.store.v1beta1.CommitInfo`, under `s/<version>`.

use crate::{
    iavl::varint::{Fields, put_bytes, put_uv},
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Timestamp, Version},
};

/// Decodes a commit info; the stores come out in order of name, whatever the order on disk (SDK 0.46 wrote map order).
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<CommitInfo, &'static str> {
    let mut info = CommitInfo { version: Version(0), stores: Vec::new(), timestamp: None };
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(version)) => info.version = version_of(version)?,
            (2, Field::Bytes(store)) => info.stores.push(store_info(store)?),
            (3, Field::Bytes(time)) => info.timestamp = Some(timestamp(time)?),
            _ => {}
        }
        Ok(())
    })?;
    info.stores.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(info)
}

/// Decodes `s/latest`: protobuf `google.protobuf.Int64Value`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_latest(bytes: &[u8]) -> Result<Version, &'static str> {
    let mut latest = Version(0);
    for_each_field(bytes, |number, field| {
        if let (1, Field::Varint(version)) = (number, field) {
            latest = version_of(version)?;
        }
        Ok(())
    })?;
    Ok(latest)
}

/// Encodes a commit info as the SDK does from 0.47 on: stores in the order given, which is that of their names; a time is always
/// there, Go's zero time if none is known.
#[must_use]
pub fn encode(info: &CommitInfo) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, info.version.0);
    for store in &info.stores {
        let mut id = Vec::new();
        put_number(&mut id, 1, store.version.0);
        if let Some(root) = &store.root {
            put_field(&mut id, 2, &root.0);
        }
        let mut field = Vec::new();
        if !store.name.as_str().is_empty() {
            put_field(&mut field, 1, store.name.as_str().as_bytes());
        }
        put_field(&mut field, 2, &id);
        put_field(&mut out, 2, &field);
    }
    let Timestamp { seconds, nanos } = info.timestamp.unwrap_or(Timestamp::ZERO);
    let mut time = Vec::new();
    put_number(&mut time, 1, seconds as u64);
    put_number(&mut time, 2, i64::from(nanos) as u64);
    put_field(&mut out, 3, &time);
    out
}

/// Encodes `s/latest`.
#[must_use]
pub fn encode_latest(version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, 1, version.0);
    out
}

/// A number, unless it is 0: protobuf leaves that out.
fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_uv(out, field << 3);
        put_uv(out, value);
    }
}

fn put_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_uv(out, field << 3 | 2);
    put_bytes(out, bytes);
}

fn store_info(bytes: &[u8]) -> Result<StoreInfo, &'static str> {
    let mut info = StoreInfo { name: StoreKey::from(""), version: Version(0), root: None };
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(name)) => {
                let name = std::str::from_utf8(name).map_err(|_| "a store name is not UTF-8")?;
                info.name = StoreKey::from(name);
            }
            (2, Field::Bytes(commit_id)) => for_each_field(commit_id, |number, field| {
                match (number, field) {
                    // A DB adapter store has version -1 and a made-up hash; it must not look like a tree.
                    (1, Field::Varint(version)) => info.version = version_of(version)?,
                    (2, Field::Bytes([])) => {}
                    (2, Field::Bytes(hash)) => {
                        info.root = Some(Hash(hash.try_into().map_err(|_| "a store root is not 32 bytes")?));
                    }
                    _ => {}
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

fn timestamp(bytes: &[u8]) -> Result<Timestamp, &'static str> {
    let mut time = Timestamp { seconds: 0, nanos: 0 };
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(seconds)) => time.seconds = seconds as i64,
            (2, Field::Varint(nanos)) => {
                time.nanos = i32::try_from(nanos).map_err(|_| "nanoseconds are out of range")?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(time)
}

fn version_of(value: u64) -> Result<Version, &'static str> {
    if value > Version::MAX.0 { Err("a version is negative") } else { Ok(Version(value)) }
}

pub(super) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Walks the fields of one protobuf message; unknown ones are skipped by the caller.
pub(super) fn for_each_field<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut fields = Fields::new(bytes);
    while !fields.rest().is_empty() {
        let tag = fields.uv().ok_or("a field tag is cut short")?;
        let field = match tag & 7 {
            0 => Field::Varint(fields.uv().ok_or("a number is cut short")?),
            1 => fields.take(8).map(|_| Field::Fixed).ok_or("a fixed field is cut short")?,
            2 => Field::Bytes(fields.bytes().ok_or("a field is cut short")?),
            5 => fields.take(4).map(|_| Field::Fixed).ok_or("a fixed field is cut short")?,
            _ => return Err("a field has an unknown wire type"),
        };
        each(tag >> 3, field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn app_hashes_of_zero_to_nine_stores_equal_those_of_go() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/apphash_v1_cases.json")).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() >= 9);
        for case in cases {
            let info = decode(&unhex(case["info"]["protobuf"].as_str().unwrap())).unwrap();
            assert_eq!(info.app_hash().to_string(), case["info"]["app_hash"].as_str().unwrap());
            assert_eq!(info.stores.len() as u64, case["n"].as_u64().unwrap());
        }
    }

    #[test]
    fn a_real_commit_info_with_its_time_decodes() {
        let steps: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/rootmulti_v1.json")).unwrap();
        let step = &steps[0]["commit_info"];
        let info = decode(&unhex(step["protobuf"].as_str().unwrap())).unwrap();
        assert_eq!(info.app_hash().to_string(), step["app_hash"].as_str().unwrap());
        assert_eq!(info.timestamp, Some(Timestamp { seconds: 1_700_000_001, nanos: 123_456_789 }));
        assert_eq!(info.stores[0].name.as_str(), "acc");
        assert_eq!(info.stores[0].version, Version(1));
    }

    #[test]
    fn commit_infos_and_latest_versions_are_encoded_to_the_bytes_that_go_wrote() {
        let cases = include_str!("../../tests/vectors/apphash_v1_cases.json");
        let cases: serde_json::Value = serde_json::from_str(cases).unwrap();
        let steps = include_str!("../../tests/vectors/rootmulti_v1.json");
        let steps: serde_json::Value = serde_json::from_str(steps).unwrap();
        let of_cases = cases.as_array().unwrap().iter().map(|case| &case["info"]["protobuf"]);
        let of_steps = steps.as_array().unwrap().iter().map(|step| &step["commit_info"]["protobuf"]);
        let mut checked = 0;
        for bytes in of_cases.chain(of_steps).filter_map(|text| text.as_str()).map(unhex) {
            assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
            checked += 1;
        }
        assert!(checked >= 10, "{checked}");
        assert_eq!(encode_latest(Version(3)), [0x08, 0x03]);
        assert!(encode_latest(Version(0)).is_empty());
        assert_eq!(decode_latest(&encode_latest(Version(1_000_000))), Ok(Version(1_000_000)));
    }

    #[test]
    fn the_latest_version_is_a_protobuf_integer() {
        assert_eq!(decode_latest(&[0x08, 0x03]), Ok(Version(3)));
        assert_eq!(decode_latest(&[]), Ok(Version(0)));
        assert!(decode_latest(&[0x08]).is_err());
        assert!(decode_latest(&unhex("08ffffffffffffffffff01")).is_err(), "negative");
    }
}
