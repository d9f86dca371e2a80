//! Streams made here, and streams that Go made.

use super::*;
use crate::{
    iavl::{numbering, varint::put_uv},
    model::Hash,
};
use flate2::{Compression, write::ZlibEncoder};
use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

const HEIGHT: Version = Version(9);

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    put_uv(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn number_field(number: u8, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    // proto3 leaves zeros out.
    if value != 0 {
        out.push(number << 3);
        put_uv(&mut out, value);
    }
    out
}

fn store(name: &str) -> Vec<u8> {
    bytes_field(1, &bytes_field(1, name.as_bytes()))
}

fn node(key: &[u8], value: &[u8], version: u64, height: u64) -> Vec<u8> {
    let mut fields = bytes_field(1, key);
    if !value.is_empty() {
        fields.extend(bytes_field(2, value));
    }
    fields.extend(number_field(3, version));
    fields.extend(number_field(4, height));
    bytes_field(2, &fields)
}

fn leaf(key: &str, version: u64) -> Vec<u8> {
    node(key.as_bytes(), key.as_bytes(), version, 0)
}

fn extension(name: &str) -> Vec<u8> {
    bytes_field(3, &[bytes_field(1, name.as_bytes()), number_field(2, 1)].concat())
}

fn payload(bytes: &[u8]) -> Vec<u8> {
    bytes_field(4, &bytes_field(1, bytes))
}

fn plain(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        put_uv(&mut out, item.len() as u64);
        out.extend_from_slice(item);
    }
    out
}

