//! Snapshots as a source and changeset files as a feed: the same target as from the database, and nothing at all from what
//! is damaged or not what it should be.

use crate::{
    dump::Dump,
    helper::{Job, assert_unchanged, contents, copy, fixture, flip, fresh, offsets, text},
    strace,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Fixtures with a snapshot, its version, and the newest version of their database.
const SNAPSHOTS: [(&str, u64, u64); 3] = [("idle", 1, 24), ("initial", 1_000_008, 1_000_017), ("nofast", 8, 12)];

fn directory(name: &str) -> PathBuf {
    fixture(name).parent().unwrap().to_owned()
}

fn snapshot(name: &str, height: u64) -> PathBuf {
    directory(name).join(format!("snapshots/{height}/3"))
}

/// App hashes of all versions of a fixture, those that are in no database included.
fn app_hashes(name: &str) -> BTreeMap<u64, String> {
    let expected = fs::read(directory(name).join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let of = |version: &serde_json::Value| {
        (version["version"].as_u64().unwrap(), version["app_hash"].as_str().unwrap().to_owned())
    };
    expected["versions"].as_array().unwrap().iter().map(of).collect()
}

/// The records of a changeset file, one by one: walked here by its documented layout, not with storeshift's code.
fn records(bytes: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let mut at = 0;
    let number = |width: usize, at: &mut usize| {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&bytes[*at..*at + width]);
        *at += width;
        u64::from_le_bytes(wide)
    };
    let mut found = BTreeMap::new();
    while at < bytes.len() {
        let start = at;
        let version = number(8, &mut at);
        for _ in 0..number(4, &mut at) {
            at += number(2, &mut at) as usize;
            for _ in 0..number(4, &mut at) {
                let removal = number(1, &mut at) == 1;
                at += number(4, &mut at) as usize;
                if !removal {
                    at += number(4, &mut at) as usize;
                }
            }
        }
        found.insert(version, bytes[start..at].to_vec());
    }
    found
}

/// A directory with the changesets after a version up to another, a file for each so many versions.
fn changesets(to: &Path, name: &str, versions: std::ops::RangeInclusive<u64>, per_file: usize) {
    fs::create_dir_all(to).unwrap();
    let records = records(&fs::read(directory(name).join("changesets.bin")).unwrap());
    let hashes = app_hashes(name);
    let wanted: Vec<u64> = versions.collect();
    for (number, versions) in wanted.chunks(per_file).enumerate() {
        let bytes: Vec<u8> = versions.iter().flat_map(|version| records[version].clone()).collect();
        // Names say nothing about the order.
        fs::write(to.join(format!("{:03}.bin", 900 - number)), bytes).unwrap();
    }
    write_hashes(to, wanted.iter().map(|version| (*version, hashes[version].clone())));
}

fn write_hashes(to: &Path, hashes: impl Iterator<Item = (u64, String)>) {
    let lines: String = hashes.map(|(version, hash)| format!("{version} {hash}\n")).collect();
    fs::write(to.join("app_hashes"), lines).unwrap();
}

/// A job on a snapshot and, if there are any, changesets in `changes/` beside the target.
struct Case {
    job: Job,
    _source: Option<TempDir>,
}

impl Case {
    fn new(name: &str, height: u64) -> Case {
        Case::on(name, height, snapshot(name, height), None)
    }

    /// On a copy that may be damaged.
    fn on_copy(name: &str, height: u64) -> Case {
        let home = fresh();
        copy(&directory(name).join("snapshots"), &home.path().join("snapshots"));
        let source = home.path().join(format!("snapshots/{height}/3"));
        Case::on(name, height, source, Some(home))
    }

    fn on(name: &str, height: u64, source: PathBuf, home: Option<TempDir>) -> Case {
        let hash = app_hashes(name)[&height].clone();
        let mut job = Job::new(source, &["--app-hash", &hash, "--reserve-mib", "64"]);
        job.more.extend(["--workers".to_owned(), "2".to_owned()]);
        Case { job, _source: home }
    }

    fn changes(&self) -> PathBuf {
        self.job.dir.path().join("changes")
    }

    /// With changesets from here on.
    fn with_changes(mut self, name: &str, versions: std::ops::RangeInclusive<u64>, per_file: usize) -> Case {
        changesets(&self.changes(), name, versions, per_file);
        let changes = text(&self.changes());
        self.job.more.extend(["--changesets".to_owned(), changes]);
        self
    }

    /// Asserts that it is refused, and nothing was written.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        let before = contents(self.job.dir.path());
        self.job.run(&[]).expect(code, words);
        assert_unchanged(&before, &contents(self.job.dir.path()));
        assert!(!self.job.target().exists());
    }
}

