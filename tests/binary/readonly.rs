//! The source is never written: names, contents and times of change stay.

use crate::{
    helper::{FIXTURES, Job, assert_unchanged, contents, copy, fresh, storeshift, text},
    strace,
};

#[test]
fn no_command_changes_a_byte_a_name_or_a_time_in_the_source() {
    for name in FIXTURES {
        let home = fresh();
        let source = home.path().join("application.db");
        copy(&crate::helper::fixture(name), &source);
        let before = contents(home.path());
        let job = Job::new(source.clone(), &["--at", "oldest"]);
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
fn a_source_without_write_permission_is_migrated() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&crate::helper::fixture("nofast"), &source);
    for entry in std::fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o555)).unwrap();
    let job = Job::new(source.clone(), &[]);
    job.run(&[]).expect(0, &[]);
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
}