fn pack(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn of(items: &[Vec<u8>]) -> Result<CommitInfo, String> {
    commit_info_of(HEIGHT, &pack(&plain(items)))
}

/// Three leaves of two versions, an empty store, an extension.
fn sound() -> Vec<Vec<u8>> {
    vec![
        store("b"),
        leaf("a", 3),
        leaf("b", 9),
        leaf("c", 2),
        node(b"c", b"", 9, 1),
        node(b"b", b"", 9, 2),
        store("a"),
        extension("wasm"),
        payload(b"code"),
        payload(b"more code"),
    ]
}

fn expected_app_hash(name: &str, version: u64) -> Hash {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("expected.json");
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let versions = expected["versions"].as_array().unwrap();
    let state = versions.iter().find(|state| state["version"] == version).unwrap();
    state["app_hash"].as_str().unwrap().parse().unwrap()
}

#[test]
fn streams_that_go_wrote_have_the_app_hashes_that_go_had() {
    for (name, version) in [("idle", 1), ("initial", 1_000_008), ("nofast", 8)] {
        let path = format!("tests/fixtures/{name}/snapshots/{version}/3/0");
        let packed = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let info = commit_info_of(Version(version), &packed).unwrap();
        assert_eq!(info.app_hash(), expected_app_hash(name, version), "{name}");
        assert!(info.stores.len() > 3 && info.stores.is_sorted_by(|a, b| a.name < b.name));
    }
}

#[test]
fn an_empty_store_has_the_empty_root_and_extensions_are_left_out_with_a_note() {
    let info = of(&sound()).unwrap();
    assert_eq!(info.stores.iter().map(|store| store.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(info.stores[0].root, Some(Hash::EMPTY));
    assert_eq!(of(&sound()[..7]).unwrap(), info, "the extension changes nothing");
    let packed = pack(&plain(&sound()));
    let Ok((tally, Nowhere)) = rebuild(HEIGHT, packed.as_slice(), Nowhere, &|| false) else { panic!("it is sound") };
    assert_eq!(tally.notes.len(), 1);
    for words in ["wasm", "2 payloads", "13 bytes"] {
        assert!(tally.notes[0].contains(words), "{:?}", tally.notes);
    }
    // store/v2 writes stores in no order, and an unknown field is skipped.
    let mut odd = sound();
    odd[1].extend(bytes_field(9, b"later"));
    odd.swap(6, 7);
    odd.swap(6, 7);
    assert_eq!(of(&odd).unwrap(), info);
}

#[test]
fn every_rule_of_a_stream_that_is_broken_is_named() {
    type Change<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>);
    let with = |change: Change<'_>| {
        let mut items = sound();
        change(&mut items);
        of(&items).expect_err("it is broken")
    };
    let cases: &[(&str, Change<'_>)] = &[
        ("do not ascend", &|items| items.swap(1, 2)),
        ("do not ascend", &|items| items[2] = leaf("a", 9)),
        ("before any store", &|items| drop(items.remove(0))),
        ("before its children", &|items| drop(items.drain(1..4))),
        ("2 subtrees that have no parent", &|items| drop(items.remove(5))),
        ("height is not one above", &|items| items[4] = node(b"c", b"", 9, 2)),
        ("height is not one above", &|items| items[5] = node(b"b", b"", 9, 1)),
        ("not 0 to 127", &|items| items[5] = node(b"b", b"", 9, 128)),
        ("not 0 to 127", &|items| items[1] = node(b"a", b"a", 9, u64::MAX)),
        ("smallest key of its right", &|items| items[5] = node(b"c", b"", 9, 2)),
        ("newer than its parent", &|items| items[5] = node(b"b", b"", 8, 2)),
        ("newer than the snapshot", &|items| items[2] = leaf("b", 10)),
        ("version is negative", &|items| items[2] = leaf("b", u64::MAX)),
        ("inner node has a value", &|items| items[4] = node(b"c", b"x", 9, 1)),
        ("is there twice", &|items| items[6] = store("b")),
        ("comes after the extensions", &|items| items.push(store("z"))),
        ("comes after the extensions", &|items| items.push(leaf("z", 1))),
        ("payload comes without", &|items| items.insert(6, payload(b"x"))),
        ("no known kind", &|items| items.push(Vec::new())),
        ("only early builds", &|items| items.push(bytes_field(5, b""))),
        ("only early builds", &|items| items.push(bytes_field(6, b""))),
        ("wrong wire type", &|items| items.push(number_field(2, 7))),
        ("not UTF-8", &|items| items[6] = bytes_field(1, &bytes_field(1, &[0xff]))),
        ("cut short", &|items| items[1].truncate(5)),
        ("longer than 1 MiB", &|items| items[3] = node(&vec![b'c'; (1 << 20) + 1], b"", 2, 0)),
    ];
    for (number, (word, change)) in cases.iter().enumerate() {
        let error = with(change);
        assert!(error.contains(word), "case {number}: {error:?} does not say {word:?}");
    }
    let many = (0..200).map(|number| leaf(&format!("{number:03}"), 1));
    let error = of(&[store("a")].into_iter().chain(many).collect::<Vec<_>>()).unwrap_err();
    assert!(error.contains("than any tree has levels"), "{error}");
}

#[test]
fn a_stream_that_is_cut_anywhere_or_goes_on_is_refused() {
    let whole = plain(&sound());
    let packed = pack(&whole);
    assert!(commit_info_of(HEIGHT, &packed).is_ok());
    for length in 0..packed.len() {
        assert!(commit_info_of(HEIGHT, &packed[..length]).is_err(), "packed, cut at {length}");
    }
    for (rest, word) in [(&b"x"[..], "follow the end"), (&packed, "follow the end")] {
        let error = commit_info_of(HEIGHT, &[&packed, rest].concat()).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    // Cut before it was packed: within an item, or its length.
    let mut ends = vec![0];
    for item in sound() {
        ends.push(ends.last().unwrap() + plain(&[item]).len());
    }
    for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
        let error = commit_info_of(HEIGHT, &pack(&whole[..length])).unwrap_err();
        assert!(error.contains("the stream ends within"), "cut at {length}: {error}");
    }
}

#[test]
fn no_length_is_believed_and_what_unpacks_to_much_is_bounded() {
    for (length, word) in
        [(u64::MAX, "larger than 64 MB"), (64_000_001, "larger than 64 MB"), (64_000_000, "ends within")]
    {
        let mut bytes = plain(&sound()[..1]);
        put_uv(&mut bytes, length);
        let error = commit_info_of(HEIGHT, &pack(&bytes)).unwrap_err();
        assert!(error.contains(word), "{length}: {error}");
    }
    let overlong = [0xff; 11];
    assert!(commit_info_of(HEIGHT, &pack(&overlong)).unwrap_err().contains("no number of 64 bits"));
    // 60 MB of zeros in 60 kB: one item, unpacked, and let go of.
    let bomb = pack(&plain(&[store("a"), node(b"k", &vec![0; 60_000_000], 1, 0)]));
    assert!(bomb.len() < 100_000);
    assert_eq!(commit_info_of(HEIGHT, &bomb).unwrap().stores.len(), 1);
    let stores: Vec<_> = (0..10_001).map(|number| store(&number.to_string())).collect();
    assert!(of(&stores).unwrap_err().contains("more than 10000 stores"));
    let extensions: Vec<_> = (0..10_002).map(|_| extension("x")).collect();
    assert!(of(&extensions).unwrap_err().contains("more than 10000 extensions"));
}

/// A directory with a snapshot of these items, in chunks of so many bytes.
fn written(items: &[Vec<u8>], chunk: usize) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("snapshots/9/3");
    std::fs::create_dir_all(&directory).unwrap();
    for (number, bytes) in pack(&plain(items)).chunks(chunk).enumerate() {
        std::fs::write(directory.join(number.to_string()), bytes).unwrap();
    }
    home
}

fn open(home: &tempfile::TempDir) -> Result<Snapshot, SourceError> {
    Snapshot::open(&home.path().join("snapshots/9/3"), &home.path().join("spool"))
}

/// A balanced tree over the leaves from `from` up to `to`, in post-order, with values larger than what is read at a time here
/// and there; also as records by node key, by the plainest means.
fn grow(
    from: u64,
    to: u64,
    items: &mut Vec<Vec<u8>>,
    count: &mut u64,
    map: &mut BTreeMap<NodeKey, Vec<u8>>,
) -> (NodeKey, u64, Hash) {
    use crate::iavl::{Node, NodeId, inner_hash, leaf_hash};
    let key = |number: u64| format!("key {number:05}").into_bytes();
    let put = |count: &mut u64, version: u64, record: Vec<u8>, map: &mut BTreeMap<NodeKey, Vec<u8>>| {
        let at = numbering::node_key(Version(version), *count).unwrap();
        *count += 1;
        map.insert(at, record);
        at
    };
    let mut record = Vec::new();
    if to - from == 1 {
        let (version, value) =
            (1 + from * 7 % 8, vec![from as u8; if from.is_multiple_of(50) { 70_000 } else { from as usize % 40 }]);
        items.push(node(&key(from), &value, version, 0));
        Node::Leaf { key: &key(from), value: &value }.encode(&mut record);
        let at = put(count, version, record, map);
        return (at, 0, leaf_hash(Version(version), &key(from), &value));
    }
    let middle = from + (to - from) / 2;
    let left = grow(from, middle, items, count, map);
    let right = grow(middle, to, items, count, map);
    let (height, version) = (left.1.max(right.1) + 1, left.0.version.max(right.0.version));
    items.push(node(&key(middle), b"", version.0, height));
    let hash = inner_hash(height as u8, to - from, version, &left.2, &right.2);
    Node::Inner {
        height: height as u8,
        size: to - from,
        key: &key(middle),
        hash,
        left: NodeId::Current(left.0),
        right: NodeId::Current(right.0),
    }
    .encode(&mut record);
    (put(count, version.0, record, map), height, hash)
}

#[test]
fn the_spool_hands_out_every_record_by_its_node_key_in_any_order_and_none_by_another() {
    let (mut items, mut count, mut map) = (vec![store("small"), leaf("x", 1), store("large")], 0, BTreeMap::new());
    let (root, _, hash) = grow(0, 700, &mut items, &mut count, &mut map);
    let home = written(&items, 10_000);
    let snapshot = open(&home).unwrap();
    let large = StoreKey::from("large");
    let info = snapshot.commit_info(HEIGHT).unwrap().unwrap();
    assert_eq!(info.store(&large).unwrap().root, Some(hash));
    assert_eq!(snapshot.root(&large, HEIGHT).unwrap(), Some(StoreRoot::Node { at: root.into(), hash }));
    assert_eq!(snapshot.root(&large, Version(8)).unwrap(), None);
    assert_eq!(snapshot.commit_info(Version(8)).unwrap(), None);
    assert_eq!(snapshot.counted(&large).map(|(leaves, _)| leaves), Some(700));
    let mut out = Vec::new();
    assert!(snapshot.nodes(&large, Access::Runs).read(root, &mut out).is_err(), "it has not been unpacked");
    assert!(!home.path().join("spool").exists(), "opening writes nothing");
    snapshot.prepare(&|| false).unwrap();
    let spooled: u64 =
        std::fs::read_dir(home.path().join("spool")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert!(spooled <= snapshot.spool_bytes() + 4096, "{spooled} bytes, {} were said", snapshot.spool_bytes());

    let mut nodes = snapshot.nodes(&large, Access::Runs);
    assert!(nodes.parents_last());
    let keys: Vec<NodeKey> = (0..count)
        .map(|n| (1..=9).filter_map(|v| numbering::node_key(Version(v), n)).find(|k| map.contains_key(k)).unwrap())
        .collect();
    // A stride that meets each once, far from order.
    for number in 0..count {
        let key = keys[(number * 577 % count) as usize];
        out.clear();
        out.push(7);
        assert!(nodes.read(key, &mut out).unwrap());
        assert_eq!((out[0], &out[1..]), (7, map[&key].as_slice()));
        for stranger in
            [NodeKey::new(key.version.next(), key.nonce), NodeKey::new(key.version, count as u32 + 2 + number as u32)]
        {
            assert!(!nodes.read(stranger, &mut out).unwrap());
            assert_eq!(out.len(), 1 + map[&key].len(), "nothing is left behind");
        }
    }
    assert!(!nodes.read(NodeKey::new(Version(1), 0), &mut out).unwrap());
    assert!(!nodes.read(NodeKey::new(Version(1), 1), &mut out).unwrap());
    assert!(!snapshot.nodes(&StoreKey::from("nobody"), Access::Runs).read(root, &mut out).unwrap());
    drop(nodes);

    // Opened again it knows everything without its chunks, and says the same.
    for chunk in std::fs::read_dir(home.path().join("snapshots/9/3")).unwrap() {
        let chunk = chunk.unwrap().path();
        let length = chunk.metadata().unwrap().len();
        std::fs::write(chunk, vec![0; length as usize]).unwrap();
    }
    let again = open(&home).unwrap();
    again.prepare(&|| false).unwrap();
    assert_eq!(again.commit_info(HEIGHT).unwrap(), Some(info));
    assert_eq!(again.notes(), snapshot.notes());
}

#[test]
fn unpacking_stops_when_asked_and_begins_anew() {
    let (mut items, mut count, mut map) = (vec![store("a")], 0, BTreeMap::new());
    grow(0, 6000, &mut items, &mut count, &mut map);
    let home = written(&items, 1 << 20);
    let snapshot = open(&home).unwrap();
    let asked = AtomicU64::new(0);
    let stop = || asked.fetch_add(1, Ordering::SeqCst) == 1;
    assert!(matches!(snapshot.prepare(&stop), Err(SourceError::Stopped)));
    assert!(!home.path().join("spool/whole").exists());
    snapshot.prepare(&|| false).unwrap();
    assert!(home.path().join("spool/whole").exists());
}

#[test]
fn a_snapshot_that_changes_between_the_two_passes_is_refused() {
    let home = written(&sound(), 1 << 20);
    let snapshot = open(&home).unwrap();
    let mut other = sound();
    other[3] = leaf("cc", 2);
    other[4] = node(b"cc", b"", 9, 1);
    std::fs::write(home.path().join("snapshots/9/3/0"), pack(&plain(&other))).unwrap();
    let error = snapshot.prepare(&|| false).unwrap_err();
    assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("changed while it was being read"), "{error}");
}

#[test]
fn metadata_of_store_v2_lies_in_files_and_binds_the_chunks_as_well() {
    let home = written(&sound(), 40);
    let chunks = std::fs::read_dir(home.path().join("snapshots/9/3")).unwrap().count();
    assert!(chunks > 2);
    let hashes: Vec<Vec<u8>> = (0..chunks)
        .map(|number| std::fs::read(home.path().join(format!("snapshots/9/3/{number}"))).unwrap())
        .map(|bytes| bytes_field(1, &crate::model::Hash::of(&[&bytes]).0))
        .collect();
    let message = |height: u64, count: u64, hashes: &[Vec<u8>]| {
        [number_field(1, height), number_field(2, 3), number_field(3, count), bytes_field(5, &hashes.concat())].concat()
    };
    let place = home.path().join("snapshots/metadata");
    std::fs::create_dir(&place).unwrap();
    let put = |bytes: Vec<u8>| std::fs::write(place.join(format!("{:020}-{:08}", 9, 3)), bytes).unwrap();
    put(message(9, chunks as u64, &hashes));
    open(&home).unwrap();
    let count = chunks as u64;
    for (bytes, word) in [
        (message(8, count, &hashes), "another snapshot"),
        (message(9, count + 1, &hashes), "the metadata says"),
        (message(9, count, &hashes[1..]), "another number of chunk hashes"),
        (vec![0x0a], "cut short"),
    ] {
        put(bytes);
        let error = open(&home).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut swapped = hashes.clone();
    swapped.swap(1, 2);
    put(message(9, count, &swapped));
    let error = open(&home).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("SHA-256"), "{error}");
}
