//! State sync snapshots that Go takes here, and what comes of them, judged by Go.

use super::{
    go::{self, check},
    reader,
    set::{self, Set, scratch, text},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Has Go take a snapshot of a set; Go restores it, too, and compares app hashes.
fn take(set: &Set, version: u64, to: &Path) -> PathBuf {
    let dir = set.database().parent().unwrap().to_owned();
    let printed = go::run("snapv1", &["-dir", text(&dir), "-version", &version.to_string(), "-out", text(to)], None);
    // A snapshot has no memory stores, which SDK 0.46 counts into the app hash.
    let same = if set.version(version).get("iavl_hash").is_none() { "same true" } else { set.app_hash(version) };
    assert!(printed.contains(same), "{printed}");
    to.join(format!("snapshots/{version}/3"))
}

/// All changesets of a set after a version, with their app hashes.
fn changesets(set: &Set, after: u64, last: u64, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::copy(set.file("changesets.bin"), to.join("changesets.bin")).unwrap();
    let line = |version: u64| format!("{version} {}\n", set.version(version)["app_hash"].as_str().unwrap());
    fs::write(to.join("app_hashes"), (after + 1..=last).map(line).collect::<String>()).unwrap();
}

fn run(set: &Set, source: &Path, version: u64, target: &Path, more: &[&str]) -> String {
    let app_hash = set.app_hash(version);
    let mut run = Command::new(env!("CARGO_BIN_EXE_storeshift"));
    run.args(["run", "--source", text(source), "--target", text(target), "--app-hash", app_hash]).args(more);
    check(&mut run)
}

fn commitment(target: &Path) -> PathBuf {
    let (pairs, to) = (target.join("pairs"), target.join("sc.db"));
    reader::dump_pairs(&target.join("sc"), &pairs);
    go::run("goload", &["-to", text(&to)], Some(&pairs));
    to
}

#[test]
fn what_comes_of_a_snapshot_go_took_is_what_go_expects_and_go_commits_on_it() {
    if go::programs().is_none() {
        return;
    }
    // The trees on PebbleDB are like those on goleveldb, which Go can be given without changing the fixture.
    for set in set::all().into_iter().filter(|set| set.name != "pebble") {
        let home = scratch();
        let height = set.latest();
        let source = take(&set, height, &home.path().join("go"));
        let target = home.path().join("target");
        run(&set, &source, height, &target, &["--chunk-leaves", set.few_leaves()]);
        let (sc, expected, replay) = (commitment(&target), set.file("expected.json"), set.file("changesets.bin"));
        let args = ["-sc", text(&sc), "-expected", text(&expected), "-replay", text(&replay)];
        let printed = go::run("goverify", &args, None);
        let as_expected = printed.matches("is as expected").count();
        assert!(as_expected > usize::from(set.has_live_versions()), "{}: no version was replayed\n{printed}", set.name);
        judge_storage(&set, &target, height, height);
    }
}

#[test]
fn changesets_on_a_snapshot_of_an_earlier_version_come_to_what_go_expects_at_every_version() {
    if go::programs().is_none() {
        return;
    }
    // After the upgrade of `small`; `idle` from its first version on.
    for (name, height) in [("small", 14), ("idle", 1), ("initial", 1_000_010)] {
        let set = set::fixture(name);
        let home = scratch();
        let source = take(&set, height, &home.path().join("go"));
        let (target, changes) = (home.path().join("target"), home.path().join("changes"));
        // Those included that are in no database.
        let expected: serde_json::Value =
            serde_json::from_slice(&fs::read(set.file("expected.json")).unwrap()).unwrap();
        let last = expected["versions"].as_array().unwrap().last().unwrap()["version"].as_u64().unwrap();
        assert!(last > set.latest());
        changesets(&set, height, last, &changes);
        run(&set, &source, height, &target, &["--changesets", text(&changes), "--chunk-leaves", set.few_leaves()]);
        let (sc, expected) = (commitment(&target), set.file("expected.json"));
        // Newest first: where Go loads an older version, it forgets the commit infos of all later ones.
        for version in (height..=last).rev() {
            let args = ["-sc", text(&sc), "-expected", text(&expected), "-version", &version.to_string()];
            go::run("goverify", &args, None);
        }
        judge_storage(&set, &target, height, last);
    }
}

fn judge_storage(set: &Set, target: &Path, from: u64, to: u64) {
    let (entries, expected) = (target.join("entries"), set.file("expected.json"));
    reader::dump_entries(&target.join("ss"), &entries);
    assert_eq!(reader::storage_latest(&target.join("ss")), to);
    let (from, to) = (from.to_string(), to.to_string());
    let args = ["-expected", text(&expected), "-from", &from, "-to", &to, "-dropped", "fail", "-quiet"];
    let printed = go::run("ssverify", &args, Some(&entries));
    assert!(printed.contains(", 0 differences"), "{}: {printed}", set.name);
}
