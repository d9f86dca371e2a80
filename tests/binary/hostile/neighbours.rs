//! Other processes on the same job: at the same moment, beside a run, before it and after it.

use super::{SMALL, born, goes_on, is_everything, is_whole, shim, spawn, until_paused};
use crate::helper::{Job, Ran, Random, binary, copy};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

const OTHER: &str = "another storeshift process";

fn start(job: &Job, command: &str) -> Child {
    let mut started = Command::new(binary());
    started.args(job.args(command, &[])).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    started.spawn().unwrap()
}

fn ended(running: Child) -> Ran {
    Ran::from(running.wait_with_output().unwrap())
}

#[test]
fn of_twenty_runs_at_the_same_moment_one_works_and_the_others_say_that_it_does() {
    let (mut refused, mut late, mut rounds) = (0, 0, 0);
    // Both on an empty target, and on one that is half done.
    for template in [None, Some(born())] {
        for _ in 0..if is_everything() { 10 } else { 2 } {
            rounds += 1;
            let job = Job::of(SMALL.0, SMALL.1);
            if let Some(template) = &template {
                copy(&template.target(), &job.target());
            }
            let running: Vec<Child> = (0..20).map(|_| start(&job, "run")).collect();
            let ended: Vec<Ran> = running.into_iter().map(ended).collect();
            let (done, others): (Vec<&Ran>, Vec<&Ran>) = ended.iter().partition(|ran| ran.code == Some(0));
            assert!(!done.is_empty(), "{ended:#?}");
            for ran in others {
                ran.expect(4, &[OTHER, "works on this target", "Wait for the other process"]);
                refused += 1;
            }
            late += done.len() - 1;
            crate::kill::assert_sane_history(&job.target());
            is_whole(&job, "twenty at once");
            goes_on(&job, "twenty at once");
        }
    }
    println!("{rounds} times twenty runs at once: {refused} refused, {late} came when it was done");
    assert!(refused > 0);
}

