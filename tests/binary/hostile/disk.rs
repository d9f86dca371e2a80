//! Disks: one that is full, found at each of its pages, and one that may not be written.

use super::{Cell, SMALL, born, is_everything, text};
use crate::{
    dump::Dump,
    helper::{Job, Random, baseline},
};
use std::path::Path;

/// A job whose target is on a small disk of its own, with the job at `target` copied to it.
fn on_disk(template: &Job, size_kib: u64) -> Option<(Job, Cell)> {
    let job = Job::of(SMALL.0, SMALL.1);
    let mut cell = Cell::with_disk(&job.target(), size_kib)?;
    let from = format!("{}/.", text(&template.target()));
    let copied = cell.run(&["cp", "-r", &from, text(&job.target())]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    Some((job, cell))
}

#[track_caller]
fn is_whole(job: &Job, cell: &Cell, what: &str) {
    Dump::read(&cell.seen(&job.target())).assert_same(&baseline(SMALL.0, SMALL.1), what);
}

fn kib(directory: &Path) -> u64 {
    let used = std::process::Command::new("du").args(["-sk", text(directory)]).output().unwrap();
    String::from_utf8_lossy(&used.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn wherever_a_disk_becomes_full_the_run_says_so_and_with_more_room_the_same_command_goes_on() {
    let born = born();
    let mut random = Random::new("disks that become full");
    let step = if is_everything() { 4 } else { 96 };
    let (mut full, mut size) = (0, kib(&born.target()) + 8 + 4 * random.below(step / 4));
    loop {
        let Some((job, mut cell)) = on_disk(&born, size) else { return };
        let what = format!("a disk of {size} KiB");
        let args = job.args("run", &["--reserve-mib", "0"]);
        let ran = cell.storeshift(&args);
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
        if ran.code == Some(0) {
            is_whole(&job, &cell, &what);
            break;
        }
        full += 1;
        ran.expect(3, &["No space left on device", "target/", "Everything finished so far is recorded.", "Make room"]);
        // As full as it was, it says the same again.
        if full % 4 == 1 {
            cell.storeshift(&args).expect(3, &["No space left on device"]);
        }
        cell.remount(&job.target(), "size=64m");
        cell.storeshift(&args).expect(0, &[]);
        is_whole(&job, &cell, &what);
        size += step;
    }
    println!("disks that become full: {full} sizes, {step} KiB apart, the last of {size} KiB was enough");
    assert!(full >= 4, "{full}");
}

#[test]
fn a_disk_with_less_than_the_reserve_is_left_alone_and_more_room_lets_the_same_command_go_on() {
    let Some((job, mut cell)) = on_disk(&born(), 4 << 10) else { return };
    let ran = cell.storeshift(&job.args("run", &[]));
    ran.expect(3, &["are free on the target's disk", "make room first", "Run the same command again"]);
    cell.remount(&job.target(), "size=4g");
    cell.storeshift(&job.args("run", &[])).expect(0, &[]);
    is_whole(&job, &cell, "more room");
}

#[test]
fn on_a_disk_that_may_only_be_read_nothing_begins_and_once_it_may_be_written_the_job_goes_on() {
    let half = Job::of(SMALL.0, SMALL.1);
    half.run(&["--no-switch"]).expect(0, &[]);
    let Some((job, mut cell)) = on_disk(&half, 256 << 10) else { return };
    let args = |command: &str| job.args(command, &["--reserve-mib", "0"][..if command == "run" { 2 } else { 0 }]);
    cell.remount(&job.target(), "ro");
    let target = job.target();
    for command in ["run", "verify", "abort", "journal"] {
        let words = ["Read-only file system", text(&target), "mounted for writing", "run the same command again"];
        cell.storeshift(&args(command)).expect(3, &words);
    }
    for command in ["pause", "limit"] {
        let extra = if command == "limit" { &["--workers", "1"][..] } else { &[] };
        cell.storeshift(&job.args(command, extra)).expect(4, &["Read-only file system", "Nothing was changed"]);
    }
    cell.storeshift(&args("status")).expect(0, &[]);
    // Neither a new one below it.
    let mut below = Job::new(job.source.clone(), SMALL.1);
    below.dir = tempfile::tempdir_in(job.dir.path()).unwrap();
    let mut new = job.args("run", &["--reserve-mib", "0"]);
    new[2] = format!("{}/deeper/v2", text(&job.target()));
    cell.storeshift(&new).expect(3, &["Read-only file system", "deeper", "mounted for writing"]);
    cell.remount(&job.target(), "rw");
    cell.storeshift(&args("run")).expect(0, &[]);
    is_whole(&job, &cell, "after it could only be read");
    // A finished one can be looked at.
    cell.remount(&job.target(), "ro");
    let status = cell.storeshift(&args("status"));
    assert!(status.expect(0, &[]).out.contains("Done"), "{status:?}");
    cell.storeshift(&args("verify")).expect(3, &["Read-only file system", "mounted for writing"]);
}
