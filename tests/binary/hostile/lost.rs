//! Targets that RocksDB cannot open any more. Damage while a snapshot is restored: the run says so, wipes the target and begins anew by
//! itself. Damage later, and whatever else keeps an engine shut: refused, and nothing is removed.

use super::{SMALL, goes_on, is_whole, shim, shimmed, text};
use crate::helper::{Job, Ran, copy};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use storeshift::{
    journal::Journal,
    machine::{Phase, State},
};

const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;

fn state(job: &Job) -> State {
    Journal::open(&job.target().join("journal")).unwrap().state().unwrap()
}

fn settings(under: &Path, calls: &str, errno: i32, at: u64) -> Vec<(&'static str, String)> {
    vec![
        ("SHIM_UNDER", text(under).to_owned()),
        ("SHIM_CALLS", calls.to_owned()),
        ("SHIM_ERRNO", errno.to_string()),
        ("SHIM_MODE", "once".to_owned()),
        ("SHIM_AT", at.to_string()),
    ]
}

/// A job whose journal failed while it was restored: its engines are sound, and SC has tables. SS of so little has
/// a log.
fn restoring(shim: &Path) -> Job {
    for at in 1.. {
        let job = Job::of(SMALL.0, SMALL.1);
        let ran =
            shimmed(shim, &job.args("run", &[]), &settings(&job.target().join("journal"), "fdatasync,fsync", EIO, at));
        // Some failures are none of the job's: what `status` shows is written another time.
        assert!(at < 100, "it was never in the middle: {ran:#?}");
        if ran.code == Some(0) {
            continue;
        }
        let is_made = job.target().join("journal/journal.redb").exists();
        if let Some(Phase::Restoring { restored, .. }) = is_made.then(|| state(&job).phase)
            && restored.count() > 0
            && !tables(&job.target().join("sc")).is_empty()
        {
            return job;
        }
    }
    unreachable!()
}

fn copied(template: &Job) -> Job {
    let job = Job::of(SMALL.0, SMALL.1);
    copy(&template.target(), &job.target());
    job
}

fn named(engine: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(engine).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.filter(|entry| fits(entry.file_name().to_str().unwrap())).map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn tables(engine: &Path) -> Vec<PathBuf> {
    named(engine, |name| name.ends_with(".sst"))
}

fn manifests(engine: &Path) -> Vec<PathBuf> {
    named(engine, |name| name.starts_with("MANIFEST"))
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 6] = [
    ("a table is gone", |engine| fs::remove_file(&tables(engine)[0]).unwrap()),
    ("a table is empty", |engine| fs::write(&tables(engine)[0], "").unwrap()),
    ("the manifest is zeros", |engine| {
        for path in manifests(engine) {
            let length = fs::metadata(&path).unwrap().len() as usize;
            fs::write(path, vec![0; length]).unwrap();
        }
    }),
    ("the manifest is cut short", |engine| {
        for path in manifests(engine) {
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len().min(20)]).unwrap();
        }
    }),
    ("the manifest is gone", |engine| manifests(engine).into_iter().for_each(|path| fs::remove_file(path).unwrap())),
    ("CURRENT is empty", |engine| fs::write(engine.join("CURRENT"), "").unwrap()),
];

#[test]
fn a_target_that_is_damaged_while_it_is_restored_is_begun_anew_by_the_next_run() {
    let Some(shim) = shim() else { return };
    let template = restoring(shim);
    for engine in ["sc", "ss"] {
        for (what, damage) in DAMAGES {
            let job = copied(&template);
            if what.contains("table") && tables(&job.target().join(engine)).is_empty() {
                continue;
            }
            damage(&job.target().join(engine));
            let what = format!("{engine}: {what}");
            let ran = job.run(&[]);
            assert_eq!(ran.code, Some(0), "{what}: {ran:#?}");
            for words in ["damaged, and cannot be opened", "while Restoring", "begins anew by itself"] {
                assert!(ran.err.contains(words), "{what}: {words:?} is not said: {ran:#?}");
            }
            is_whole(&job, &what);
            let status = job.status();
            assert_eq!(status["epoch"], 2, "{what}");
            assert!(status["epoch_reason"].as_str().unwrap().contains("could not be opened any more"), "{status}");
            let told = job.command("status", &[]);
            assert!(told.out.contains("begin anew, because the target's files were damaged"), "{told:#?}");
            let journal = job.command("journal", &[]);
            assert!(journal.out.contains("Renewed") && journal.out.contains("cannot be opened"), "{journal:#?}");
        }
    }
}

