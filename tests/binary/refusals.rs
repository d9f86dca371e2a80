//! What must be refused is refused with its exit code and in words, and nothing changes.

use crate::{
    helper::{
        Job, assert_unchanged, baseline, contents, copy, damage_tool, damaged, fixture, flip, fresh, offsets,
        storeshift, text,
    },
    strace,
};
use std::fs::{self, File};

const LEAVE_OUT: &str = "--leave-out-memory-stores";

/// Runs with these options more, and asserts that it is refused and nothing below the job's directory changes.
#[track_caller]
fn refused(job: &Job, extra: &[&str], code: i32, words: &[&str]) {
    let before = contents(job.dir.path());
    job.run(extra).expect(code, words);
    let mut after = contents(job.dir.path());
    // redb notes in its file that it was opened; what it says is compared by going on afterwards.
    let journal = job.target().join("journal/journal.redb");
    if let Some(as_it_was) = before.get(&journal) {
        assert!(after.insert(journal, as_it_was.clone()).is_some(), "the journal is gone");
    }
    assert_unchanged(&before, &after);
}

fn caught_up(name: &str, more: &[&str]) -> Job {
    let job = Job::of(name, more);
    job.run(&["--no-switch"]).expect(0, &[]);
    job
}

#[test]
fn a_changed_plan_is_refused_and_every_difference_is_listed() {
    let mut job = caught_up("nofast", &["--at", "oldest"]);
    job.more = vec!["--at".into(), "latest".into()];
    refused(&job, &[], 4, &["the plan differs", "at: the job was begun with oldest, now it is latest"]);
    job.more = ["--at", "12", "--parts", "sc"].map(str::to_owned).to_vec();
    refused(&job, &[], 4, &["at: the job", "parts: the job was begun with sc+ss, now it is sc"]);
    job.more = vec!["--at".into(), "oldest".into()];
    job.run(&["--workers", "3", "--memory-mib", "64", "--reserve-mib", "1"]).expect(0, &[]);
}

#[test]
fn a_target_of_another_job_is_refused() {
    for part in ["sc", "ss"] {
        let (job, other) = (caught_up("nofast", &[]), caught_up("nofast", &[]));
        fs::remove_dir_all(job.target().join(part)).unwrap();
        copy(&other.target().join(part), &job.target().join(part));
        job.run(&[]).expect(4, &["belongs to job", part]);
        other.run(&[]).expect(0, &[]);
    }
}

#[test]
fn a_target_without_identity_is_refused() {
    let job = caught_up("nofast", &[]);
    fs::remove_file(job.target().join("ss/storeshift.job")).unwrap();
    job.run(&[]).expect(4, &["no storeshift identity"]);
    assert!(!job.target().join("ss/storeshift.job").exists());
}

#[test]
fn a_target_without_its_journal_is_refused() {
    let job = caught_up("nofast", &[]);
    fs::remove_dir_all(job.target().join("journal")).unwrap();
    refused(&job, &[], 4, &["is not empty, but there is no journal beside it"]);
    for command in ["status", "verify", "journal", "abort"] {
        job.command(command, &[]).expect(4, &["there is no job here"]);
    }
}

#[test]
fn a_target_with_strange_files_is_refused() {
    let job = Job::of("nofast", &[]);
    fs::create_dir_all(job.target().join("sc")).unwrap();
    fs::write(job.target().join("sc/precious"), "x").unwrap();
    refused(&job, &[], 4, &["sc is not empty"]);
}

#[test]
fn a_target_behind_its_journal_is_refused() {
    for part in ["sc", "ss"] {
        let job = caught_up("nofast", &["--at", "oldest"]);
        let identity = fs::read(job.target().join(part).join("storeshift.job")).unwrap();
        fs::remove_dir_all(job.target().join(part)).unwrap();
        fs::create_dir_all(job.target().join(part)).unwrap();
        fs::write(job.target().join(part).join("storeshift.job"), identity).unwrap();
        job.run(&[]).expect(4, &[&part.to_uppercase(), "but the journal says that version 12 was durable there"]);
    }
}

#[test]
fn while_somebody_holds_the_lock_every_command_that_writes_is_refused() {
    let job = caught_up("nofast", &[]);
    let lock = File::open(job.target().join("journal/lock")).unwrap();
    lock.try_lock().unwrap();
    refused(&job, &[], 4, &["another storeshift process", "works on this target"]);
    for command in ["verify", "abort", "journal"] {
        let before = contents(job.dir.path());
        job.command(command, &[]).expect(4, &["another storeshift process"]);
        assert_unchanged(&before, &contents(job.dir.path()));
    }
    job.command("status", &[]).expect(0, &[]);
    drop(lock);
    job.run(&[]).expect(0, &[]);
}

