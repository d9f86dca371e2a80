//! Every command as an operator uses it: what it prints, its exit code, and that it can be interrupted.

use crate::{
    dump::Dump,
    helper::{Job, Ran, assert_unchanged, baseline, binary, contents, fixture, storeshift, text},
    strace,
};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn plan_tells_keys_as_they_are_and_writes_nothing() {
    let job = Job::of("pruned", &[]);
    let before = contents(job.dir.path());
    let ran = job.command("plan", &["--json"]);
    ran.expect(0, &[]);
    let plan = json(&ran.out);
    assert_eq!((plan["height"].as_u64(), plan["keys"].as_u64()), (Some(25), Some(1159)), "{plan}");
    for store in plan["stores"].as_array().unwrap() {
        assert_eq!(store["root"].as_str().unwrap().len(), 64, "{store}");
    }
    let ran = job.command("plan", &[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("Nothing was written"), "{ran:?}");
    assert_unchanged(&before, &contents(job.dir.path()));
    assert!(!job.target().exists());
}

#[test]
fn a_run_after_done_has_nothing_to_do_and_an_abort_is_refused() {
    let job = Job::of("nofast", &[]);
    job.run(&[]).expect(0, &[]);
    let ran = job.run(&[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("Done."), "{ran:?}");
    job.dump().assert_same(&baseline("nofast", &[]), "run twice");
    job.command("abort", &[]).expect(4, &["cannot be aborted"]);
    job.dump().assert_same(&baseline("nofast", &[]), "an abort that was refused");
}

#[test]
fn a_reader_that_has_gone_and_a_full_disk_of_a_log_are_no_reason_to_fail() {
    let job = Job::of("nofast", &[]);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let command = |command: &str, extra: &[&str]| {
        let mut program = Command::new(binary());
        program.args(job.args(command, extra)).env("STORESHIFT_LOG", "debug");
        program
    };
    let ran = Ran::from(command("run", &["--no-switch"]).stderr(full()).output().unwrap());
    assert!(ran.expect(0, &[]).out.contains("Caught up"), "{ran:?}");
    let ran = Ran::from(command("run", &[]).stderr(gone()).output().unwrap());
    assert!(ran.expect(0, &[]).out.contains("Done."), "{ran:?}");
    let shows: [(&str, &[&str]); 4] =
        [("run", &[]), ("status", &["--json"]), ("journal", &["--json"]), ("verify", &[])];
    for (shows, extra) in shows {
        Ran::from(command(shows, extra).stdout(gone()).output().unwrap()).expect(0, &[]);
        // Half a report must not be taken for one.
        Ran::from(command(shows, extra).stdout(full()).output().unwrap()).expect(3, &["standard output"]);
    }
}

#[test]
fn without_the_switch_a_run_catches_up_and_the_next_one_switches() {
    let job = Job::of("nofast", &["--at", "oldest"]);
    for _ in 0..2 {
        let ran = job.run(&["--no-switch"]);
        ran.expect(0, &[]);
        assert!(ran.out.contains("Caught up at version 12"), "{ran:?}");
        assert_eq!(job.status()["phase"], "Syncing");
    }
    job.command("switch", &["--at-height", "99"]).expect(4, &["no run works on this job now", "The request is kept"]);
    let shown = || job.command("status", &[]).out;
    assert!(shown().contains("asked      to switch at version 99"), "{}", shown());
    job.command("switch", &["--cancel"]).expect(0, &[]);
    assert!(!shown().contains("asked"), "{}", shown());
    let ran = job.run(&[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("from version 12 on"), "{ran:?}");
    job.dump().assert_same(&baseline("nofast", &["--at", "oldest"]), "switched later");
}

#[test]
fn one_part_alone_is_the_same_as_that_part_of_both() {
    for at in ["latest", "oldest"] {
        let both = baseline("pruned", &["--at", at]);
        let sc = Job::of("pruned", &["--at", at, "--parts", "sc"]);
        sc.run(&[]).expect(0, &[]);
        let expected = Dump { sc: both.sc.clone(), ..Dump::default() };
        sc.dump().assert_same(&expected, "SC only");
        assert!(!sc.target().join("ss").exists());
        let ss = Job::of("pruned", &["--at", at, "--parts", "ss"]);
        let ran = ss.run(&[]);
        ran.expect(0, &[]);
        assert!(ran.out.contains("with SS only there are no v2 roots"), "{ran:?}");
        let expected = Dump { ss: both.ss.clone(), ss_meta: both.ss_meta.clone(), ..Dump::default() };
        ss.dump().assert_same(&expected, "SS only");
        assert!(!ss.target().join("sc").exists());
        for job in [sc, ss] {
            job.command("verify", &["--source", &text(&job.source)]).expect(0, &[]);
        }
    }
}

#[test]
fn the_size_of_chunks_and_the_number_of_workers_change_no_pair() {
    let expected = baseline("idle-pruned", &["--at", "oldest"]);
    for extra in [&["--workers", "1"][..], &["--workers", "16", "--memory-mib", "32"]] {
        let job = Job::of("idle-pruned", &["--at", "oldest"]);
        job.run(extra).expect(0, &[]);
        job.dump().assert_same(&expected, &format!("{extra:?}"));
    }
    for leaves in ["1", "7", "16384"] {
        let job = Job::of("idle-pruned", &[]);
        let (source, target) = (text(&job.source), text(&job.target()));
        let args = ["run", "--at", "oldest", "--source", &source, "--target", &target, "--chunk-leaves", leaves];
        storeshift(&args).expect(0, &[]);
        job.dump().assert_same(&expected, &format!("chunks of {leaves}"));
    }
}

#[test]
fn status_and_journal_parse_and_agree_after_the_end() {
    let job = Job::of("nofast", &[]);
    job.run(&[]).expect(0, &[]);
    let ran = job.command("status", &["--json"]);
    ran.expect(0, &[]);
    let status = json(&ran.out);
    assert_eq!(status["running"], false);
    assert_eq!(status["phase"], "Done");
    assert_eq!(status["counts"]["pairs_proven"], status["counts"]["pairs_total"]);
    let chunks: Vec<u64> = status["chunks"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert!(chunks[0] > 10 && chunks.iter().all(|&count| count == chunks[0]), "{chunks:?}");
    let ran = job.command("journal", &["--json"]);
    ran.expect(0, &[]);
    let names: Vec<Value> = ran.out.lines().map(|line| json(line)["name"].clone()).collect();
    assert_eq!(names.first().unwrap(), "Snapshotted");
    assert_eq!(names.last().unwrap(), "Flipped");
    let ran = job.command("journal", &[]);
    ran.expect(0, &[]);
    assert!(ran.out.contains("Flipped") && ran.out.contains(status["job"].as_str().unwrap()), "{ran:?}");
    let ran = job.command("status", &[]);
    assert!(ran.expect(0, &[]).out.contains("not running"), "{ran:?}");
}

/// Waits until the run has renewed its status once, which it does after it listens to signals.
fn when_running(job: &Job) -> Value {
    loop {
        if let Ok(text) = fs::read(job.target().join("journal/status.json")) {
            let status: Value = serde_json::from_slice(&text).expect("half a status");
            if status["elapsed_seconds"].as_f64().unwrap() > 0.1 {
                return status;
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn interrupted_a_run_finishes_what_is_in_flight_and_the_next_one_continues() {
    if !strace::works() {
        return;
    }
    for signal in ["-INT", "-TERM"] {
        let (name, more) = ("idle", ["--at", "oldest"]);
        let job = Job::of(name, &more);
        let running = strace::slowed(&job.args("run", &[]), 20);
        let status = when_running(&job);
        let ran = job.command("status", &["--json"]);
        ran.expect(0, &[]);
        assert_eq!(json(&ran.out)["running"], true, "{ran:?}");
        assert!(Command::new("kill").arg(signal).arg(status["pid"].to_string()).status().unwrap().success());
        let ran = Ran::from(running.wait_with_output().unwrap());
        ran.expect(3, &["stopping", "stopped: interrupted", "Run the same command again to continue"]);
        assert_ne!(job.status()["phase"], "Done");
        assert_eq!(json(&job.command("status", &["--json"]).out)["running"], false);
        job.run(&[]).expect(0, &[]);
        job.dump().assert_same(&baseline(name, &more), signal);
    }
}

#[test]
fn a_run_that_meets_the_disk_reserve_stops_and_a_lower_one_lets_it_continue() {
    let job = Job::of("idle", &["--at", "oldest"]);
    job.run(&["--no-switch"]).expect(0, &[]);
    let ran = job.run(&["--reserve-mib", "100000000000"]);
    ran.expect(3, &["MiB are free on the target's disk", "Run the same command again"]);
    job.run(&["--reserve-mib", "0"]).expect(0, &[]);
    job.dump().assert_same(&baseline("idle", &["--at", "oldest"]), "stopped for space");
}

#[test]
fn a_plan_file_is_the_same_as_its_options() {
    let job = Job::of("nofast", &["--at", "oldest"]);
    let file = job.dir.path().join("plan.toml");
    let source = text(&fixture("nofast"));
    let plan =
        format!("source = {source:?}\ntarget = \"target\"\nat = \"oldest\"\nchunk_leaves = 20\nswitch = false\n");
    fs::write(&file, plan).unwrap();
    let file = text(&file);
    storeshift(&["plan", "--plan", &file]).expect(0, &[]);
    storeshift(&["run", "--plan", &file]).expect(0, &[]);
    storeshift(&["status", "--plan", &file]).expect(0, &[]);
    // The options continue what the file began.
    job.run(&[]).expect(0, &[]);
    storeshift(&["verify", "--plan", &file]).expect(0, &[]);
    job.dump().assert_same(&baseline("nofast", &["--at", "oldest"]), "a plan file");
}

#[test]
fn every_plan_file_in_migrations_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let Ok(entries) = fs::read_dir(&directory) else {
        println!("SKIPPED: there is no {}", directory.display());
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let (paths, plan, tuning) = storeshift::plan::read(&path).unwrap();
            plan.check().unwrap();
            tuning.check().unwrap();
            assert_ne!(paths.source, paths.target, "{}", path.display());
        }
    }
}

#[test]
fn every_fixture_verifies_after_a_migration_of_its_whole_history() {
    for name in crate::helper::FIXTURES.into_iter().chain(crate::helper::LEGACY) {
        let more = crate::helper::whole_history(name);
        let job = Job::of(name, more);
        job.run(&[]).expect(0, &[]);
        let ran = job.command("verify", &["--source", &text(&job.source)]);
        ran.expect(0, &[]);
        assert!(ran.out.contains("The target is sound."), "{ran:?}");
        job.dump().assert_same(&baseline(name, more), name);
    }
}
