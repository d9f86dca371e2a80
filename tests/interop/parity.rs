//! App hash, roots and counts against `expected.json`, without any Go.

use super::{
    reader,
    set::{self, Set},
};
use std::collections::BTreeMap;

/// Takes a number of up to 64 bits off the front, 7 bits a byte.
fn number(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first < &0x80 {
            break;
        }
    }
    value
}

fn field<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = number(bytes) as usize;
    let (field, rest) = bytes.split_at(length);
    *bytes = rest;
    field
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Roots by store in a commit info as store/v2 writes it.
fn roots(mut info: &[u8], version: u64) -> BTreeMap<String, String> {
    assert_eq!(number(&mut info), version);
    number(&mut info);
    let stores = number(&mut info);
    let roots = (0..stores).map(|_| {
        let (name, root) = (field(&mut info), field(&mut info));
        assert_eq!(field(&mut info), b"");
        (String::from_utf8(name.to_vec()).unwrap(), hex(root))
    });
    let roots = roots.collect();
    assert_eq!(info, b"");
    roots
}

fn compare(set: &Set, options: &[&str]) {
    let migrated = set.migrate(options);
    let latest = set.latest();
    let app_hash = set.app_hash(latest);
    assert!(migrated.printed.contains(app_hash), "{}: {}", set.name, migrated.printed);

    let mut infos = BTreeMap::new();
    let mut leaves: BTreeMap<String, u64> = BTreeMap::new();
    reader::pairs(&migrated.sc(), |key, value| match key.strip_prefix(b"c/") {
        Some(b"latest") => assert_eq!(number(&mut &value[..]), latest),
        Some(version) => {
            infos.insert(std::str::from_utf8(version).unwrap().parse::<u64>().unwrap(), value.to_vec());
        }
        // A node begins with its height, zigzag; a leaf has 0. A reference to a root is a key, which begins with `s`.
        None if value.first() == Some(&0) => {
            let store = std::str::from_utf8(&key[..key.len() - 13]).unwrap();
            *leaves.entry(store.to_owned()).or_default() += 1;
        }
        None => {}
    });
    let versions: Vec<u64> = infos.keys().copied().collect();
    assert_eq!(versions, (migrated.height..=latest).collect::<Vec<_>>(), "{}", set.name);
    for (version, info) in &infos {
        let expected =
            set.stores(*version).map(|(name, store)| (name.to_owned(), store["root"].as_str().unwrap().into()));
        assert_eq!(roots(info, *version), expected.collect(), "{} at version {version}", set.name);
    }

    let mut live: BTreeMap<(String, Vec<u8>), (u64, bool)> = BTreeMap::new();
    reader::entries(&migrated.ss(), |entry| {
        assert!((migrated.height..=latest).contains(&entry.version));
        let rest = entry.key.strip_prefix(b"s/k:").unwrap();
        let slash = rest.iter().position(|byte| *byte == b'/').unwrap();
        let at = (String::from_utf8(rest[..slash].to_vec()).unwrap(), rest[slash + 1..].to_vec());
        let newest = live.entry(at).or_default();
        *newest = (*newest).max((entry.version, entry.value.is_some()));
    });
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for ((store, _), _) in live.iter().filter(|(_, (_, there))| *there) {
        *counts.entry(store).or_default() += 1;
    }
    let expected = |store: &serde_json::Value| store["keys"].as_u64().unwrap();
    for (name, store) in set.stores(latest) {
        assert_eq!(counts.remove(name).unwrap_or(0), expected(store), "{}: pairs of {name}", set.name);
        if migrated.height == latest {
            assert_eq!(leaves.remove(name).unwrap_or(0), expected(store), "{}: leaves of {name}", set.name);
        }
    }
    assert!(counts.is_empty(), "{}: pairs of stores that are gone: {counts:?}", set.name);
}

#[test]
fn app_hash_roots_and_counts_are_those_of_store_v1() {
    for set in set::all().iter().filter(|set| !set.is_large()) {
        compare(set, &["--chunk-leaves", "20"]);
        compare(set, &["--at", "oldest"]);
    }
}