/// Commit infos without the block's time, which is neither in a snapshot nor in changesets.
fn timeless(mut dump: Dump) -> Dump {
    for (key, value) in dump.sc.iter_mut().filter(|(key, _)| key.starts_with(b"c/") && *key != b"c/latest") {
        assert!(key[2..].iter().all(u8::is_ascii_digit), "{key:?}");
        let varint = |bytes: &[u8]| bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1;
        let version = varint(value);
        let time = varint(&value[version..]);
        value.drain(version..version + time);
    }
    dump
}

/// What the database itself comes to from that version on.
fn from_database(name: &str, height: u64, more: &[&str]) -> Dump {
    let mut job = Job::of(name, more);
    job.more.extend(["--at".to_owned(), height.to_string()]);
    job.run(&[]).expect(0, &[]);
    timeless(job.dump())
}

#[test]
fn a_snapshot_and_changesets_come_to_what_the_database_comes_to_record_by_record() {
    for (name, height, latest) in SNAPSHOTS {
        let expected = from_database(name, height, &[]);
        for per_file in [1, 7, 1000] {
            let case = Case::new(name, height).with_changes(name, height + 1..=latest, per_file);
            let before = (contents(&case.job.source), contents(&case.changes()));
            case.job.run(&[]).expect(0, &[]);
            timeless(case.job.dump()).assert_same(&expected, name);
            assert_unchanged(&before.0, &contents(&case.job.source));
            assert_unchanged(&before.1, &contents(&case.changes()));
            let left: Vec<_> =
                fs::read_dir(case.job.target()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| ["sc", "ss", "journal"].contains(&name.to_str().unwrap())), "{left:?}");
        }
    }
}

#[test]
fn versions_that_are_in_no_database_are_applied_and_every_app_hash_is_compared() {
    for (name, height, latest) in SNAPSHOTS {
        let last = *app_hashes(name).keys().next_back().unwrap();
        assert!(last > latest);
        let case = Case::new(name, height).with_changes(name, height + 1..=last, 3);
        let ran = case.job.run(&[]);
        ran.expect(0, &[]);
        assert!(ran.out.contains(&app_hashes(name)[&last]), "{ran:?}");
        let (source, changes) = (text(&case.job.source), text(&case.changes()));
        let verified = case.job.command("verify", &["--source", &source, "--changesets", &changes]);
        verified.expect(0, &[]);
        let compared = format!("{} app hashes compared", last - height + 1);
        assert!(verified.out.contains(&compared), "{verified:?}");
        assert!(!case.job.target().join("spool").exists());
        // Without the changesets the source looks as if it had been rolled back.
        case.job.command("verify", &["--source", &source]).expect(4, &["rolled back"]);
    }
}

#[test]
fn changesets_go_on_where_a_database_ends() {
    for parts in ["sc+ss", "sc"] {
        let mut job = Job::of("nofast", &["--at", "oldest", "--parts", parts]);
        let changes = job.dir.path().join("changes");
        // Those that the database has are passed over.
        changesets(&changes, "nofast", 10..=15, 2);
        job.more.extend(["--changesets".to_owned(), text(&changes)]);
        let ran = job.run(&[]);
        ran.expect(0, &[]);
        assert!(ran.out.contains(&app_hashes("nofast")[&15]), "{ran:?}");
    }
}

#[test]
fn either_part_alone_can_be_made_from_a_snapshot_but_changesets_need_trees() {
    for parts in ["sc", "ss"] {
        let mut case = Case::new("nofast", 8);
        case.job.more.extend(["--parts".to_owned(), parts.to_owned()]);
        case.job.run(&[]).expect(0, &[]);
        let dump = case.job.dump();
        assert_eq!((dump.sc.is_empty(), dump.ss.is_empty()), (parts == "ss", parts == "sc"));
    }
    let mut case = Case::new("nofast", 8).with_changes("nofast", 9..=12, 9);
    case.job.more.extend(["--parts".to_owned(), "ss".to_owned()]);
    case.refused(4, &["changesets cannot be applied to SS alone"]);
}

