//! `storeshift run` follows a node that goes on, until a switch is asked for and the node is stopped: the SDK's own code commits,
//! with pruning on, and goes on upon what comes of it.

use super::{
    go,
    live::{Writer, nothing_of_ours},
    live_run::{Ran, ran, storeshift},
    reader,
    set::{scratch, text},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use storeshift::source::checkpoint::Trail;
use tempfile::TempDir;

/// Small and quick, pruned every ten versions down to forty.
const NODE: [&str; 6] = ["-write-buffer", "48", "-keep", "40", "-pace", "15ms"];

/// As that, and pruned down to five.
const FORGETFUL: [&str; 6] = ["-write-buffer", "48", "-keep", "5", "-pace", "15ms"];

/// A node at work, and a job for it that is not begun; none without Go.
fn beside(backend: &'static str, node: &[&str]) -> Option<(TempDir, Writer, Job)> {
    go::programs()?;
    let dir = scratch();
    let writer = Writer::start(&dir.path().join("node"), backend, node);
    let job = Job::of(&writer, dir.path());
    writer.hash(20);
    Some((dir, writer, job))
}

/// A job that follows a node.
struct Job {
    source: PathBuf,
    target: PathBuf,
}

impl Job {
    fn of(writer: &Writer, dir: &Path) -> Job {
        Job { source: writer.database(), target: dir.join("v2") }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storeshift"));
        command.args(["run", "--source", text(&self.source), "--target", text(&self.target)]);
        command.args(["--chunk-leaves", "50", "--every", "0.1", "--yield", "off"]).args(more);
        command
    }

    fn start(&self, more: &[&str]) -> Child {
        self.command(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What it shows of itself, once it shows something.
    fn status(&self) -> Option<Value> {
        let shown = storeshift(&["status", "--json", "--target", text(&self.target)]);
        serde_json::from_str(&shown.out).ok()
    }

    /// Waits until it shows what is wanted.
    fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.status() {
                Some(status) if wanted(&status) => return status,
                Some(status) if status["phase"] == "Done" || status["phase"] == "Halted" => {
                    panic!("not {what}: {status}")
                }
                _ => std::thread::yield_now(),
            }
        }
    }

    /// Waits until versions up to this one are applied.
    fn applied(&self, version: u64) {
        self.until("applied", |status| status["applied"].as_u64().is_some_and(|applied| applied >= version));
    }

    fn switch(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storeshift"));
        command.args(["switch", "--target", text(&self.target)]).args(more);
        command
    }

    /// Asks for the switch and returns once the node is to be stopped.
    fn ask_to_stop(&self, more: &[&str]) -> Child {
        let mut switch = self.switch(more).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(switch.stdout.take().unwrap());
        let mut all = String::new();
        while !all.contains("stop it now") {
            assert!(said.read_line(&mut all).unwrap() > 0, "it ended without asking for the node to be stopped: {all}");
        }
        switch.stdout = Some(said.into_inner());
        switch
    }
}

/// Waits for a run, and returns what it printed.
fn end_of(run: Child) -> Ran {
    let output = run.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Has the SDK's store/v2 open what came of it, compare it with what the chain recorded, and go on for ten versions whose app
/// hashes are those of a chain that was never switched.
fn go_goes_on(target: &Path, version: u64, upgrade: Option<u64>) {
    let dir = scratch();
    let (pairs, sc, chain) = (dir.path().join("pairs"), dir.path().join("sc.db"), dir.path().join("chain"));
    reader::dump_pairs(&target.join("sc"), &pairs);
    go::run("goload", &["-to", text(&sc)], Some(&pairs));
    let (versions, upgrade) = (version.to_string(), upgrade.unwrap_or(0).to_string());
    // The same changes as the node's.
    let same = ["-stores", "3", "-keys", "300", "-updates", "60", "-val-min", "50", "-val-max", "400", "-large", "0"];
    let more = ["-versions", &versions, "-extra", "10", "-upgrade-at", &upgrade, "-out", text(&chain)];
    go::run("mkv1", &[&same[..], &more[..]].concat(), None);
    let (expected, replay) = (chain.join("expected.json"), chain.join("changesets.bin"));
    let args = ["-sc", text(&sc), "-expected", text(&expected), "-replay", text(&replay)];
    let printed = go::run("goverify", &args, None);
    assert_eq!(printed.matches("replayed version").count(), 10, "{printed}");
    assert!(printed.contains(&format!("version {version} commit hash")), "{printed}");
}

fn followed_and_switched(backend: &'static str, more: &[&str], upgrade: Option<u64>) {
    let Some((_dir, writer, job)) = beside(backend, &[&NODE[..], more].concat()) else { return };
    let run = job.start(&[]);
    // Long enough for the snapshot's version to be pruned.
    job.applied(160);
    let switch = job.ask_to_stop(&[]);
    let (last, _) = writer.end();
    let run = end_of(run);
    run.expect(0, &["made a checkpoint", "is the store of record", "Start the node on store/v2"]);
    assert_eq!(end_of(switch).code, 0);
    let (version, hash) = run.done();
    assert_eq!(version, last, "what the node committed last is lost: {}{}", run.out, run.err);
    storeshift(&["verify", "--target", text(&job.target)]).expect(0, &["The target is sound"]);
    nothing_of_ours(&job.source);
    // Whoever restarts a node that has stopped restarts it on store/v1.
    let refused = Writer::refused(&job.source.with_file_name(""), backend, &NODE);
    assert!(refused.contains("LOCK"), "{refused}");
    assert!(!job.target.join("checkpoint").exists());
    assert_eq!(job.status().unwrap()["following"]["behind"], 0);
    go_goes_on(&job.target, version, upgrade);
    assert!(!hash.is_empty());
}

#[test]
fn a_goleveldb_node_is_followed_and_switched_where_it_stops_and_go_goes_on_with_equal_hashes() {
    followed_and_switched("goleveldb", &[], None);
}

#[test]
fn a_pebbledb_node_is_followed_and_switched_where_it_stops_and_go_goes_on_with_equal_hashes() {
    followed_and_switched("pebbledb", &[], None);
}

#[test]
fn stores_that_an_upgrade_adds_drops_and_renames_meanwhile_are_followed() {
    followed_and_switched("goleveldb", &["-upgrade-at", "90"], Some(90));
}

#[test]
fn a_node_that_halts_at_the_height_that_was_asked_for_is_switched_there() {
    let Some((_dir, writer, job)) = beside("goleveldb", &[&NODE[..], &["-halt", "150"]].concat()) else { return };
    let run = job.start(&["--switch-at", "150"]);
    let (last, hash) = writer.ended();
    assert_eq!(last, 150);
    let run = end_of(run);
    run.expect(0, &["is the store of record"]);
    assert_eq!(run.done(), (150, hash));
}

#[test]
fn a_node_that_stops_early_is_waited_for_and_one_that_goes_past_the_height_is_followed_on() {
    let Some((dir, writer, job)) = beside("goleveldb", &[&NODE[..], &["-halt", "100"]].concat()) else { return };
    let home = dir.path().join("node");
    let run = job.start(&[]);
    job.applied(30);
    let switch = job.switch(&["--at-height", "130"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    writer.ended();
    let waiting = |words: &'static str| {
        move |status: &Value| status["following"]["waiting"].as_str().is_some_and(|waiting| waiting.contains(words))
    };
    job.until("waiting for the height", waiting("the node stands at 100; start it again with halt-height = 130"));
    // It is started again, without the height.
    let writer = Writer::start(&home, "goleveldb", &NODE);
    let switch = end_of(switch);
    assert_eq!(switch.code, 4, "{}{}", switch.out, switch.err);
    switch.expect(4, &["the node went past version 130", "stays on store/v1"]);
    job.applied(140);
    // A request beyond which it is already is refused at once, and one that is taken back asks for nothing.
    ran(&mut job.switch(&["--at-height", "120"])).expect(4, &["is applied already"]);
    ran(&mut job.switch(&["--no-wait"])).expect(0, &["asked"]);
    ran(&mut job.switch(&["--cancel"])).expect(0, &["taken back"]);
    ran(&mut job.switch(&["--cancel"])).expect(0, &["no switch was asked for"]);
    ran(&mut job.switch(&["--within", "0"])).expect(4, &["was not stopped in time"]);
    ran(&mut job.switch(&["--max-pause", "0", "--within", "1"])).expect(4, &["was not stopped in time"]);
    let switch = job.ask_to_stop(&[]);
    let (last, _) = writer.end();
    assert_eq!(end_of(switch).code, 0);
    assert_eq!(end_of(run).expect(0, &[]).done().0, last);
}

#[test]
fn a_job_that_is_killed_again_and_again_follows_on_and_no_version_is_lost() {
    let Some((_dir, writer, job)) = beside("goleveldb", &NODE) else { return };
    for kill in 1..=8 {
        let mut run = job.start(&[]);
        let before = writer.newest();
        writer.hash(before + 7 * kill % 20);
        run.kill().unwrap();
        run.wait().unwrap();
    }
    let run = job.start(&[]);
    job.until("following", |status| status["following"]["trend"] == "close" && status["phase"] == "Syncing");
    // Killed where the node is stopped already, and nobody but the request knows of the switch.
    let mut switch = job.ask_to_stop(&[]);
    let mut run = run;
    run.kill().unwrap();
    run.wait().unwrap();
    switch.kill().unwrap();
    switch.wait().unwrap();
    let (last, _) = writer.end();
    let done = ran(&mut job.command(&[]));
    done.expect(0, &["is the store of record"]);
    assert_eq!(done.done().0, last);
    storeshift(&["verify", "--target", text(&job.target)]).expect(0, &["The target is sound"]);
    go_goes_on(&job.target, last, None);
}

#[test]
fn a_job_that_was_away_for_longer_than_the_node_keeps_versions_begins_anew_by_itself() {
    let Some((_dir, writer, job)) = beside("goleveldb", &FORGETFUL) else { return };
    ran(&mut job.command(&["--no-switch"])).expect(0, &["Caught up"]);
    writer.hash(writer.newest() + 60);
    let run = job.start(&[]);
    job.until("begun anew", |status| {
        status["epoch"].as_u64().is_some_and(|epoch| epoch > 1) && status["phase"] == "Syncing"
    });
    // What is said of the snapshot is said of the new one.
    let status = job.status().unwrap();
    assert_eq!(status["app_hash"], writer.hash(status["height"].as_u64().unwrap()), "{status}");
    let switch = job.ask_to_stop(&[]);
    let (last, _) = writer.end();
    let run = end_of(run);
    run.expect(0, &["beginning anew", "has pruned version"]);
    assert_eq!((run.done().0, end_of(switch).code), (last, 0));
    ran(Command::new(env!("CARGO_BIN_EXE_storeshift")).args(["journal", "--target", text(&job.target)]))
        .expect(0, &["Renewed", "another snapshot"]);
    storeshift(&["verify", "--target", text(&job.target)]).expect(0, &["The target is sound"]);
}

#[test]
fn a_crash_between_letting_go_of_a_checkpoint_and_recording_the_new_epoch_begins_it_all_the_same() {
    let Some((_dir, writer, job)) = beside("goleveldb", &FORGETFUL) else { return };
    ran(&mut job.command(&["--no-switch"])).expect(0, &["Caught up"]);
    writer.hash(writer.newest() + 60);
    // The checkpoint that the job would go on from is gone, one that lacks what it needs is there, and nothing is recorded.
    let trail = Trail::under(&job.target.join("checkpoint"));
    let (newest, _) = trail.take(&job.source, 0, None).unwrap();
    for (number, _) in trail.list().unwrap() {
        if number != newest {
            trail.drop(number).unwrap();
        }
    }
    let run = job.start(&[]);
    job.until("begun anew", |status| {
        status["epoch"].as_u64().is_some_and(|epoch| epoch > 1) && status["phase"] == "Syncing"
    });
    let switch = job.ask_to_stop(&[]);
    let (last, _) = writer.end();
    let run = end_of(run);
    run.expect(0, &["beginning anew", "has pruned version"]);
    assert_eq!((run.done().0, end_of(switch).code), (last, 0));
    storeshift(&["verify", "--target", text(&job.target)]).expect(0, &["The target is sound"]);
}

#[test]
fn a_checkpoint_that_was_done_with_and_could_not_be_removed_is_not_gone_back_to() {
    let Some((dir, writer, job)) = beside("goleveldb", &NODE) else { return };
    ran(&mut job.command(&["--no-switch"])).expect(0, &["Caught up"]);
    let trail = Trail::under(&job.target.join("checkpoint"));
    let (number, _) = trail.list().unwrap().remove(0);
    let (place, aside) = (job.target.join("checkpoint").join(number.to_string()), dir.path().join("aside"));
    fs::create_dir(&aside).unwrap();
    for entry in fs::read_dir(&place).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), aside.join(entry.file_name())).unwrap();
    }
    writer.hash(writer.newest() + 10);
    ran(&mut job.command(&["--no-switch"])).expect(0, &["Caught up"]);
    assert!(!place.exists());
    fs::rename(&aside, &place).unwrap();
    let run = job.start(&[]);
    job.until("following", |status| status["following"]["trend"] == "close");
    let switch = job.ask_to_stop(&[]);
    let (last, _) = writer.end();
    assert_eq!((end_of(run).expect(0, &[]).done().0, end_of(switch).code), (last, 0));
}

