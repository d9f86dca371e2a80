//! State storage, judged by the digests of every version.

use super::{
    go, reader,
    set::{self, Migrated, Set, text},
};

fn judge(set: &Set, migrated: &Migrated) {
    assert_eq!(reader::storage_latest(&migrated.ss()), set.latest());
    let (from, to, expected) = (migrated.height.to_string(), set.latest().to_string(), set.file("expected.json"));
    let args = ["-expected", text(&expected), "-from", &from, "-to", &to, "-dropped", "fail", "-quiet"];
    let printed = go::run("ssverify", &args, Some(&migrated.entries()));
    assert!(printed.contains(", 0 differences"), "{}: {printed}", set.name);
}

#[test]
fn pairs_of_the_newest_version_are_as_expected() {
    if go::programs().is_none() {
        return;
    }
    for set in set::all() {
        judge(&set, &set.migrate(&["--chunk-leaves", set.few_leaves()]));
        judge(&set, &set.migrate(&["--parts", "ss"]));
    }
}

#[test]
fn pairs_of_every_retained_version_are_as_expected_and_dropped_stores_are_gone() {
    if go::programs().is_none() {
        return;
    }
    for set in set::all() {
        judge(&set, &set.migrate(&["--at", "oldest"]));
    }
}
