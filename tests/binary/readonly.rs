//! The source is never written: names, contents and times of change stay.

use crate::{
    helper::{FIXTURES, Job, LEGACY, assert_unchanged, contents, copy, fresh, storeshift, text, whole_history},
    strace,
};

#[test]
fn no_command_changes_a_byte_a_name_or_a_time_in_the_source() {
    for name in FIXTURES.into_iter().chain(LEGACY).chain(["pruned-rocksdb"]) {
        let home = fresh();
        let source = home.path().join("application.db");
        copy(&crate::helper::fixture(name), &source);
        let before = contents(home.path());
        let job = Job::new(source.clone(), whole_history(name));
        job.command("plan", &[]).expect(0, &[]);
        for options in [&[][..], &["--json"], &["--latest-only"]] {
            storeshift(&[&["doctor", "--source", &text(&source)], options].concat()).expect(0, &[]);
        }
        assert_unchanged(&before, &contents(home.path()));
        if strace::works() {
            strace::killed_at(&job.args("run", &[]), "fdatasync", 20).unwrap();
            assert_unchanged(&before, &contents(home.path()));
        }
        job.run(&["--no-switch"]).expect(0, &[]);
        job.run(&[]).expect(0, &[]);
        job.command("verify", &["--source", &text(&source)]).expect(0, &[]);
        job.command("verify", &["--source", &text(&source), "--repair"]).expect(0, &[]);
        assert_unchanged(&before, &contents(home.path()));
    }
}

#[test]
fn no_file_of_the_source_is_opened_for_writing_created_renamed_or_removed() {
    if !strace::works() {
        return;
    }
    for name in ["small", "pruned-rocksdb"] {
        let home = fresh();
        let source = home.path().join("application.db");
        copy(&crate::helper::fixture(name), &source);
        let job = Job::new(source.clone(), &[]);
        let calls = strace::calls_on_files(&job.args("run", &[]));
        let on_source: Vec<&str> = calls.lines().filter(|call| call.contains(&text(&source))).collect();
        let reads = |call: &&&str| {
            let opened = call.contains("O_RDONLY") && !call.contains("O_CREAT") && !call.contains("O_TRUNC");
            // RocksDB makes sure that its directory is there, which it is.
            opened || call.contains("mkdir") && call.contains("EEXIST")
        };
        let others: Vec<_> = on_source.iter().filter(|call| !reads(call)).collect();
        assert!(on_source.len() > 5 && others.is_empty(), "{name}: {others:#?}");
    }
}

#[test]
fn a_source_without_write_permission_is_migrated() {
    without_write_permission("nofast");
    without_write_permission("pruned-rocksdb");
}

fn without_write_permission(name: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&crate::helper::fixture(name), &source);
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o555)).unwrap();
    let job = Job::new(source.clone(), &[]);
    job.run(&[]).expect(0, &[]);
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
}