#[test]
fn a_plan_that_asks_for_a_version_is_not_begun_anew_at_another_one() {
    let Some((_dir, writer, job)) = beside("goleveldb", &FORGETFUL) else { return };
    let at = ["--at", &writer.newest().to_string()];
    ran(&mut job.command(&[&at[..], &["--no-switch"]].concat())).expect(0, &["Caught up"]);
    writer.hash(writer.newest() + 60);
    ran(&mut job.command(&at)).expect(4, &["has pruned version", "the plan asks for version"]);
    storeshift(&["abort", "--target", text(&job.target)]).expect(0, &["Aborted"]);
    assert!(!job.target.exists());
    writer.end();
}

#[test]
fn a_database_that_was_rolled_back_or_replaced_is_noticed_and_nothing_of_it_is_applied() {
    let Some((dir, writer, job)) = beside("goleveldb", &[&NODE[..], &["-halt", "60"]].concat()) else { return };
    let home = dir.path().join("node");
    let run = job.start(&[]);
    job.applied(60);
    writer.ended();
    // Another chain's database, at the same heights and beyond.
    let other = dir.path().join("other");
    Writer::start(&other, "goleveldb", &[&NODE[..], &["-halt", "70", "-seed", "2"]].concat()).ended();
    fs::rename(&home, dir.path().join("before")).unwrap();
    fs::rename(&other, &home).unwrap();
    let run = end_of(run);
    run.expect(4, &["was rolled back, or its database was replaced"]);
    let status = job.status().unwrap();
    assert_eq!((&status["applied"], &status["phase"]), (&60.into(), &"Syncing".into()));
}