#[test]
fn a_snapshot_is_refused_without_its_app_hash_and_with_another_one() {
    let mut case = Case::new("nofast", 8);
    let right = app_hashes("nofast")[&8].clone();
    let wrong = app_hashes("nofast")[&9].clone();
    case.job.more[1].clone_from(&wrong);
    case.refused(4, &[&right, &wrong]);
    case.job.more.drain(..2);
    case.refused(4, &["carries no app hash", "--app-hash"]);
    // The directory above says what to give.
    let source = case.job.source.clone();
    for above in [source.parent().unwrap(), source.parent().unwrap().parent().unwrap()] {
        case.job.source = above.to_owned();
        case.refused(4, &["give one of them, e.g.", &text(&source)]);
    }
    let mut case = Case::new("nofast", 8);
    case.job.more.extend(["--at".to_owned(), "7".to_owned()]);
    case.refused(4, &["no commit info of version 7"]);
}

#[test]
fn a_plan_names_stores_keys_and_the_room_for_unpacking_and_writes_nothing() {
    let case = Case::new("idle", 1);
    let ran = case.job.command("plan", &[]);
    ran.expect(0, &[]);
    for words in ["state sync snapshot, format 3", "feegrant", "to unpack the snapshot", &app_hashes("idle")[&1]] {
        assert!(ran.out.contains(words), "{words}: {ran:?}");
    }
    assert!(!case.job.target().exists());
}

/// Cuts a snapshot's only chunk into several, without metadata: where chunks are cut means nothing.
fn cut(case: &Case, pieces: usize) {
    let snapshots = case.job.source.parent().unwrap().parent().unwrap();
    let _ = fs::remove_dir_all(snapshots.join("metadata.db"));
    let bytes = fs::read(case.job.source.join("0")).unwrap();
    for (number, piece) in bytes.chunks(bytes.len().div_ceil(pieces)).enumerate() {
        fs::write(case.job.source.join(number.to_string()), piece).unwrap();
    }
}

#[test]
fn chunks_may_be_cut_anywhere_but_none_may_be_missing_swapped_cut_short_or_too_many() {
    let case = Case::on_copy("nofast", 8);
    cut(&case, 11);
    case.job.run(&[]).expect(0, &[]);
    let chunk = |case: &Case, number: u32| case.job.source.join(number.to_string());

    let case = Case::on_copy("nofast", 8);
    cut(&case, 11);
    fs::remove_file(chunk(&case, 4)).unwrap();
    case.refused(5, &["chunk 4 is missing"]);

    let case = Case::on_copy("nofast", 8);
    cut(&case, 11);
    fs::remove_file(chunk(&case, 10)).unwrap();
    case.refused(5, &["cut short"]);
    fs::write(chunk(&case, 10), "").unwrap();
    case.refused(5, &["cut short"]);

    let case = Case::on_copy("nofast", 8);
    cut(&case, 11);
    fs::rename(chunk(&case, 3), chunk(&case, 99)).unwrap();
    fs::rename(chunk(&case, 4), chunk(&case, 3)).unwrap();
    fs::rename(chunk(&case, 99), chunk(&case, 4)).unwrap();
    case.refused(5, &[]);

    let case = Case::on_copy("nofast", 8);
    cut(&case, 11);
    fs::write(chunk(&case, 11), "x").unwrap();
    case.refused(5, &["follow the end"]);

    // With metadata the count alone tells.
    let case = Case::on_copy("nofast", 8);
    fs::write(chunk(&case, 1), "x").unwrap();
    case.refused(5, &["2 chunks are there, the metadata says 1"]);

    let case = Case::on_copy("nofast", 8);
    let renamed = case.job.source.with_file_name("1");
    fs::rename(&case.job.source, &renamed).unwrap();
    let case = Case::on("nofast", 8, renamed, case._source);
    case.refused(4, &["format 1; this release reads formats 2 and 3"]);
    let renamed = case.job.source.with_file_name("2");
    fs::rename(&case.job.source, &renamed).unwrap();
    let case = Case::on("nofast", 8, renamed, case._source);
    case.job.run(&[]).expect(0, &[]);
}

