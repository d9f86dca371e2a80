//! What a root store commits, judged by Go: app hashes of every changeset, records byte for byte, and rootmulti, IAVL and
//! store/v2 opening, pruning and continuing what it wrote.

use super::{
    go, reader,
    set::{self, scratch, text},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use storeshift::{
    iavl::{self, Access, Claim, NodeKey, NodeReader as _},
    model::{Changeset, StoreKey, Version},
    root_store::{Batch, ChangeSet, Database as _, LiveRocks, Options, RootStore, StoreError, StoreUpgrades},
    source::{
        Engine, StoreRoot,
        changes::record::{self, Measure},
        commit_info, leveldb, lsm, pebble,
    },
    target::{Place, rocks::EngineTuning},
};

/// The changesets of a file.
fn changesets(path: &Path) -> Vec<Changeset> {
    let bytes = fs::read(path).unwrap();
    let mut measure = Measure::new(BufReader::new(File::open(path).unwrap()), bytes.len() as u64);
    let mut sets = Vec::new();
    loop {
        let at = measure.at() as usize;
        if measure.next_version().unwrap().is_none() {
            return sets;
        }
        sets.push(record::decode(&bytes[at..measure.at() as usize]).unwrap());
    }
}

/// What a set says of each version.
struct Expected(Value);

impl Expected {
    fn read(directory: &Path) -> Expected {
        Expected(serde_json::from_slice(&fs::read(directory.join("expected.json")).unwrap()).unwrap())
    }

    fn latest(&self) -> u64 {
        self.0["latest_version"].as_u64().unwrap()
    }

    fn version(&self, version: Version) -> Option<&Value> {
        self.0["versions"].as_array().unwrap().iter().find(|expected| expected["version"] == version.0)
    }

    fn app_hash(&self, version: Version) -> &str {
        let version = self.version(version).unwrap();
        version.get("iavl_hash").unwrap_or(&version["app_hash"]).as_str().unwrap()
    }

    fn stores(&self, version: Version) -> BTreeSet<StoreKey> {
        let stores = self.version(version).map(|version| version["stores"].as_object().unwrap());
        stores.into_iter().flat_map(|stores| stores.keys()).map(|name| StoreKey::from(name.as_str())).collect()
    }

    /// A changeset as a node would commit it, with the upgrades that the stores of the versions tell.
    fn block(&self, set: &Changeset) -> Arc<ChangeSet> {
        let (old, new) = (self.stores(Version(set.version.0 - 1)), self.stores(set.version));
        let mut upgrades = StoreUpgrades {
            added: new.difference(&old).cloned().collect(),
            deleted: old.difference(&new).cloned().collect(),
            renamed: Vec::new(),
        };
        // See UpgradeRenamed in oracle/wl.
        let (from, to) = (StoreKey::from("denomfactory"), StoreKey::from("tokenfactory"));
        if upgrades.deleted.contains(&from) && upgrades.added.contains(&to) {
            upgrades.deleted.retain(|store| *store != from);
            upgrades.added.retain(|store| *store != to);
            upgrades.renamed.push((from, to));
        }
        Arc::new(ChangeSet { stores: set.stores.clone(), upgrades, time: None })
    }

    /// Commits changesets and compares every app hash.
    fn commit(&self, store: &RootStore, sets: &[Changeset]) {
        for set in sets {
            let info = store.commit(self.block(set)).unwrap();
            assert_eq!(info.version, set.version);
            assert_eq!(info.app_hash().to_string(), self.app_hash(set.version), "version {}", set.version);
        }
    }
}

/// Small pieces, so that flushes and compactions happen.
fn tuning() -> EngineTuning {
    EngineTuning { cache: 1 << 20, write_buffer: 256 << 10, jobs: 2 }
}

fn options() -> Options {
    Options { memory: 200 * 320, threads: 2, ..Options::default() }
}

fn open_rootmulti(path: &Path) -> RootStore {
    RootStore::open_rootmulti(path, tuning(), options()).unwrap()
}

/// The node key at the end of a record's key, if it is a node's.
fn node_key(key: &[u8]) -> Option<NodeKey> {
    let rest = key.strip_prefix(b"s/k:")?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    NodeKey::from_bytes(&rest[slash + 1..])
}

/// Copies a database of Go's into RocksDB, as it was when `until` was its newest version.
fn copy_until(from: &Path, is_pebble: bool, until: Version, to: &Path) {
    let database: lsm::Database = if is_pebble {
        pebble::open(from, lsm::Options::default()).unwrap()
    } else {
        leveldb::open(from, lsm::Options::default()).unwrap()
    };
    let copy = LiveRocks::open(to, tuning()).unwrap();
    let mut batch = Batch::new();
    let mut pairs = database.scan(b"", &[0xff]);
    while let Some((key, value)) = pairs.next().unwrap() {
        let version = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("s/")?.parse().ok()).map(Version);
        if node_key(key).map(|at| at.version).or(version).is_none_or(|version| version <= until) {
            batch.push((key.to_vec(), Some(value.to_vec())));
        }
    }
    batch.push((b"s/latest".to_vec(), Some(commit_info::encode_latest(until))));
    copy.write(batch, true).unwrap();
}

