//! Clocks that are wrong: ahead, behind, and going back each time somebody looks. Nothing that is decided or recorded depends on them
//! but times that are shown and the deadline of a request to switch.

use super::{SMALL, born, goes_on, is_everything, is_whole, shim, shimmed};
use crate::helper::{Job, Ran, binary, copy, fixture, fresh};
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

const YEAR: i64 = 365 * 86400;

/// What the shim is told: seconds ahead, and seconds back with each look.
fn clock(ahead: i64, step: i64) -> [(&'static str, String); 2] {
    [("SHIM_CLOCK", ahead.to_string()), ("SHIM_STEP", step.to_string())]
}

const CLOCKS: [(&str, i64, i64); 4] = [
    ("thirty years ahead", 30 * YEAR, 0),
    ("at the beginning of time", -80 * YEAR, 0),
    ("going back by an hour with each look", 10 * YEAR, 3600),
    ("going back by a second with each look", 0, 1),
];

fn shown(shim: &Path, job: &Job, command: &str, extra: &[&str], (_, ahead, step): (&str, i64, i64)) -> Ran {
    shimmed(shim, &job.args(command, extra), &clock(ahead, step))
}

#[test]
fn whatever_the_clock_says_a_job_begins_goes_on_and_ends_as_if_it_were_right() {
    let Some(shim) = shim() else { return };
    for (number, at) in CLOCKS.into_iter().enumerate() {
        for (other, then) in CLOCKS.into_iter().enumerate() {
            if !is_everything() && other != (number + 1) % CLOCKS.len() {
                continue;
            }
            // Half under one clock, the rest under another, and then under the right one.
            let job = Job::of(SMALL.0, SMALL.1);
            shown(shim, &job, "run", &["--no-switch"], at).expect(0, &[]);
            for (command, extra) in
                [("status", &[][..]), ("status", &["--json"]), ("journal", &[]), ("journal", &["--json"])]
            {
                let ran = shown(shim, &job, command, extra, then);
                ran.expect(0, &[]);
                assert!(!ran.out.contains("18446744073"), "a time below zero is shown: {ran:#?}");
            }
            shown(shim, &job, "run", &[], then).expect(0, &[]);
            is_whole(&job, &format!("the clock {}, then {}", at.0, then.0));
            goes_on(&job, "under the right clock");
            let events = job.command("journal", &["--json"]);
            assert!(events.expect(0, &[]).out.lines().count() >= 9, "{events:?}");
        }
    }
}

#[test]
fn what_was_asked_in_the_future_holds_and_is_shown_without_a_time_below_zero() {
    let Some(shim) = shim() else { return };
    let future = ("ahead", 30 * YEAR, 0);
    let job = Job::of(SMALL.0, SMALL.1);
    copy(&born().target(), &job.target());
    shown(shim, &job, "pause", &[], future).expect(0, &[]);
    let ran = job.command("status", &[]);
    assert!(ran.expect(0, &[]).out.contains("asked      paused 0 s ago"), "{ran:?}");
    let ran = job.command("status", &["--json"]);
    let status: serde_json::Value = serde_json::from_str(&ran.expect(0, &[]).out).unwrap();
    assert_eq!(status["asked"]["paused"], true, "{status}");
    job.command("resume", &[]).expect(0, &[]);
    goes_on(&job, "paused in the future");
}

/// The deadline is a moment and not a duration: a clock that goes back gives the request more time, one that is ahead less. Either way
/// it is taken back, carried out or void as a whole, and the chain is where the journal says.
#[test]
fn a_request_to_switch_that_was_made_in_the_future_can_be_taken_back_and_another_one_made() {
    let Some(shim) = shim() else { return };
    let future = ("ahead", 30 * YEAR, 0);
    let job = Job::of(SMALL.0, SMALL.1);
    job.run(&["--no-switch"]).expect(0, &[]);
    let words = ["no run works on this job now", "The request is kept"];
    shown(shim, &job, "switch", &["--no-wait", "--within", "60"], future).expect(4, &words);
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(job.target().join("journal/switch.json")).unwrap()).unwrap()
    };
    let asked = read();
    assert_eq!(asked["deadline"].as_u64().unwrap() - asked["asked"].as_u64().unwrap(), 60);
    let taken = job.command("switch", &["--cancel"]);
    assert!(taken.expect(0, &[]).out.contains("is taken back"), "{taken:?}");
    job.command("switch", &["--no-wait"]).expect(4, &words);
    assert!(read()["asked"].as_u64() < asked["asked"].as_u64());
    goes_on(&job, "asked in the future");
    assert!(!job.target().join("journal/switch.json").exists());
}

#[test]
fn a_deadline_that_has_passed_by_a_wrong_clock_voids_the_request_and_leaves_the_chain_where_it_was() {
    let Some(shim) = shim() else { return };
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&fixture(SMALL.0), &source);
    let node = File::options().create(true).truncate(false).write(true).open(source.join("LOCK")).unwrap();
    node.try_lock().unwrap();
    let job = Job::new(source, SMALL.1);
    job.run(&["--no-switch"]).expect(0, &[]);
    job.command("switch", &["--no-wait", "--within", "3600"]).expect(4, &["is kept"]);
    let mut run = Command::new(binary());
    run.args(job.args("run", &["--every", "0.1"])).env("LD_PRELOAD", shim);
    run.envs(clock(30 * YEAR, 0));
    let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let failure = loop {
        let request = std::fs::read(job.target().join("journal/switch.json")).unwrap_or_default();
        let request: serde_json::Value = serde_json::from_slice(&request).unwrap_or_default();
        if let Some(failure) = request["failure"].as_str() {
            break failure.to_owned();
        }
        assert!(run.try_wait().unwrap().is_none(), "it ended with the request {request}");
        std::thread::yield_now();
    };
    assert_eq!(failure, "the node was not stopped in time");
    assert_eq!(job.status()["phase"], "Syncing");
    run.kill().unwrap();
    run.wait().unwrap();
    drop(node);
    job.command("switch", &["--no-wait"]).expect(4, &["is kept"]);
    goes_on(&job, "after a deadline that had passed by a wrong clock");
}
