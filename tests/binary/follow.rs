//! A node that is made of its database's lock: what is recorded of a run beside it, what a crash leaves, what is asked for and when.

use crate::{
    helper::{Job, Ran, baseline, binary, copy, fixture, fresh, text},
    plant,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use storeshift::{
    journal::{Journal, Writes},
    machine::{Cause, Event},
};
use tempfile::TempDir;

/// A copy of a fixture, and a job on it.
fn copied(name: &str) -> (TempDir, Job) {
    let home = fresh();
    let source = home.path().join("application.db");
    copy(&fixture(name), &source);
    (home, Job::new(source, &[]))
}

/// Holds a database open, as goleveldb locks it.
fn node(database: &Path) -> File {
    let lock = File::options().create(true).truncate(false).write(true).open(database.join("LOCK")).unwrap();
    lock.try_lock().unwrap();
    lock
}

fn start(job: &Job, extra: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(job.args("run", extra)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(run: Child) -> Ran {
    run.wait_with_output().unwrap().into()
}

/// Waits until the status says so.
fn until(job: &Job, run: &mut Child, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    loop {
        let text = fs::read(job.target().join("journal/status.json")).unwrap_or_default();
        let status: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        if let Some(status) = status.filter(&is_so) {
            return status;
        }
        assert!(run.try_wait().unwrap().is_none(), "it ended: {}", String::from_utf8_lossy(&text));
        std::thread::yield_now();
    }
}

fn waits_for(status: &serde_json::Value, words: &str) -> bool {
    status["following"]["waiting"].as_str().is_some_and(|waiting| waiting.contains(words))
}

#[test]
fn a_crash_right_after_a_new_epoch_was_recorded_leaves_a_job_that_begins_it_on_an_empty_target() {
    let (_home, job) = copied("pruned");
    let node = node(&job.source);
    job.run(&["--no-switch"]).expect(0, &[]);
    // The journal says that nothing of the target counts any more, and nothing is wiped yet.
    let mut journal = Journal::open(&job.target().join("journal")).unwrap();
    let born = journal.job().unwrap();
    let event = Event::Renewed { height: born.source.height, cause: Cause::Pruned, why: "a test says so".to_owned() };
    let after = journal.state().unwrap().apply(&event).unwrap();
    journal.record(&event, &after, &Writes::Renewed(&born)).unwrap();
    drop(journal);
    plant::sc(&job.target(), b"s/k:bank/of the epoch before", Some(b"x"));
    drop(node);
    job.command("switch", &["--no-wait"]).expect(4, &["no run works on this job now", "is kept"]);
    job.run(&[]).expect(0, &[]);
    job.dump().assert_same(&baseline("pruned", &[]), "after a new epoch");
    assert_eq!((&job.status()["epoch"], &job.status()["phase"]), (&2.into(), &"Done".into()));
    assert!(!job.target().join("journal/switch.json").exists());
}

#[test]
fn a_node_that_cannot_be_seen_is_waited_for_and_nothing_is_tried_meanwhile() {
    let (_home, job) = copied("small");
    let node = node(&job.source);
    job.run(&["--no-switch"]).expect(0, &[]);
    // A lock that is not listed as a writer's, and keeps the switch from its own all the same.
    node.lock_shared().unwrap();
    job.command("switch", &["--no-wait"]).expect(4, &["no run works"]);
    let mut run = start(&job, &["--every", "0.1"]);
    until(&job, &mut run, |status| waits_for(status, "cannot be seen from here"));
    let events = || fs::metadata(job.target().join("journal/journal.redb")).unwrap().modified().unwrap();
    let before = events();
    let status =
        until(&job, &mut run, |status| status["elapsed_seconds"].as_f64().is_some_and(|seconds| seconds > 2.0));
    assert_eq!((&status["attempts"], &status["phase"]), (&0.into(), &"Syncing".into()));
    assert_eq!(events(), before, "something was recorded");
    drop(node);
    end(run).expect(0, &[]);
    job.dump().assert_same(&baseline("small", &[]), "after the node was waited for");
}

/// A run that is held up before it has read anything.
fn paused() -> (TempDir, Job, Child) {
    let (home, job) = copied("small");
    fs::create_dir_all(job.target()).unwrap();
    File::create(job.target().join("PAUSE")).unwrap();
    let mut run = start(&job, &[]);
    until(&job, &mut run, |status| status["wait"]["kind"] == "paused");
    (home, job, run)
}

#[test]
fn a_node_that_is_started_while_its_resting_database_is_migrated_is_not_switched_over() {
    let (_home, job, run) = paused();
    let node = node(&job.source);
    fs::remove_file(job.target().join("PAUSE")).unwrap();
    end(run).expect(4, &["its node was started", "stays on store/v1"]);
    assert_eq!(job.status()["phase"], "Syncing");
    drop(node);
    job.run(&[]).expect(0, &[]);
    job.dump().assert_same(&baseline("small", &[]), "after the node was stopped");
}

#[test]
fn a_database_that_was_written_to_since_it_was_opened_is_not_switched_over() {
    let (_home, job, run) = paused();
    let log = crate::helper::files(&job.source, "log").pop().unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    File::options().append(true).open(log).unwrap().set_modified(later).unwrap();
    fs::remove_file(job.target().join("PAUSE")).unwrap();
    end(run).expect(4, &["was written to since", "stays on store/v1"]);
    job.run(&[]).expect(0, &[]);
}

#[test]
fn a_resting_database_is_switched_at_the_height_that_was_asked_for_or_not_at_all() {
    let (_home, job) = copied("small");
    job.run(&["--switch-at", "99999"]).expect(4, &["asked for at version 99999", "halt-height"]);
    // Nor by a later run that does not say so: the request stands.
    job.run(&[]).expect(4, &["asked for at version 99999"]);
    job.command("switch", &["--cancel"]).expect(0, &[]);
    job.run(&[]).expect(0, &[]);
}

#[test]
fn the_chain_is_not_given_back_where_what_would_be_lost_cannot_be_told() {
    let (home, job) = copied("small");
    job.run(&[]).expect(0, &[]);
    let source = text(&job.source);
    let away: PathBuf = home.path().join("away");
    for part in ["sc", "ss"] {
        fs::rename(job.target().join(part), &away).unwrap();
        job.command("back", &["--source", &source, "--lose", "1000"])
            .expect(4, &["cannot be told", "Nothing was changed"]);
        assert!(!job.target().join(part).exists(), "it was made");
        fs::rename(&away, job.target().join(part)).unwrap();
    }
    // A status that a killed command left is put right by the next one.
    let stale = fs::read(job.target().join("journal/status.json")).unwrap();
    job.command("back", &["--source", &source]).expect(0, &[]);
    fs::write(job.target().join("journal/status.json"), stale).unwrap();
    job.command("back", &["--source", &source]).expect(4, &["the chain is on store/v1"]);
    assert_eq!(job.status()["phase"], "Aborted");
}