#[test]
fn every_changeset_leads_to_the_app_hash_of_go_on_databases_that_go_wrote() {
    let (mut versions, mut legacy) = (0, Vec::new());
    for set in set::all() {
        let (expected, sets) = (Expected::read(set.file("").as_path()), changesets(&set.file("changesets.bin")));
        let is_pebble = expected.0["backend"] == "pebbledb";
        let has_legacy = expected.0["tool"].as_str().unwrap().contains("cosmos-sdk");
        let first = sets.first().unwrap().version;
        let whole = if set.is_fixture() { set.oldest() } else { set.latest() };
        // As far back as there are changesets and trees.
        let base = Version((first.0 - 1).max(whole).min(expected.latest()));
        let base = if has_legacy { Version(expected.latest()) } else { base };
        let dir = scratch();
        copy_until(&set.database(), is_pebble, base, dir.path());
        let store = open_rootmulti(dir.path());
        assert_eq!(store.latest().unwrap().version, base, "{}", set.name);
        let sets: Vec<_> = sets.into_iter().filter(|set| set.version > base).collect();
        assert!(!sets.is_empty(), "{}", set.name);
        if has_legacy {
            // Refused in words where a change meets a legacy node, and nothing of it is written.
            match store.commit(expected.block(&sets[0])) {
                Ok(info) => assert_eq!(info.app_hash().to_string(), expected.app_hash(info.version)),
                Err(error) => {
                    assert!(matches!(error, StoreError::Legacy { .. }), "{}: {error}", set.name);
                    assert_eq!(store.latest().unwrap().version, base);
                    legacy.push(set.name.clone());
                }
            }
            continue;
        }
        expected.commit(&store, &sets);
        versions += sets.len();
        // And once more from what is on disk.
        drop(store);
        let store = open_rootmulti(dir.path());
        let latest = sets.last().unwrap().version;
        let view = store.at(latest).unwrap();
        for (name, of_store) in expected.version(latest).unwrap()["stores"].as_object().unwrap() {
            let pairs = view.iter(&StoreKey::from(name.as_str())).unwrap().map(Result::unwrap).count() as u64;
            assert_eq!(Some(pairs), of_store["keys"].as_u64(), "{}: {name}", set.name);
        }
    }
    println!("{versions} versions; refused for legacy nodes: {legacy:?}");
    assert!(versions > 50, "{versions} versions");
}

#[test]
fn blocks_are_committed_on_migrated_targets_and_go_finds_them_right() {
    let has_go = go::programs().is_some();
    for set in set::all().iter().filter(|set| set.has_live_versions()) {
        let expected = Expected::read(set.file("").as_path());
        let sets = changesets(&set.file("changesets.bin"));
        for at in [&["--chunk-leaves", set.few_leaves()][..], &["--at", "oldest"]] {
            let migrated = set.migrate(at);
            let latest = Version(set.latest());
            let live: Vec<_> = sets.iter().filter(|set| set.version > latest).cloned().collect();
            let (prune_to, last) = (Version(latest.0 + 1), live.last().unwrap().version);
            {
                let store = RootStore::open_v2(&Place::new(migrated.dir.path()), tuning(), options()).unwrap();
                assert_eq!(store.span().unwrap().oldest.0, migrated.height, "{}", set.name);
                expected.commit(&store, &live[..live.len() / 2]);
            }
            let store = RootStore::open_v2(&Place::new(migrated.dir.path()), tuning(), options()).unwrap();
            expected.commit(&store, &live[live.len() / 2..]);
            store.prune_below(prune_to).unwrap();
            assert_eq!(store.span().unwrap().oldest, prune_to);
            assert!(store.at(latest).is_err());
            store.flush().unwrap();
            drop(store);
            if !has_go {
                continue;
            }
            let sc = migrated.go_commitment();
            for version in (prune_to.0..=last.0).rev().map(|version| version.to_string()) {
                let file = set.file("expected.json");
                let args = ["-sc", text(&sc), "-expected", text(&file), "-version", &version];
                let printed = go::run("goverify", &args, None);
                assert!(printed.contains("is as expected"), "{}: {printed}", set.name);
            }
            let (from, to, file) = (prune_to.0.to_string(), last.0.to_string(), set.file("expected.json"));
            let args = ["-expected", text(&file), "-from", &from, "-to", &to, "-dropped", "fail", "-quiet"];
            let printed = go::run("ssverify", &args, Some(&migrated.entries()));
            assert!(printed.contains(", 0 differences"), "{}: {printed}", set.name);
        }
    }
}