#[test]
fn a_second_run_at_the_same_time_is_refused_and_the_first_goes_on() {
    if !strace::works() {
        return;
    }
    let job = Job::of("nofast", &[]);
    let first = strace::slowed(&job.args("run", &[]), 10);
    while !job.target().join("journal/status.json").exists() {
        std::thread::yield_now();
    }
    job.run(&[]).expect(4, &["another storeshift process"]);
    let ended = crate::helper::Ran::from(first.wait_with_output().unwrap());
    ended.expect(0, &[]);
    job.dump().assert_same(&baseline("nofast", &[]), "the first of two");
}

#[test]
fn a_source_of_another_chain_is_refused() {
    let mut job = caught_up("nofast", &[]);
    job.source = fixture("unflushed");
    refused(&job, &[], 4, &["another chain"]);
    job.source = fixture("initial");
    refused(&job, &[], 4, &["another chain"]);
    job.source = fixture("nofast");
    job.run(&[]).expect(0, &[]);
}

#[test]
fn once_a_target_is_done_a_source_of_another_chain_is_still_refused_and_one_that_is_gone_is_not() {
    let mut job = Job::of("nofast", &[]);
    job.run(&[]).expect(0, &[]);
    job.source = fixture("unflushed");
    refused(&job, &[], 4, &["the target is done, and has the migration of another chain"]);
    let shown = job.status()["source"].as_str().unwrap().to_owned();
    assert!(shown.starts_with('/') && shown.ends_with("/application.db") && !shown.contains("unflushed"), "{shown}");
    job.source = job.dir.path().join("removed");
    job.run(&[]).expect(0, &[]);
    assert_eq!(job.status()["source"], shown.as_str());
}

#[test]
fn a_source_that_was_rolled_back_is_refused() {
    let Some(tool) = damage_tool() else { return };
    for kind in ["pointer", "real"] {
        let mut job = caught_up("nofast", &["--at", "oldest"]);
        let (_dir, copy, _) = damaged(tool, "nofast", &["rolled-back", "-kind", kind]);
        job.source = copy;
        refused(&job, &[], 4, &["rolled back", "stands at version 10", "stood at 12"]);
    }
}

#[test]
fn what_is_no_database_is_refused_before_anything_is_written() {
    let home = fresh();
    let missing = home.path().join("missing");
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    let pebble = home.path().join("pebble");
    fs::create_dir(&pebble).unwrap();
    for (name, bytes) in [("OPTIONS-000003", "[Version]"), ("CURRENT", "MANIFEST-000001\n"), ("MANIFEST-000001", "")] {
        fs::write(pebble.join(name), bytes).unwrap();
    }
    for (source, word) in [(missing, "missing"), (empty, "empty"), (file, "file"), (pebble, "pebble")] {
        let job = Job::new(source.clone(), &[]);
        let before = contents(home.path());
        let ran = job.run(&[]);
        println!("{word}: {:?} {}", ran.code, ran.err);
        refused(&job, &[], 4, &[word]);
        assert_unchanged(&before, &contents(home.path()));
        assert!(!job.target().exists());
    }
}

#[test]
fn a_target_is_no_source() {
    let job = caught_up("nofast", &[]);
    refused(&Job::new(job.target(), &[]), &[], 4, &["are source and target swapped?"]);
    refused(&Job::new(job.target().join("sc"), &[]), &[], 4, &["no committed version"]);
    refused(&Job::new(job.target().join("ss"), &[]), &[], 4, &["ss", "state_storage"]);
}

#[test]
fn store_names_that_cannot_be_laid_out_are_refused_before_anything_is_written() {
    let Some(tool) = damage_tool() else { return };
    let kinds = [
        ("prefix", "ambiguous"),
        ("slash", "'/'"),
        ("memory", "memory:"),
        ("empty", "empty name"),
        ("path", "'/'"),
        ("duplicate", "twice"),
    ];
    for (kind, word) in kinds {
        let (_dir, copy, _) = damaged(tool, "nofast", &["hostile-names", "-kind", kind]);
        let job = Job::new(copy, &[]);
        let ran = job.run(&[]);
        println!("{kind}: {:?} {}", ran.code, ran.err);
        assert!(matches!(ran.code, Some(4 | 5)), "{kind}: {ran:?}");
        assert!(ran.err.contains(word) || ran.err.contains("twice"), "{kind}: {ran:?}");
        assert!(!job.target().exists(), "{kind}");
    }
}