#[test]
fn a_flipped_byte_is_told_by_the_chunks_hash_and_without_metadata_by_the_stream_itself() {
    let case = Case::on_copy("nofast", 8);
    let chunk = case.job.source.join("0");
    let offsets = offsets(&chunk, 40);
    for offset in &offsets {
        flip(&chunk, *offset, 1);
        case.refused(5, &["SHA-256", "metadata says", &text(&chunk)]);
        flip(&chunk, *offset, 1);
    }
    cut(&case, 1);
    for offset in &offsets {
        flip(&chunk, *offset, 1);
        let ran = case.job.run(&[]);
        // In zlib's header some bits mean nothing.
        if *offset < 2 && ran.code == Some(0) {
            flip(&chunk, *offset, 1);
            continue;
        }
        case.refused(5, &[]);
        flip(&chunk, *offset, 1);
    }
}

#[test]
fn the_spool_is_taken_up_where_it_is_whole_and_made_again_where_it_is_not() {
    let expected = {
        let case = Case::new("idle", 1);
        case.job.run(&[]).expect(0, &[]);
        case.job.dump()
    };
    if !strace::works() {
        return;
    }
    let spooled = |case: &Case| {
        let target = case.job.target();
        for when in (20..).step_by(3) {
            let _ = fs::remove_dir_all(&target);
            strace::killed_at(&case.job.args("run", &[]), "fsync", when).unwrap();
            if target.join("spool/whole").exists() {
                return;
            }
        }
    };
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("as it is", |_| {}),
        ("a flipped byte", |spool| flip(&spool.join("0.nodes"), 40, 1)),
        ("a flipped offset", |spool| flip(&spool.join("0.offsets"), 9, 4)),
        ("a file cut short", |spool| fs::write(spool.join("0.nodes"), "").unwrap()),
        ("a file missing", |spool| fs::remove_file(spool.join("0.offsets")).unwrap()),
        ("another tally", |spool| flip(&spool.join("whole"), 60, 1)),
        ("not whole", |spool| fs::remove_file(spool.join("whole")).unwrap()),
    ];
    for (what, damage) in damages {
        let case = Case::new("idle", 1);
        spooled(&case);
        let spool = case.job.target().join("spool");
        damage(&spool);
        let written = fs::metadata(spool.join("2.nodes")).unwrap().modified().unwrap();
        if what != "as it is" {
            case.job.run(&[]).expect(0, &[]);
            case.job.dump().assert_same(&expected, what);
            continue;
        }
        // Taken up, not made again: it is the same file while the job goes on.
        for when in 1.. {
            strace::killed_at(&case.job.args("run", &[]), "fdatasync", when).unwrap();
            if case.job.status()["phase"] == "Restoring" {
                break;
            }
        }
        assert_eq!(fs::metadata(spool.join("2.nodes")).unwrap().modified().unwrap(), written);
        case.job.run(&[]).expect(0, &[]);
        case.job.dump().assert_same(&expected, what);
        assert!(!spool.exists());
    }
    let case = Case::new("idle", 1);
    spooled(&case);
    case.job.command("abort", &[]).expect(0, &[]);
    assert!(!case.job.target().exists());
}

#[test]
fn killed_at_any_sync_rename_or_removal_a_snapshot_with_changesets_carries_on_to_the_same_target() {
    if !strace::works() {
        return;
    }
    let (name, height, latest) = SNAPSHOTS[2];
    let expected = from_database(name, height, &[]);
    let mut kills = 0;
    for call in ["fsync", "fdatasync", "rename", "unlink", "unlinkat"] {
        let step = if call == "fdatasync" { 3 } else { 1 };
        for when in (1..).step_by(step) {
            let case = Case::new(name, height).with_changes(name, height + 1..=latest, 2);
            if strace::killed_at(&case.job.args("run", &[]), call, when).is_err() {
                break;
            }
            kills += 1;
            case.job.run(&[]).expect(0, &[]);
            timeless(case.job.dump()).assert_same(&expected, &format!("{call} {when}"));
        }
    }
    println!("{kills} kills");
    assert!(kills > 25, "{kills}");
}