const VERSIONS: u64 = 27;
const UPGRADE: &str = "9";

/// A history that Go wrote from its first version on, with all of its changesets.
fn made_by_go(home: &Path) -> (Expected, Vec<Changeset>) {
    let versions = VERSIONS.to_string();
    let shape = ["-stores", "3", "-keys", "120", "-updates", "70", "-val-min", "0", "-val-max", "120", "-large", "1"];
    let history = ["-versions", &versions, "-changesets", &versions, "-upgrade-at", UPGRADE, "-idle", "-every", "1"];
    go::run("mkv1", &[&["-out", text(home), "-extra", "0"][..], &shape, &history].concat(), None);
    (Expected::read(home), changesets(&home.join("changesets.bin")))
}

/// Has Go go on with a set for so many versions, with so many live ones more.
fn go_on(home: &Path, versions: &str, pruning: &str, extra: &str) -> Expected {
    let more = ["-versions", versions, "-changesets", versions, "-extra", extra, "-every", "1", "-pruning", pruning];
    go::run("mkv1", &[&["-continue", "-out", text(home)][..], &more].concat(), None);
    Expected::read(home)
}

/// A root store's database on goleveldb, beside the files of the set it was made from.
fn to_go(database: &Path, from: &Path, home: &Path) {
    fs::create_dir(home).unwrap();
    for name in ["expected.json", "changesets.bin"] {
        fs::copy(from.join(name), home.join(name)).unwrap();
    }
    let pairs = home.join("pairs");
    reader::dump_pairs(database, &pairs);
    go::run("goload", &["-to", text(&home.join("application.db"))], Some(&pairs));
    fs::remove_file(pairs).unwrap();
}

fn parse(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let (mut rest, mut pairs) = (bytes, BTreeMap::new());
    let mut field = || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (field, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        rest = tail;
        Some(field.to_vec())
    };
    while let Some(key) = field() {
        pairs.insert(key, field().unwrap());
    }
    pairs
}

/// All pairs as Go reads them, without the fast index.
fn go_pairs(home: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut dump = Command::new(go::programs().unwrap().join("dump"));
    let output =
        dump.args(["-raw", "-from", text(&home.join("application.db"))]).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let mut pairs = parse(&output.stdout);
    pairs.retain(|key, _| {
        let rest = key.strip_prefix(b"s/k:").unwrap_or_default();
        let record = rest.iter().position(|byte| *byte == b'/').and_then(|slash| rest.get(slash + 1));
        !matches!(record, Some(b'f' | b'm'))
    });
    pairs
}

fn states(expected: &Expected) -> BTreeMap<u64, String> {
    let versions = expected.0["versions"].as_array().unwrap().iter();
    versions
        .map(|version| (version["version"].as_u64().unwrap(), version["app_hash"].as_str().unwrap().into()))
        .collect()
}

/// The versions that Go reads whole, with their app hashes; there are no problems with any other.
fn readable(home: &Path) -> BTreeMap<u64, String> {
    let printed = go::run("dump", &["-all", "-from", text(&home.join("application.db"))], None);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    states(&Expected(report))
}