#[test]
fn beside_a_run_every_command_that_writes_is_refused_naming_its_process_and_the_run_goes_on() {
    let job = Job::of(SMALL.0, SMALL.1);
    fs::create_dir_all(job.target()).unwrap();
    let pause = job.target().join("PAUSE");
    fs::write(&pause, "").unwrap();
    let mut running = spawn(&job, &[]);
    until_paused(&job, &mut running);
    let number = format!("({})", running.id());
    let source = job.source.to_str().unwrap().to_owned();
    for (command, extra) in [
        ("run", &[][..]),
        ("verify", &[]),
        ("abort", &[]),
        ("journal", &[]),
        ("finish", &[]),
        ("back", &["--source", &source]),
    ] {
        job.command(command, extra).expect(4, &[OTHER, &number, "Wait for the other process"]);
    }
    let status = job.command("status", &["--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.expect(0, &[]).out).unwrap();
    assert_eq!((&status["running"], &status["pid"]), (&true.into(), &running.id().into()));
    job.command("limit", &["--workers", "1"]).expect(0, &[]);
    fs::remove_file(&pause).unwrap();
    // While it works, one command after the other, until it is done.
    let mut refused = 0;
    while running.try_wait().unwrap().is_none() {
        for command in ["abort", "verify", "status"] {
            let ran = job.command(command, &[]);
            match (command, ran.code) {
                ("status", Some(0)) => {}
                ("abort", Some(4)) if ran.err.contains("store of record") => {}
                ("verify", Some(0)) => assert!(ran.out.contains("The target is sound."), "{ran:#?}"),
                _ => {
                    ran.expect(4, &[OTHER]);
                    refused += 1;
                }
            }
        }
    }
    ended(running).expect(0, &[]);
    println!("beside a run at work: {refused} commands refused");
    goes_on(&job, "with commands beside it");
}

#[test]
fn a_run_and_an_abort_at_the_same_moment_leave_a_job_that_is_done_or_none_at_all() {
    let half = Job::of(SMALL.0, SMALL.1);
    half.run(&["--no-switch"]).expect(0, &[]);
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..if is_everything() { 100 } else { 8 } {
        let job = Job::of(SMALL.0, SMALL.1);
        copy(&half.target(), &job.target());
        let order = if round % 2 == 0 { ["run", "abort"] } else { ["abort", "run"] };
        let running = order.map(|command| (command, start(&job, command)));
        let mut end = String::new();
        for (command, running) in running {
            let ran = ended(running);
            assert!(!ran.err.contains("panicked"), "{ran:#?}");
            let said = match ran.code {
                Some(0) => "ok",
                Some(4) if ran.err.contains(OTHER) => "locked",
                Some(4) if command == "abort" && ran.err.contains("store of record") => "done before",
                // The abort has just wiped what the run had seen.
                Some(4) if command == "run" && ran.err.contains("aborted") => "aborted before",
                Some(4) if command == "run" && ran.err.contains("has just wiped the job") => "wiped before",
                _ => panic!("{ran:#?}"),
            };
            end.push_str(&format!("{command} {said}; "));
        }
        *ends.entry(end).or_default() += 1;
        goes_on(&job, "a run and an abort at once");
    }
    println!("a run and an abort at once: {ends:#?}");
}

/// It looks for the journal first, and what it then finds in `sc/` is of a run that was faster.
#[test]
fn a_run_that_another_one_overtakes_does_not_take_its_target_for_one_without_a_journal() {
    let Some(shim) = shim() else { return };
    let job = Job::of(SMALL.0, SMALL.1);
    fs::create_dir_all(job.target()).unwrap();
    fs::write(job.target().join("PAUSE"), "").unwrap();
    let (ready, go) = (job.dir.path().join("ready"), job.dir.path().join("go"));
    let mut slow = Command::new(binary());
    slow.args(job.args("run", &[])).env("LD_PRELOAD", shim).env("SHIM_HOLD", job.target().join("journal/journal.redb"));
    slow.env("SHIM_READY", &ready).env("SHIM_GO", &go).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut slow = slow.spawn().unwrap();
    // It has looked for something to announce, and found that there is no job.
    while !ready.exists() {
        assert!(slow.try_wait().unwrap().is_none(), "{:#?}", ended(slow));
        std::thread::yield_now();
    }
    let mut fast = spawn(&job, &[]);
    until_paused(&job, &mut fast);
    fs::write(&go, "").unwrap();
    ended(slow).expect(4, &[OTHER, "works on this target"]);
    fs::remove_file(job.target().join("PAUSE")).unwrap();
    ended(fast).expect(0, &[]);
    goes_on(&job, "overtaken");
}

/// The lock is the operating system's and dies with its process. What the file is or holds does not matter: a process that is gone,
/// a reboot, a number that belongs to somebody else now.
#[test]
fn a_lock_file_that_a_process_left_behind_holds_nobody_up_whatever_is_in_it() {
    let half = born();
    let mut alive = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    for left in [String::new(), "1".to_owned(), alive.id().to_string(), "4194304\n".to_owned(), "\0".repeat(4096)] {
        let job = Job::of(SMALL.0, SMALL.1);
        copy(&half.target(), &job.target());
        fs::write(job.target().join("journal/lock"), &left).unwrap();
        let status = job.command("status", &["--json"]);
        let status: serde_json::Value = serde_json::from_str(&status.expect(0, &[]).out).unwrap();
        assert_eq!(status["running"], false, "{status}");
        goes_on(&job, &format!("a lock that holds {left:?}"));
    }
    drop(alive.stdin.take());
    alive.wait().unwrap();
    // Nor does the status of a process that is gone, whose number another one has.
    let job = Job::of(SMALL.0, SMALL.1);
    copy(&half.target(), &job.target());
    let file = job.target().join("journal/status.json");
    let mut status: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    status["pid"] = std::process::id().into();
    fs::write(&file, status.to_string()).unwrap();
    let shown = job.command("status", &[]);
    assert!(shown.expect(0, &[]).out.contains("(not running)"), "{shown:?}");
    goes_on(&job, "the status of a process that is gone");
}

#[test]
fn killed_in_turn_twenty_processes_bring_a_job_to_its_end() {
    let job = Job::of(SMALL.0, SMALL.1);
    let mut random = Random::new("processes that relieve each other");
    let (mut killed, mut refused) = (0, 0);
    for _ in 0..20 {
        // The next one may come before the last one is gone.
        let (mut first, second) = (start(&job, "run"), start(&job, "run"));
        std::thread::sleep(std::time::Duration::from_millis(random.below(120)));
        killed += u32::from(first.try_wait().unwrap().is_none());
        first.kill().unwrap();
        for ran in [ended(first), ended(second)] {
            assert!(!ran.err.contains("panicked"), "{ran:#?}");
            if ran.code == Some(4) {
                ran.expect(4, &[OTHER]);
                refused += 1;
            }
        }
    }
    println!("processes that relieve each other: {killed} killed, {refused} refused");
    goes_on(&job, "relieved twenty times");
}