#[test]
fn a_feed_that_lacks_a_version_has_one_twice_or_has_no_app_hash_for_it_is_refused_before_anything_is_written() {
    let case = || Case::new("idle", 1).with_changes("idle", 2..=9, 1);
    let file = |case: &Case, version: u64| case.changes().join(format!("{:03}.bin", 902 - version));

    let gap = case();
    fs::remove_file(file(&gap, 5)).unwrap();
    gap.refused(4, &["version 5 is missing"]);

    let first = case();
    fs::remove_file(file(&first, 2)).unwrap();
    first.refused(4, &["version 2 is missing"]);

    let last = case();
    fs::remove_file(file(&last, 9)).unwrap();
    last.refused(4, &["version 9 has an app hash, but no file has its changes"]);

    let twice = case();
    fs::copy(file(&twice, 5), twice.changes().join("again.bin")).unwrap();
    twice.refused(4, &["version 5 is there twice", "again.bin"]);

    let nameless = case();
    write_hashes(
        &nameless.changes(),
        app_hashes("idle").into_iter().filter(|(version, _)| *version != 6 && *version < 10),
    );
    nameless.refused(4, &["version 6 has no app hash"]);
    fs::remove_file(nameless.changes().join("app_hashes")).unwrap();
    nameless.refused(4, &["app_hashes cannot be read"]);
    fs::write(nameless.changes().join("app_hashes"), "2 abc\n").unwrap();
    nameless.refused(4, &["line 1: app hash"]);

    let short = case();
    let bytes = fs::read(file(&short, 5)).unwrap();
    for length in [1, 7, 11, bytes.len() / 2, bytes.len() - 1] {
        fs::write(file(&short, 5), &bytes[..length]).unwrap();
        short.refused(5, &["ends within a record"]);
    }
    fs::write(file(&short, 5), [&bytes[..], &bytes[..]].concat()).unwrap();
    short.refused(5, &["not above that of the record before"]);

    let inside = Case::new("idle", 1);
    let args = |changes: &Path| {
        let mut args = inside.job.args("run", &[]);
        args.extend(["--changesets".to_owned(), text(changes)]);
        args
    };
    crate::helper::storeshift(&args(&inside.job.target().join("x"))).expect(4, &["lie inside each other"]);
    crate::helper::storeshift(&args(Path::new("/nowhere/at/all"))).expect(4, &["cannot be read"]);
}

#[test]
fn changes_that_do_not_lead_to_the_app_hash_stop_the_run_there_and_a_good_file_lets_it_go_on() {
    type Damage = fn(&mut Vec<u8>);
    // The bytes at the end are a value's, or a key's of a removal.
    let damages: [Damage; 2] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 0x40;
        },
    ];
    let expected = from_database("idle", 1, &[]);
    for damage in damages {
        let case = Case::new("idle", 1).with_changes("idle", 2..=24, 1);
        let file = case.changes().join(format!("{:03}.bin", 902 - 12));
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        damage(&mut bad);
        fs::write(&file, &bad).unwrap();
        let ran = case.job.run(&[]);
        ran.expect(5, &[]);
        // A length may have become one that leads out of the file, which is told at once.
        if case.job.target().exists() {
            assert_eq!(case.job.status()["phase"], "Syncing", "{ran:?}");
            // What comes before it is there already.
            assert_eq!(case.job.status()["applied"], 11, "{ran:?}");
            ran.expect(5, &["version 12"]);
        }
        case.job.run(&[]).expect(5, &[]);
        fs::write(&file, &good).unwrap();
        case.job.run(&[]).expect(0, &[]);
        timeless(case.job.dump()).assert_same(&expected, "carried on");
    }
    let case = Case::new("idle", 1).with_changes("idle", 2..=24, 50);
    let mut hashes = app_hashes("idle");
    hashes.retain(|version, _| (2..=24).contains(version));
    let (right, wrong) = (hashes[&7].clone(), hashes[&8].clone());
    write_hashes(
        &case.changes(),
        hashes.iter().map(|(version, hash)| (*version, if *version == 7 { wrong.clone() } else { hash.clone() })),
    );
    case.job.run(&[]).expect(5, &["version 7 leads to app hash", &right, &wrong]);
    assert_eq!(case.job.status()["applied"], 6);
    write_hashes(&case.changes(), hashes.into_iter());
    case.job.run(&[]).expect(0, &[]);
    timeless(case.job.dump()).assert_same(&expected, "carried on");
}

#[test]
fn more_changesets_may_come_while_the_job_is_not_switched_and_fewer_are_refused() {
    let expected = from_database("idle", 1, &[]);
    let case = Case::new("idle", 1).with_changes("idle", 2..=9, 4);
    case.job.run(&["--no-switch"]).expect(0, &[]);
    assert_eq!(case.job.status()["applied"], 9);
    fs::remove_dir_all(case.changes()).unwrap();
    changesets(&case.changes(), "idle", 2..=8, 4);
    case.job.run(&["--no-switch"]).expect(4, &["stands at version 8, but it stood at 9 before"]);
    fs::remove_dir_all(case.changes()).unwrap();
    changesets(&case.changes(), "idle", 2..=24, 5);
    case.job.run(&[]).expect(0, &[]);
    timeless(case.job.dump()).assert_same(&expected, "in two runs");
}

