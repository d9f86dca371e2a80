//! Steering a run from outside: paused, limited and let go by commands and by the pause file, killed and stopped meanwhile.

use crate::helper::{Job, Ran, baseline, binary, text};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
};

const IDLE: (&str, &[&str]) = ("idle", &["--at", "oldest"]);

fn spawn(job: &Job, extra: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(job.args("run", extra)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(running: Child) -> Ran {
    Ran::from(running.wait_with_output().unwrap())
}

fn read(job: &Job) -> Option<Value> {
    let text = fs::read(job.target().join("journal/status.json")).ok()?;
    Some(serde_json::from_slice(&text).expect("half a status"))
}

/// Waits until the status of this process says so. The run must not end before.
#[track_caller]
fn when(job: &Job, running: &mut Child, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        if let Some(status) = read(job).filter(|status| status["pid"] == running.id() && is_so(status)) {
            return status;
        }
        if let Some(ended) = running.try_wait().unwrap() {
            panic!("ended ({ended}) before it was {what}: {:?}", read(job));
        }
        std::thread::yield_now();
    }
}

fn is_paused(status: &Value) -> bool {
    status["wait"]["kind"] == "paused"
}

/// Two more heartbeats, in which nothing is done.
#[track_caller]
fn assert_stands_still(job: &Job, running: &mut Child) {
    let mut seen = when(job, running, "paused", is_paused);
    for _ in 0..2 {
        let before = seen["elapsed_seconds"].as_f64().unwrap();
        let next = when(job, running, "looked at again", |now| now["elapsed_seconds"].as_f64().unwrap() > before);
        for field in ["counts", "chunks", "applied", "phase", "wait"] {
            assert_eq!(next[field], seen[field], "{field}");
        }
        assert!(next["eta_seconds"].is_null(), "{next}");
        seen = next;
    }
}

/// A job with a journal that has restored nothing yet, paused.
fn paused_from_the_start((name, more): (&'static str, &[&str])) -> Job {
    let job = Job::of(name, more);
    // The pause file is there before there is a job.
    fs::create_dir_all(job.target()).unwrap();
    fs::write(job.target().join("PAUSE"), "").unwrap();
    let mut running = spawn(&job, &[]);
    when(&job, &mut running, "paused", is_paused);
    job.command("pause", &[]).expect(0, &[]);
    running.kill().unwrap();
    ended(running);
    fs::remove_file(job.target().join("PAUSE")).unwrap();
    job
}

#[test]
fn a_run_paused_by_command_stands_still_says_so_and_goes_on_when_it_is_resumed() {
    let (name, more) = IDLE;
    let job = paused_from_the_start(IDLE);
    let mut running = spawn(&job, &[]);
    assert_stands_still(&job, &mut running);
    let ran = job.command("status", &[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("waits      paused for") && ran.out.contains("storeshift resume --target"), "{ran:?}");
    let ran = job.command("status", &["--json"]);
    let status: Value = serde_json::from_str(&ran.expect(0, &[]).out).unwrap();
    assert_eq!((&status["running"], &status["asked"]["paused"]), (&true.into(), &true.into()), "{status}");
    assert_eq!(
        status["wait"]["since"], status["asked"]["paused_since"],
        "since it was asked, not since this run began"
    );
    let ran = job.command("resume", &[]);
    assert!(ran.expect(0, &[]).out.contains("It goes on."), "{ran:?}");
    let ran = ended(running);
    // It says so once, not with every look.
    assert_eq!(ran.expect(0, &["paused"]).err.matches("paused: ").count(), 1, "{ran:?}");
    assert_eq!(read(&job).unwrap()["wait"], Value::Null);
    job.dump().assert_same(&baseline(name, more), "paused and resumed");
}

#[test]
fn a_run_that_is_at_work_is_paused_in_the_middle() {
    let (name, more) = IDLE;
    let job = Job::of(name, more);
    // A MiB lets part of the work through and makes the rest wait: there is time to pause it.
    let mut running = spawn(&job, &["--mib-per-second", "1", "--workers", "1"]);
    when(&job, &mut running, "there", |status| status["phase"] != "");
    let ran = job.command("pause", &[]);
    if ran.code == Some(0) && running.try_wait().unwrap().is_none() {
        loop {
            let status = read(&job).unwrap();
            if running.try_wait().unwrap().is_some() {
                break;
            }
            if status["wait"]["kind"] == "paused" {
                assert_stands_still(&job, &mut running);
                break;
            }
            std::thread::yield_now();
        }
    }
    job.command("resume", &[]).expect(0, &[]);
    ended(running).expect(0, &[]);
    job.dump().assert_same(&baseline(name, more), "paused at work");
}

#[test]
fn killed_while_it_is_paused_the_next_run_is_paused_too_and_says_how_to_go_on() {
    let (name, more) = IDLE;
    let job = paused_from_the_start(IDLE);
    let ran = job.command("status", &[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("not running") && ran.out.contains("asked      paused"), "{ran:?}");
    for _ in 0..2 {
        let mut running = spawn(&job, &[]);
        assert_stands_still(&job, &mut running);
        running.kill().unwrap();
        let ran = ended(running);
        let how = format!("`storeshift resume --target {}` lets it go on", text(&job.target()));
        assert!(ran.err.contains(&how), "{ran:?}");
    }
    let ran = job.command("resume", &[]);
    assert!(ran.expect(0, &[]).out.contains("run the same `storeshift run` again"), "{ran:?}");
    job.run(&[]).expect(0, &[]);
    job.dump().assert_same(&baseline(name, more), "killed while paused");
}

#[test]
fn stopped_while_it_is_paused_a_run_ends_at_once_with_3() {
    let job = paused_from_the_start(IDLE);
    for signal in ["-INT", "-TERM"] {
        let mut running = spawn(&job, &[]);
        when(&job, &mut running, "paused", |status| {
            is_paused(status) && status["elapsed_seconds"].as_f64() > Some(0.1)
        });
        assert!(Command::new("kill").arg(signal).arg(running.id().to_string()).status().unwrap().success());
        ended(running).expect(3, &["stopped: interrupted", "Run the same command again"]);
    }
    job.command("abort", &[]).expect(0, &[]);
    assert!(!job.target().exists(), "the control file is wiped with the job");
}

#[test]
fn the_pause_file_pauses_as_long_as_it_is_there() {
    let (name, more) = IDLE;
    let job = paused_from_the_start(IDLE);
    job.command("resume", &[]).expect(0, &[]);
    let file = job.target().join("PAUSE");
    fs::write(&file, "what it holds does not matter").unwrap();
    let mut running = spawn(&job, &[]);
    assert_stands_still(&job, &mut running);
    let status = job.status();
    assert!(status["wait"]["why"].as_str().unwrap().contains("PAUSE"), "{status}");
    let ran = job.command("resume", &[]);
    assert!(ran.expect(0, &[]).out.contains("PAUSE is there still"), "{ran:?}");
    assert_stands_still(&job, &mut running);
    fs::remove_file(file).unwrap();
    ended(running).expect(0, &[]);
    job.dump().assert_same(&baseline(name, more), "paused by a file");
}

#[test]
fn limits_set_while_it_runs_hold_at_once_and_for_later_runs() {
    let job = paused_from_the_start(IDLE);
    let mut running = spawn(&job, &["--mib-per-second", "7", "--workers", "2"]);
    let status = when(&job, &mut running, "paused", is_paused);
    assert_eq!(
        (status["limits"]["bytes_per_second"].as_u64(), status["limits"]["workers"].as_u64()),
        (Some(7 << 20), Some(2))
    );
    job.command("limit", &["--mib-per-second", "3", "--workers", "1", "--yield", "off"]).expect(0, &[]);
    let limited = |status: &Value| status["limits"]["bytes_per_second"].as_u64() == Some(3 << 20);
    let status = when(&job, &mut running, "limited", limited);
    assert_eq!(
        (status["limits"]["workers"].as_u64(), status["limits"]["yield"].as_str()),
        (Some(1), Some("off")),
        "{status}"
    );
    running.kill().unwrap();
    ended(running);
    let mut running = spawn(&job, &["--workers", "2"]);
    when(&job, &mut running, "limited", limited);
    job.command("limit", &["--workers", "64"]).expect(0, &[]);
    // Memory was shared out for two.
    when(&job, &mut running, "limited to what it began with", |status| status["limits"]["workers"].as_u64() == Some(2));
    job.command("limit", &["--mib-per-second", "none"]).expect(0, &[]);
    when(&job, &mut running, "unlimited", |status| status["limits"]["bytes_per_second"].is_null());
    let ran = job.command("limit", &["--json"]);
    let shown: Value = serde_json::from_str(&ran.expect(0, &[]).out).unwrap();
    assert_eq!((shown["bytes_per_second"].as_u64(), shown["workers"].as_u64()), (Some(0), Some(64)), "{shown}");
    job.command("limit", &["--mib-per-second", "default", "--workers", "default", "--yield", "default"]).expect(0, &[]);
    let ran = job.command("limit", &[]);
    assert!(ran.expect(0, &[]).out.contains("paused"), "{ran:?}");
    job.command("resume", &[]).expect(0, &[]);
    ended(running).expect(0, &[]);
    let ran = job.command("limit", &[]);
    assert!(ran.expect(0, &[]).out.contains("Nothing is limited by a command"), "{ran:?}");
}

#[test]
fn a_control_file_that_others_may_write_changes_nothing_and_that_is_said() {
    let (name, more) = IDLE;
    let job = paused_from_the_start(IDLE);
    let control = job.target().join("journal/control.json");
    let mode = |mode| fs::set_permissions(&control, fs::Permissions::from_mode(mode)).unwrap();
    let mut running = spawn(&job, &[]);
    when(&job, &mut running, "paused", is_paused);
    // What somebody else may have written does not let it go on.
    mode(0o666);
    fs::write(&control, "{\"format\": 1, \"paused\": false}").unwrap();
    let noted = |status: &Value| status["limits"]["notes"].to_string().contains("others than its owner");
    when(&job, &mut running, "warned", noted);
    assert_stands_still(&job, &mut running);
    for args in [&["resume"][..], &["pause"], &["limit", "--workers", "1"]] {
        job.command(args[0], &args[1..]).expect(4, &["others than its owner", "chmod go-w", "Nothing was changed"]);
    }
    let ran = job.command("status", &[]);
    assert!(ran.expect(0, &[]).out.contains("ignored: "), "{ran:?}");
    // Nor does a format of a release to come.
    mode(0o644);
    fs::write(&control, "{\"format\": 9, \"paused\": false}").unwrap();
    when(&job, &mut running, "warned", |status| status["limits"]["notes"].to_string().contains("format 9"));
    assert_stands_still(&job, &mut running);
    job.command("resume", &[]).expect(4, &["has format 9", "Remove"]);
    fs::write(&control, "{\"format\": 1, \"paused\": false}").unwrap();
    let ran = ended(running);
    ran.expect(0, &["others than its owner", "has format 9"]);
    job.dump().assert_same(&baseline(name, more), "a control file of others");
}

#[test]
fn commands_are_refused_where_there_is_no_job_and_words_they_do_not_know() {
    let job = Job::of("nofast", &[]);
    for command in ["pause", "resume", "limit"] {
        job.command(command, &[]).expect(4, &["there is no job here"]);
    }
    assert!(!job.target().exists());
    job.run(&[]).expect(0, &[]);
    for (option, value) in [
        ("--workers", "0"),
        ("--workers", "65"),
        ("--mib-per-second", "fast"),
        ("--mib-per-second", "0"),
        ("--yield", "never"),
    ] {
        job.command("limit", &[option, value]).expect(2, &[value]);
    }
    let ran = job.command("pause", &[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("nothing to pause"), "{ran:?}");
    assert!(!job.target().join("journal/control.json").exists());
    job.run(&["--yield", "never"]).expect(2, &["never"]);
}