/// When its manifest cannot be synced RocksDB removes the tables that it was to take over, and the manifest may name them.
#[test]
fn whichever_sync_of_a_manifest_fails_the_next_run_comes_to_the_same_target_by_itself() {
    let Some(shim) = shim() else { return };
    let (mut runs, mut anew) = (0, 0);
    for engine in ["sc", "ss"] {
        for at in 1.. {
            let job = Job::of(SMALL.0, SMALL.1);
            let manifest = job.target().join(engine).join("MANIFEST");
            let ran = shimmed(shim, &job.args("run", &[]), &settings(&manifest, "fdatasync,fsync", EIO, at));
            if ran.code == Some(0) {
                break;
            }
            ran.expect(3, &["Input/output error", "Run the same command again"]);
            goes_on(&job, &format!("sync {at} of the manifest of {engine}"));
            runs += 1;
            anew += i32::from(job.status()["epoch"] == 2);
        }
    }
    println!("{runs} syncs failed, {anew} targets were lost by it");
    assert!(runs > 4 && anew > 0, "{runs} {anew}");
}

/// What there is of the engines, but for what RocksDB writes anew each time it opens one: which it may of the other one.
fn there(target: &Path) -> BTreeSet<PathBuf> {
    let is_data = |name: &str| name.ends_with(".sst") || ["CURRENT", "IDENTITY", "storeshift.job"].contains(&name);
    ["sc", "ss"].iter().flat_map(|engine| named(&target.join(engine), is_data)).collect()
}

#[track_caller]
fn is_left_alone(job: &Job, ran: &Ran, before: (&State, &BTreeSet<PathBuf>), what: &str) {
    assert!(!ran.err.contains("begins anew by itself"), "{what}: {ran:#?}");
    assert_eq!(state(job), *before.0, "{what}");
    let after = there(&job.target());
    let gone: Vec<_> = before.1.difference(&after).collect();
    assert!(gone.is_empty(), "{what}: {gone:?} is gone");
}

#[test]
fn a_target_that_is_damaged_after_versions_were_applied_or_the_switch_is_refused_and_stays() {
    for switch in [&["--no-switch"][..], &[]] {
        let template = Job::of(SMALL.0, SMALL.1);
        template.run(switch).expect(0, &[]);
        let was = state(&template);
        assert_eq!(matches!(was.phase, Phase::Done { .. }), switch.is_empty());
        for engine in ["sc", "ss"] {
            for (what, damage) in DAMAGES {
                let job = copied(&template);
                damage(&job.target().join(engine));
                let before = there(&job.target());
                let ran = job.run(switch);
                let what = format!("{}, {engine}: {what}", was.phase.name());
                ran.expect(5, &["cannot be opened", "nothing of the target was removed", "storeshift abort"]);
                is_left_alone(&job, &ran, (&was, &before), &what);
            }
        }
    }
}

#[test]
fn an_engine_that_is_kept_shut_by_a_lock_or_a_call_that_fails_costs_nothing() {
    let Some(shim) = shim() else { return };
    let template = restoring(shim);
    let was = state(&template);
    for engine in ["sc", "ss"] {
        let job = copied(&template);
        let before = there(&job.target());
        let lock = fs::File::options().write(true).open(job.target().join(engine).join("LOCK")).unwrap();
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        let ran = job.run(&[]);
        ran.expect(3, &["lock", "Run the same command again"]);
        is_left_alone(&job, &ran, (&was, &before), "a lock");
        drop(lock);
        goes_on(&job, "once the lock is gone");
        // Whatever of it cannot be opened for a reason that may pass.
        let directory = template.target().join(engine);
        let files =
            [tables(&directory), manifests(&directory), vec![directory.join("CURRENT"), directory.join("LOCK")]];
        let mut refused = 0;
        for file in files.iter().flatten() {
            for errno in [EACCES, EIO, EMFILE] {
                let job = copied(&template);
                let before = there(&job.target());
                let file = job.target().join(engine).join(file.file_name().unwrap());
                let ran = shimmed(shim, &job.args("run", &[]), &settings(&file, "open", errno, 1));
                let what = format!("{}: {errno}", file.display());
                assert!(!ran.err.contains("begins anew by itself"), "{what}: {ran:#?}");
                if ran.code != Some(0) {
                    assert_eq!(ran.code, Some(3), "{what}: {ran:#?}");
                    is_left_alone(&job, &ran, (&was, &before), &what);
                    refused += 1;
                }
                goes_on(&job, &what);
                assert_eq!(job.status()["epoch"], 1, "{what}");
            }
        }
        println!("{engine}: {refused} refused");
        assert!(refused >= 6, "{refused}");
    }
}