#[test]
fn a_history_from_its_first_version_is_byte_for_byte_that_of_go_which_reads_and_continues_it() {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    let (expected, sets) = made_by_go(&path("go"));
    assert_eq!(sets.len() as u64, VERSIONS);
    {
        let store = open_rootmulti(&path("rocks"));
        expected.commit(&store, &sets[..13]);
    }
    let store = open_rootmulti(&path("rocks"));
    expected.commit(&store, &sets[13..]);
    store.flush().unwrap();
    drop(store);
    to_go(&path("rocks"), &path("go"), &path("rust"));
    let (written, wanted) = (go_pairs(&path("rust")), go_pairs(&path("go")));
    let differ = |(key, value): &(&Vec<u8>, &Vec<u8>)| wanted.get(*key) != Some(value);
    let wrong: Vec<String> = written.iter().filter(differ).map(|(key, _)| key.escape_ascii().to_string()).collect();
    assert!(wrong.is_empty() && written.len() == wanted.len(), "{wrong:?}; {} and {}", written.len(), wanted.len());

    let printed = go::run(
        "dump",
        &["-from", text(&path("rust/application.db")), "-expected", text(&path("rust/expected.json"))],
        None,
    );
    assert!(printed.starts_with(&format!("{VERSIONS} versions are as expected, 0 are pruned")), "{printed}");
    let (ours, theirs) = (go_on(&path("rust"), "6", "nothing", "4"), go_on(&path("go"), "6", "nothing", "4"));
    assert_eq!(states(&ours), states(&theirs));
    assert_eq!(go_pairs(&path("rust")), go_pairs(&path("go")));

    // And on from there in Rust again; Go has made its fast index meanwhile.
    copy_until(&path("rust/application.db"), false, Version(ours.latest()), &path("again"));
    let store = open_rootmulti(&path("again"));
    let live = changesets(&path("rust/changesets.bin"));
    let live: Vec<_> = live.into_iter().filter(|set| set.version.0 > ours.latest()).collect();
    assert_eq!(live.len(), 4);
    ours.commit(&store, &live);
    store.flush().unwrap();
    drop(store);
    to_go(&path("again"), &path("rust"), &path("last"));
    assert_eq!(readable(&path("last")), states(&ours));
}

#[test]
fn what_a_root_store_pruned_go_reads_continues_and_prunes_further() {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    let (expected, sets) = made_by_go(&path("go"));
    let reference = go_on(&path("go"), "24", "nothing", "0");
    for (name, oldest) in [("late", 24), ("early", 12)] {
        let store = open_rootmulti(&path(&format!("rocks-{name}")));
        for set in &sets {
            expected.commit(&store, std::slice::from_ref(set));
            if set.version.0 % 5 == 0 {
                store.prune_below(Version(oldest.min(set.version.0.saturating_sub(3)))).unwrap();
            }
        }
        store.prune_below(Version(oldest)).unwrap();
        let span = store.span().unwrap();
        assert_eq!((span.oldest.0, span.latest.0), (oldest, VERSIONS));
        store.flush().unwrap();
        drop(store);
        let home = path(name);
        to_go(&path(&format!("rocks-{name}")), &path("go"), &home);
        // The files of the set are of a longer history by now; Go is told where the database stands.
        let mut stands = Expected::read(&home);
        stands.0["latest_version"] = VERSIONS.into();
        let versions = stands.0["versions"].as_array_mut().unwrap();
        versions.retain(|version| version["version"].as_u64().unwrap() <= VERSIONS);
        fs::write(home.join("expected.json"), stands.0.to_string()).unwrap();
        let mut whole = states(&stands);
        whole.retain(|version, _| *version >= oldest);
        assert_eq!(readable(&home), whole);
        let ours = go_on(&home, "24", "everything", "0");
        assert_eq!(states(&ours), states(&reference));
        // Go prunes what Rust left, and nothing is in its way. Of the versions that Rust pruned no root is left; Go leaves some of its
        // own, which live on in later trees.
        let pairs = go_pairs(&home);
        let roots: BTreeSet<u64> =
            pairs.keys().filter_map(|key| node_key(key)).filter(|at| at.nonce == 1).map(|at| at.version.0).collect();
        println!("{name}: roots that are left {roots:?}");
        assert_eq!(roots.range(..oldest).next(), None, "{name}");
        // What Rust reads of it is what Go committed.
        copy_until(&home.join("application.db"), false, Version(ours.latest()), &path(&format!("back-{name}")));
        let store = open_rootmulti(&path(&format!("back-{name}")));
        let span = store.span().unwrap();
        assert!(span.oldest.0 > VERSIONS, "{span}");
        for version in (span.oldest.0..=span.latest.0).map(Version) {
            let view = store.at(version).unwrap();
            assert_eq!(view.commit_info().app_hash().to_string(), ours.app_hash(version));
            for store in &view.commit_info().stores {
                view.iter(&store.name).unwrap().for_each(|pair| drop(pair.unwrap()));
            }
        }
    }
}