#[test]
fn target_and_source_inside_each_other_are_refused() {
    let home = fresh();
    let source = home.path().join("data/application.db");
    copy(&fixture("nofast"), &source);
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&source, &link).unwrap();
    let before = contents(home.path());
    for target in [source.clone(), source.join("v2"), source.join("a/../v2"), link.join("v2"), home.path().join("data")]
    {
        let args = ["run", "--source", source.to_str().unwrap(), "--target", target.to_str().unwrap()];
        crate::helper::storeshift(&args).expect(4, &["lie inside each other"]);
        assert_unchanged(&before, &contents(home.path()));
    }
}

#[test]
fn a_target_below_a_file_is_refused_naming_the_file() {
    let home = fresh();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let args = ["run", "--source", &text(&fixture("nofast")), "--target", &text(&file.join("a/v2"))];
    storeshift(&args).expect(4, &["/file: is a file, where a directory belongs", "choose another target"]);
}

#[test]
fn wrong_options_are_told_apart_from_everything_else() {
    let job = Job::of("nofast", &[]);
    let wrong: [&[&str]; 9] = [
        &["--fast"],
        &["--at", "newest"],
        &["--at", "0"],
        &["--parts", "cs"],
        &["--app-hash", "12"],
        &["--workers", "0"],
        &["--memory-mib", "1"],
        &["--chunk-leaves", "0"],
        &["--plan", "x.toml"],
    ];
    for extra in wrong {
        refused(&job, extra, 2, &[]);
    }
    crate::helper::storeshift(&["run"]).expect(2, &["--source"]);
    crate::helper::storeshift(&["migrate"]).expect(2, &[]);
    let missing = ["run", "--plan", "/nowhere/plan.toml"];
    crate::helper::storeshift(&missing).expect(2, &["/nowhere/plan.toml"]);
}

#[test]
fn an_app_hash_that_is_not_the_databases_is_refused_and_the_right_one_accepted() {
    let job = Job::of("nofast", &[]);
    let wrong = "00".repeat(32);
    refused(&job, &["--app-hash", &wrong], 4, &["the trusted one is", &wrong]);
    assert!(!job.target().exists());
    let hash = |version| recorded("nofast", version, "app_hash");
    refused(&job, &["--app-hash", &hash(11)], 4, &["another version"]);
    job.run(&["--app-hash", &hash(12)]).expect(0, &[]);
}

#[test]
fn a_version_that_is_not_there_is_refused() {
    let job = Job::of("pruned", &[]);
    refused(&job, &["--at", "26"], 4, &["the newest version in the database is 25"]);
    refused(&job, &["--at", "3"], 4, &["version 3"]);
    assert!(!job.target().exists());
}

#[test]
fn too_little_disk_space_is_refused_before_anything_is_written() {
    let job = Job::of("nofast", &[]);
    refused(&job, &["--reserve-mib", "100000000000"], 4, &["not enough disk space"]);
    assert!(!job.target().exists());
}