/// A key and its value, or none for a removal.
type Operation<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record of one version, by the documented layout.
fn record(version: u64, stores: &[(&str, &[Operation<'_>])]) -> Vec<u8> {
    let mut out = version.to_le_bytes().to_vec();
    let sized = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    };
    out.extend((stores.len() as u32).to_le_bytes());
    for (store, changes) in stores {
        out.extend((store.len() as u16).to_le_bytes());
        out.extend(store.as_bytes());
        out.extend((changes.len() as u32).to_le_bytes());
        for (key, value) in *changes {
            out.push(u8::from(value.is_none()));
            sized(&mut out, key);
            if let Some(value) = value {
                sized(&mut out, value);
            }
        }
    }
    out
}

#[test]
fn stores_begin_and_end_where_the_feed_says_so_and_only_there() {
    use storeshift::{
        iavl::{inner_hash, leaf_hash},
        model::{CommitInfo, StoreInfo, Version},
        source,
    };
    let database = source::open(&fixture("nofast"), 1 << 20).unwrap();
    let before = database.commit_info(Version(8)).unwrap().unwrap();
    let dropped = before.stores.iter().find(|store| store.name.as_str() != "feegrant").unwrap().name.clone();
    let names: Vec<&str> = before.stores.iter().map(|store| store.name.as_str()).collect();
    // Roots are worked out by hand here: one leaf, then two.
    let one = leaf_hash(Version(9), b"a", b"1");
    let two = inner_hash(1, 2, Version(10), &one, &leaf_hash(Version(10), b"b", b""));
    let hash = |version: u64, root| {
        let mut stores = before.stores.clone();
        stores.retain(|store| store.name != dropped);
        stores.push(StoreInfo { name: "newborn".into(), version: Version(version), root: Some(root) });
        CommitInfo { version: Version(version), stores, timestamp: None }.app_hash()
    };
    let case = Case::new("nofast", 8).with_changes("nofast", 9..=9, 1);
    fs::remove_file(case.changes().join("900.bin")).unwrap();
    let set: [Operation<'_>; 1] = [(b"a", Some(b"1"))];
    let more: [Operation<'_>; 2] = [(b"b", Some(b"")), (b"c", None)];
    let bytes = [record(9, &[("newborn", &set)]), record(10, &[("newborn", &more)])].concat();
    fs::write(case.changes().join("made.bin"), bytes).unwrap();
    let lines = |upgrade: &str| format!("9 {} {upgrade}\n10 {}\n", hash(9, one), hash(10, two));
    for (upgrade, words) in [
        (String::new(), "version 9 changes store newborn, which is not there"),
        ("+newborn -nobody".to_owned(), "drops store nobody, which is not there"),
        (format!("+newborn +{}", names[0]), "which is there already"),
        ("+newborn".to_owned(), "version 9 leads to app hash"),
        (format!("+newborn -{dropped} +other"), "version 9 leads to app hash"),
    ] {
        fs::write(case.changes().join("app_hashes"), lines(&upgrade)).unwrap();
        case.job.run(&[]).expect(5, &[words]);
        assert_eq!(case.job.status()["applied"], 8);
    }
    fs::write(case.changes().join("app_hashes"), lines(&format!("-{dropped} +newborn"))).unwrap();
    case.job.run(&[]).expect(0, &[]);
    let dump = case.job.dump();
    let pairs = |store: &str| -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let prefix = format!("s/k:{store}/").into_bytes();
        let of_store = dump.ss.iter().filter(|(key, _, _)| key.starts_with(&prefix));
        // Newest first for each key.
        let mut found = BTreeMap::new();
        of_store.for_each(|(key, _, value)| {
            found.entry(key[prefix.len()..].to_vec()).or_insert_with(|| value.clone());
        });
        found
    };
    let expected = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(Vec::new()))];
    assert_eq!(pairs("newborn"), BTreeMap::from(expected), "and no removal of what was not there");
    let gone = pairs(dropped.as_str());
    assert!(!gone.is_empty() && gone.values().all(Option::is_none), "every pair of a dropped store is removed");
}