#[test]
fn after_the_switch_the_chain_is_given_back_unless_that_was_ruled_out_or_something_would_be_lost() {
    if go::programs().is_none() {
        return;
    }
    for finish in [false, true] {
        let dir = scratch();
        let home = dir.path().join("node");
        let writer = Writer::start(&home, "goleveldb", &[&NODE[..], &["-halt", "50"]].concat());
        let job = Job::of(&writer, dir.path());
        let (source, target) = (text(&job.source), text(&job.target));
        let back = ["back", "--source", source, "--target", target];
        writer.hash(20);
        let run = job.start(&["--switch-at", "50"]);
        storeshift(&["finish", "--target", target]);
        writer.ended();
        end_of(run).expect(0, &["is the store of record"]);
        storeshift(&["abort", "--target", target]).expect(4, &["cannot be aborted"]);
        if finish {
            storeshift(&["finish", "--target", target]).expect(0, &["for good, since version 50"]);
            storeshift(&["finish", "--target", target]).expect(0, &["for good"]);
            storeshift(&back).expect(4, &["for good"]);
            ran(&mut job.command(&[])).expect(0, &["is the store of record"]);
            continue;
        }
        // A node that is started on store/v1 by mistake does not start; one that was made to is in the way.
        let refused = Writer::refused(&home, "goleveldb", &NODE);
        assert!(refused.contains("LOCK"), "{refused}");
        let readme = std::fs::read_to_string(job.source.join("LOCK/README")).unwrap();
        assert!(readme.contains("since version 50") && readme.contains(target), "{readme}");
        std::fs::remove_dir_all(job.source.join("LOCK")).unwrap();
        std::fs::rename(job.source.join("LOCK.node"), job.source.join("LOCK")).unwrap();
        let mistaken = Writer::start(&home, "goleveldb", &NODE);
        mistaken.hash(52);
        storeshift(&back).expect(4, &["a process has", "which is not of record"]);
        mistaken.end();
        storeshift(&back).expect(0, &["is the store of record again"]);
        // Killed after it was recorded, it leaves the guard; another call takes it away.
        storeshift::migrator::guard::place(&job.source, "as before").unwrap();
        storeshift(&back).expect(4, &["the chain is on store/v1"]);
        Writer::start(&home, "goleveldb", &[&NODE[..], &["-halt", "55"]].concat()).ended();
        ran(&mut job.command(&[])).expect(4, &["aborted"]);
        storeshift(&["abort", "--target", target]).expect(0, &["Aborted"]);
        assert!(!job.target.exists());
    }
}