#[test]
fn a_journal_of_a_newer_format_is_refused_naming_the_release_that_wrote_it() {
    let job = caught_up("nofast", &[]);
    let file = job.target().join("journal/journal.redb");
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(table).unwrap().insert("format", b"99 7.8.9".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = contents(&job.target().join("sc"));
    for command in ["run", "verify", "abort", "journal"] {
        job.command(command, &[]).expect(4, &["7.8.9", "format 99"]);
    }
    assert_unchanged(&before, &contents(&job.target().join("sc")));
}

#[test]
fn a_flipped_byte_in_the_journal_is_found_or_does_not_matter() {
    let template = caught_up("nofast", &["--at", "oldest"]);
    let file = template.target().join("journal/journal.redb");
    let (mut found, mut harmless) = (0, 0);
    let mut offsets = offsets(&file, 60);
    offsets.extend([1, 9, 16, 24, 32, 64, 65, 72, 100, 128, 192, 200, 256, 300]);
    for offset in offsets {
        let job = Job::of("nofast", &["--at", "oldest"]);
        copy(&template.target(), &job.target());
        flip(&job.target().join("journal/journal.redb"), offset, 0x10);
        let ran = job.run(&[]);
        match ran.code {
            Some(0) => {
                harmless += 1;
                job.dump().assert_same(&baseline("nofast", &["--at", "oldest"]), &format!("flipped at {offset}"));
            }
            _ => {
                found += 1;
                ran.expect(5, &["journal"]);
            }
        }
    }
    println!("a flipped byte in the journal: found {found}, harmless {harmless}");
    assert!(found >= 10, "{found}");
}

#[test]
fn a_journal_cut_short_is_refused() {
    let template = caught_up("nofast", &["--at", "oldest"]);
    let length = fs::metadata(template.target().join("journal/journal.redb")).unwrap().len();
    for left in [0, 1, 9, 100, 320, 4095, 4096, length / 2, length - 4096, length - 1] {
        let job = Job::of("nofast", &["--at", "oldest"]);
        copy(&template.target(), &job.target());
        let file = File::options().write(true).open(job.target().join("journal/journal.redb")).unwrap();
        file.set_len(left).unwrap();
        let ran = job.run(&[]);
        assert_eq!(ran.code, Some(5), "{left} of {length} bytes: {ran:#?}");
    }
}

/// A hash that the Go code recorded of a version of a fixture.
fn recorded(name: &str, version: u64, what: &str) -> String {
    let expected = fs::read(fixture(name).with_file_name("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let versions = expected["versions"].as_array().unwrap();
    let found = versions.iter().find(|entry| entry["version"] == version).unwrap();
    found[what].as_str().unwrap().to_owned()
}

#[test]
fn memory_stores_are_refused_naming_the_option_that_leaves_them_out() {
    for (name, at) in [("legacy", "latest"), ("legacy", "oldest"), ("legacy", "5"), ("mixed", "16"), ("mixed", "2")] {
        let job = Job::of(name, &["--at", at]);
        refused(&job, &[], 4, &["is a memory store", LEAVE_OUT]);
        assert!(!job.target().exists());
        job.command("plan", &[]).expect(4, &[LEAVE_OUT]);
        job.run(&[LEAVE_OUT]).expect(0, &[]);
        let status = job.command("status", &[]);
        status.expect(0, &[]);
        assert!(status.out.contains("over the IAVL stores alone"), "{status:?}");
    }
    // What SDK 0.47 or later wrote needs no option, and a history is then what those wrote.
    let job = Job::of("mixed", &["--at", "oldest"]);
    job.run(&[]).expect(0, &[]);
    assert_eq!(job.status()["height"], 17, "{}", job.status());
}

#[test]
fn a_job_that_leaves_memory_stores_out_goes_on_only_as_one_that_does() {
    for name in ["legacy", "mixed"] {
        let mut job = caught_up(name, &[LEAVE_OUT]);
        job.more.clear();
        let words = ["the plan differs", "leave_out_memory_stores: the job was begun with true, now it is false"];
        refused(&job, &[], 4, &words);
        job.more = vec![LEAVE_OUT.to_owned()];
        job.run(&[]).expect(0, &[]);
    }
    let job = caught_up("mixed", &[]);
    refused(&job, &[LEAVE_OUT], 4, &["leave_out_memory_stores: the job was begun with false, now it is true"]);
    job.run(&[]).expect(0, &[]);
}

#[test]
fn an_app_hash_is_compared_with_the_chains_own_although_memory_stores_are_left_out() {
    let job = Job::of("legacy", &[LEAVE_OUT]);
    let without = recorded("legacy", 18, "iavl_hash");
    refused(&job, &["--app-hash", &without], 4, &["the trusted one is", &without]);
    refused(&job, &["--app-hash", &recorded("legacy", 17, "app_hash")], 4, &["another version"]);
    assert!(!job.target().exists());
    job.run(&["--app-hash", &recorded("legacy", 18, "app_hash")]).expect(0, &[]);
}

#[test]
fn legacy_versions_that_were_pruned_or_are_wrong_are_refused_by_name() {
    let hole = Job::of("legacy-holes", &["--at", "26", LEAVE_OUT]);
    refused(&hole, &[], 4, &["has no tree of version 26", "pruned"]);
    // IAVL 1.x wrote another root over the one of this version.
    let wrong = Job::of("mixed-clash", &["--at", "18"]);
    refused(&wrong, &[], 4, &["store shrunk", "at version 18 has the root", "its commit info says"]);
}

#[test]
fn a_database_that_a_node_has_open_is_examined_through_a_checkpoint_only_and_that_goes_again() {
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&fixture("small"), &source);
    // As goleveldb holds it.
    let lock = File::create(source.join("LOCK")).unwrap();
    lock.lock().unwrap();
    let before = contents(home.path());
    let source = text(&source);
    storeshift(&["doctor", "--source", &source]).expect(4, &["has this database open", "--checkpoint DIR"]);
    let checkpoint = home.path().join("beside");
    storeshift(&["doctor", "--source", &source, "--checkpoint", &text(&checkpoint)]).expect(0, &[]);
    assert!(!checkpoint.exists(), "what was made for the checkpoint is left");
    // A link more is a change of a file's status, which is all there may be.
    let names = |contents: &crate::helper::Contents| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&contents(home.path())));
}
