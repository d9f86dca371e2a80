//! State commitment, judged by store/v2 and IAVL themselves.

use super::{
    go,
    set::{self, Set, scratch, text},
};
use std::{fs::File, process::Command};

/// Compares with what Go writes from the same database in our numbering, byte for byte.
fn equals_what_go_writes_in_our_numbering(set: &Set, migrated: &[set::Migrated]) {
    let dir = scratch();
    let (written, dumped) = (dir.path().join("sc.db"), dir.path().join("pairs"));
    let from = set.goleveldb(dir.path());
    go::run("noncelab", &["write", "-numbering", "allref", "-from", text(&from), "-to", text(&written)], None);
    let pairs = File::create(&dumped).unwrap();
    let mut dump = Command::new(go::programs().unwrap().join("dump"));
    assert!(dump.args(["-raw", "-from", text(&written)]).stdout(pairs).status().unwrap().success());
    for migrated in migrated {
        go::run("rawdiff", &[text(&dumped), text(&migrated.pairs())], None);
    }
}

#[test]
fn trees_are_byte_for_byte_those_go_would_write_and_go_commits_on_them() {
    if go::programs().is_none() {
        return;
    }
    for set in set::all() {
        let migrated = [set.migrate(&["--chunk-leaves", set.few_leaves()]), set.migrate(&[])];
        equals_what_go_writes_in_our_numbering(&set, &migrated);
        for migrated in migrated {
            let (sc, expected, replay) =
                (migrated.go_commitment(), set.file("expected.json"), set.file("changesets.bin"));
            let args = ["-sc", text(&sc), "-expected", text(&expected), "-replay", text(&replay)];
            let printed = go::run("goverify", &args, None);
            let as_expected = printed.matches("is as expected").count();
            assert!(
                as_expected > usize::from(set.has_live_versions()),
                "{}: no version was replayed\n{printed}",
                set.name
            );
        }
    }
}

#[test]
fn go_opens_every_version_of_a_migrated_history_and_commits_on() {
    if go::programs().is_none() {
        return;
    }
    for set in set::all() {
        let migrated = set.migrate(&["--at", "oldest", "--chunk-leaves", set.few_leaves()]);
        let (sc, expected, replay) = (migrated.go_commitment(), set.file("expected.json"), set.file("changesets.bin"));
        let all = ["-sc", text(&sc), "-expected", text(&expected)];
        go::run("goverify", &[&all[..], &["-replay", text(&replay)]].concat(), None);
        // Newest first: where Go loads an older version, it forgets the commit infos of all later ones.
        let last = set.latest();
        let versions = (migrated.height..=last).rev();
        for version in versions.filter(|v| !set.is_large() || *v == migrated.height || *v == last) {
            go::run("goverify", &[&all[..], &["-version", &version.to_string()]].concat(), None);
        }
    }
}

#[test]
fn go_prunes_rolls_back_exports_and_proves_and_nothing_is_left_over() {
    if go::programs().is_none() {
        return;
    }
    // Most of it is waiting for pruning in the background.
    std::thread::scope(|scope| {
        for name in ["idle", "idle-pruned", "initial", "small"] {
            scope.spawn(move || {
                let set = set::fixture(name);
                let migrated = set.migrate(&["--chunk-leaves", set.few_leaves()]);
                let (sc, live) = (migrated.go_commitment(), set.file("changesets.bin"));
                go::run("noncelab", &["live", "-strict", "-sc", text(&sc), "-live", text(&live)], None);
            });
        }
    });
}
