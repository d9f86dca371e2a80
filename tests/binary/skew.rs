//! Version skew: jobs that an earlier release left half done are carried on by this one, and what a later release wrote is refused.
//!
//! `tests/fixtures/skew-N` holds jobs in journal format N as release after release left them, and is never changed. A new format
//! brings another such directory, made by [`make`] before it is released; the tests walk all of them.

use crate::{
    helper::{Job, baseline, copy, fresh},
    hostile::{shim, shimmed},
    strace,
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use storeshift::{
    journal::{FORMAT, Journal},
    machine::{Phase, State},
};

const NAME: &str = "nofast";
const MORE: [&str; 2] = ["--at", "oldest"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// What is recorded, read from a copy: opening a journal may repair it.
fn state(target: &Path) -> Option<State> {
    let file = target.join("journal/journal.redb");
    if !file.exists() {
        return None;
    }
    let dir = fresh();
    fs::copy(file, dir.path().join("journal.redb")).unwrap();
    Some(Journal::open(dir.path()).unwrap().state().unwrap())
}

fn is_half_restored(state: &State) -> bool {
    matches!(&state.phase, Phase::Restoring { chunks, restored, joined: false, .. }
        if (chunks / 5..=chunks * 4 / 5).contains(&restored.count()))
}

fn is_half_synced(state: &State) -> bool {
    matches!(&state.phase, Phase::Syncing { applied, height, .. } if applied > height && applied.0 < 12)
}

/// How a job was left, by name.
type Left = (&'static str, fn(&State) -> bool);

/// The jobs of a format, by name, and what each of them has to be like.
const JOBS: [Left; 2] = [("restoring", is_half_restored), ("syncing", is_half_synced)];

#[test]
fn jobs_that_earlier_releases_left_half_done_are_carried_on_to_the_same_target() {
    let mut formats = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let format = entry.unwrap().path();
        let Some(number) = format.file_name().and_then(|name| name.to_str()?.strip_prefix("skew-")) else { continue };
        formats.push(number.parse::<u16>().unwrap());
        for (left, is_so) in JOBS {
            let what = format!("{left} in format {number}");
            let job = Job::of(NAME, &MORE);
            copy(&format.join(left), &job.target());
            let before = state(&job.target()).unwrap();
            assert!(is_so(&before), "{what}: {before:?}");
            // It is known by its journal alone: no status is there, which names the machine it was made on.
            job.command("status", &[]).expect(4, &["has not written a status yet"]);
            let shown = job.command("journal", &[]);
            assert!(shown.expect(0, &[]).out.contains(before.phase.name()), "{what}: {shown:?}");
            job.run(&[]).expect(0, &[]);
            job.dump().assert_same(&baseline(NAME, &MORE), &what);
            // What was recorded was not done again.
            let counts = &job.status()["counts"];
            let (read, total) = (counts["pairs_read"].as_u64().unwrap(), counts["pairs_total"].as_u64().unwrap());
            assert!(if left == "syncing" { read == 0 } else { read > 0 && read < total }, "{what}: {counts}");
            let source = job.source.to_str().unwrap().to_owned();
            job.command("verify", &["--source", &source]).expect(0, &[]);
            // Nor is it anything but a job: it may be given up.
            let job = Job::of(NAME, &MORE);
            copy(&format.join(left), &job.target());
            job.command("abort", &[]).expect(0, &[]);
            assert!(!job.target().exists(), "{what}");
        }
    }
    println!("jobs of formats {formats:?} carried on");
    assert!(formats.contains(&FORMAT), "format {FORMAT} has no fixture: see `make` in tests/binary/skew.rs");
}

#[test]
fn no_path_of_the_machine_it_was_made_on_is_in_a_job_of_an_earlier_release() {
    let mut left = vec![fixtures()];
    let mut files = 0;
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.to_str().unwrap().contains("/skew-") {
                files += 1;
                let bytes = fs::read(&path).unwrap();
                for prefix in ["/tmp", "/var", "/home", "/root", "/work", "/usr", "fixtures/"] {
                    let found = bytes.windows(prefix.len()).any(|window| window == prefix.as_bytes());
                    assert!(!found, "{} has {prefix} in it", path.display());
                }
            }
        }
    }
    assert!(files > 10, "{files}");
}