#[test]
fn a_history_in_sc_and_ss_from_its_first_version_is_read_by_go_before_and_after_pruning() {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    let (expected, sets) = made_by_go(&path("go"));
    let target = path("target");
    fs::create_dir(&target).unwrap();
    for oldest in [1, 15] {
        let store = RootStore::open_v2(&Place::new(&target), tuning(), options()).unwrap();
        if oldest == 1 {
            expected.commit(&store, &sets);
        } else {
            store.prune_below(Version(oldest)).unwrap();
        }
        assert_eq!(store.span().unwrap().oldest.0, oldest);
        store.flush().unwrap();
        drop(store);
        let (pairs, sc) = (path("pairs"), path(&format!("sc{oldest}.db")));
        reader::dump_pairs(&target.join("sc"), &pairs);
        go::run("goload", &["-to", text(&sc)], Some(&pairs));
        let file = path("go/expected.json");
        for version in (oldest..=VERSIONS).rev().map(|version| version.to_string()) {
            let args = ["-sc", text(&sc), "-expected", text(&file), "-version", &version];
            let printed = go::run("goverify", &args, None);
            assert!(printed.contains("is as expected"), "{printed}");
        }
        let (entries, from, to) = (path("entries"), oldest.to_string(), VERSIONS.to_string());
        reader::dump_entries(&target.join("ss"), &entries);
        let args = ["-expected", text(&file), "-from", &from, "-to", &to, "-dropped", "fail", "-quiet"];
        let printed = go::run("ssverify", &args, Some(&entries));
        assert!(printed.contains(", 0 differences"), "{printed}");
    }
}

/// A database that cosmos-db's own RocksDB backend wrote, with deletions in it and versions in the log only.
#[test]
fn a_rocksdb_that_go_wrote_is_opened_and_continued() {
    let set = set::fixture("pruned");
    let expected = Expected::read(set.file("").as_path());
    let dir = scratch();
    let from = set.file("").parent().unwrap().join("pruned-rocksdb/application.db");
    copy(&from, dir.path());
    let store = open_rootmulti(dir.path());
    let span = store.span().unwrap();
    assert_eq!((span.oldest.0, span.latest.0), (set.oldest(), set.latest()));
    let live: Vec<_> =
        changesets(&set.file("changesets.bin")).into_iter().filter(|of| of.version > span.latest).collect();
    expected.commit(&store, &live);
    store.prune_below(span.latest).unwrap();
    drop(store);
    let store = open_rootmulti(dir.path());
    assert_eq!(store.span().unwrap().oldest, span.latest);
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        fs::copy(entry.path(), target).unwrap();
    }
}

#[test]
fn the_live_source_of_a_rocksdb_reads_versions_as_they_are_committed_and_holds_what_is_held() {
    let set = set::fixture("small");
    let expected = Expected::read(set.file("").as_path());
    let sets = changesets(&set.file("changesets.bin"));
    let dir = scratch();
    let base = Version(sets[0].version.0 - 1);
    copy_until(&set.database(), false, base, dir.path());
    let store = open_rootmulti(dir.path());
    let source = store.source().unwrap();
    // Made before there is anything of what they will read.
    let bank = StoreKey::from("bank");
    let (mut before, hold) = (source.nodes(&bank, Access::Points), store.hold(base).unwrap());
    for set in &sets {
        expected.commit(&store, std::slice::from_ref(set));
        assert_eq!(source.latest().unwrap(), set.version);
        let info = source.commit_info(set.version).unwrap().unwrap();
        assert_eq!(info, *store.latest().unwrap().as_ref());
        let Some(StoreRoot::Node { at, hash }) = source.root(&bank, set.version).unwrap() else { panic!("no root") };
        assert_eq!(Some(hash), info.store(&bank).unwrap().root);
        let mut record = Vec::new();
        assert!(before.read(at.key().unwrap(), &mut record).unwrap(), "version {}", set.version);
        // In runs, over the state as it is now, up to every leaf.
        let each = &mut |_: &iavl::ProvenNode<'_>| true;
        iavl::prove(&mut *source.nodes(&bank, Access::Runs), Claim { at, hash }, 1 << 20, each).unwrap();
        store.prune_below(set.version).unwrap();
        assert_eq!(store.span().unwrap().oldest, base);
    }
    drop(before);
    assert!(source.root(&bank, base).unwrap().is_some());
    drop(hold);
    store.prune().unwrap();
    assert_eq!(source.root(&bank, base).unwrap(), None);
    assert_eq!(store.span().unwrap().oldest, sets.last().unwrap().version);
}