/// As many switches as `STORESHIFT_SWITCHES` says, the node stopped at one moment or another after it was asked to.
#[test]
fn the_last_version_is_never_lost_whenever_the_node_is_stopped() {
    if go::programs().is_none() {
        return;
    }
    let switches = std::env::var("STORESHIFT_SWITCHES").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let dir = scratch();
    for switch in 0..switches {
        let home = dir.path().join(format!("node-{switch}"));
        let seed =
            ["-seed", "1", "-write-buffer", "48", "-keep", "60", "-pace", if switch % 2 == 0 { "2ms" } else { "9ms" }];
        let backend = if switch / 2 % 2 == 0 { "goleveldb" } else { "pebbledb" };
        let writer = Writer::start(&home, backend, &seed);
        let job = Job { source: writer.database(), target: dir.path().join(format!("v2-{switch}")) };
        writer.hash(10);
        let run = job.start(&[]);
        job.applied(10);
        let asked = job.ask_to_stop(&[]);
        writer.hash(writer.newest() + switch % 7);
        let (last, _) = writer.end();
        let run = end_of(run);
        assert_eq!(run.expect(0, &[]).done().0, last, "switch {switch} of {backend}: {}{}", run.out, run.err);
        assert_eq!(end_of(asked).code, 0);
        fs::remove_dir_all(&job.target).unwrap();
    }
}