/// Makes the fixture of the format this release writes. Half restored is a job one of whose tables could not be written; half synced one
/// that was killed at a sync of its journal. Logs, locks and what else names the machine are left out; no engine needs them.
///
/// `cargo test --release --test binary skew::make -- --ignored`
#[test]
#[ignore = "makes a fixture, once for each format"]
fn make() {
    let to = fixtures().join(format!("skew-{FORMAT}"));
    assert!(!to.exists(), "{} is there, and is never changed", to.display());
    let shim = shim().expect("a C compiler");
    assert!(strace::works());
    for ((name, is_so), leave) in JOBS.into_iter().zip([
        &|job: &Job, when: u32| {
            let under = job.target().join("staging/ss-").to_str().unwrap().to_owned();
            let fault = [("SHIM_UNDER", under), ("SHIM_AT", when.to_string()), ("SHIM_ERRNO", "5".to_owned())];
            shimmed(shim, &job.args("run", &[]), &fault);
        },
        &|job: &Job, when: u32| {
            let file = job.target().join("journal/journal.redb");
            let _ = strace::killed_at_file(&job.args("run", &[]), "fdatasync", &file, when);
        },
    ] as [&dyn Fn(&Job, u32); 2])
    {
        let made = (1..40).any(|when| {
            let job = Job::of(NAME, &[&MORE[..], &["--workers", "2"]].concat());
            leave(&job, when);
            let made = state(&job.target()).is_some_and(|state| is_so(&state));
            if made {
                keep(&job.target(), &to.join(name));
            }
            made
        });
        assert!(made, "no job was left {name}");
    }
}

fn keep(from: &Path, to: &Path) {
    for directory in ["journal", "sc", "ss", "runs"] {
        let Ok(entries) = fs::read_dir(from.join(directory)) else { continue };
        fs::create_dir_all(to.join(directory)).unwrap();
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let is_needed = !["LOG", "LOCK", "OPTIONS-", "IDENTITY", "lock", "status.json"]
                .iter()
                .any(|needless| name.starts_with(needless));
            if is_needed {
                fs::copy(entry.path(), to.join(directory).join(name)).unwrap();
            }
        }
    }
}

fn set(file: &Path, field: &str, value: u64) {
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    content[field] = value.into();
    fs::write(file, content.to_string()).unwrap();
}

#[test]
fn files_beside_the_journal_that_a_later_release_wrote_are_refused_or_left_out_of_account_by_name() {
    let job = Job::of(NAME, &MORE);
    job.run(&["--no-switch"]).expect(0, &[]);
    let journal = job.target().join("journal");
    // The status decides nothing; whoever asks for it is told.
    set(&journal.join("status.json"), "format", 9);
    for extra in [&[][..], &["--json"]] {
        job.command("status", extra).expect(4, &["status.json has format 9", "this release knows 1"]);
    }
    job.run(&["--no-switch"]).expect(0, &[]);
    assert_eq!(job.status()["format"], 1);
    // What it asks is not known, so nothing is changed for it, and it is said.
    job.command("pause", &[]).expect(0, &[]);
    set(&journal.join("control.json"), "format", 9);
    job.run(&["--no-switch"]).expect(0, &["ignored: ", "control.json has format 9"]);
    job.command("resume", &[]).expect(4, &["has format 9", "Nothing was changed"]);
    fs::remove_file(journal.join("control.json")).unwrap();
    // A switch that is not understood is not made, nor is one that was not asked for.
    job.command("switch", &["--no-wait", "--at-height", "12"]).expect(4, &["is kept"]);
    set(&journal.join("switch.json"), "format", 9);
    job.run(&[]).expect(4, &["switch.json: understand: it has format 9", "storeshift switch --cancel"]);
    assert_eq!(job.status()["phase"], "Syncing");
    job.command("switch", &["--cancel"]).expect(0, &[]);
    job.run(&[]).expect(0, &[]);
    job.dump().assert_same(&baseline(NAME, &MORE), "after what a later release wrote");
}
