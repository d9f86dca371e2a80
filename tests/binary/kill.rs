//! kill -9 at every sync and rename, at random moments and while aborting: whatever is left can be carried on, and the
//! result is the one of a run that nobody killed, pair by pair.

use crate::{
    helper::{Job, Random, baseline, binary, copy, fresh, times, whole_history},
    strace,
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use storeshift::{
    journal::{EventRecord, Journal},
    machine::Phase,
};

/// What makes a step durable or visible.
const CALLS: [Point; 6] =
    [("fdatasync", ""), ("fsync", ""), ("rename", ""), ("unlink", ""), ("mkdir", ""), ("ftruncate", "")];

/// Each file's own syncs, so that those of one thread are not hidden behind those of another that come first.
const FILES: [Point; 5] = [
    ("fdatasync", "journal/journal.redb"),
    ("fdatasync", "sc/000004.log"),
    ("fdatasync", "ss/000004.log"),
    ("fdatasync", "sc/MANIFEST-000005"),
    ("fdatasync", "ss/MANIFEST-000005"),
];

/// A system call, and the file in the target it is made on, or none for any.
type Point = (&'static str, &'static str);

fn killed_at(job: &Job, (call, file): Point, when: u32) -> bool {
    let args = job.args("run", &[]);
    if file.is_empty() {
        strace::killed_at(&args, call, when).is_ok()
    } else {
        strace::killed_at_file(&args, call, &job.target().join(file), when).is_ok()
    }
}

type Table = BTreeMap<&'static str, u32>;

/// What a killed run left in its journal. The journal is copied first: opening it may repair it.
struct Left {
    place: &'static str,
    durable_pairs: u64,
}

fn left(target: &Path) -> Left {
    let journal = target.join("journal");
    if !Journal::exists(&journal) {
        return Left { place: "birth", durable_pairs: 0 };
    }
    let dir = fresh();
    fs::copy(journal.join("journal.redb"), dir.path().join("journal.redb")).unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let state = journal.state().unwrap();
    let pairs = |of: &dyn Fn(u64) -> bool| -> u64 {
        let chunks = journal.chunks(0, journal.manifest().unwrap().chunks()).unwrap();
        (0..).zip(chunks).filter(|(id, _)| of(*id)).map(|(_, chunk)| chunk.leaves).sum()
    };
    let place = match &state.phase {
        Phase::Restoring { joined: true, .. } => "Restoring: proving",
        Phase::Restoring { chunks, restored, .. } if restored.count() == *chunks => "Restoring: joining",
        phase => phase.name(),
    };
    let durable_pairs = match &state.phase {
        Phase::Snapshotting { .. } => 0,
        Phase::Restoring { restored, .. } => pairs(&|id| restored.contains(id)),
        _ => pairs(&|_| true),
    };
    Left { place, durable_pairs }
}

/// Every event once, in the one order that makes sense.
pub fn assert_sane_history(target: &Path) {
    let events = Journal::open(&target.join("journal")).unwrap().events().unwrap();
    let names: Vec<&str> = events.iter().map(|event: &EventRecord| event.name.as_str()).collect();
    let mut order = names.clone();
    order.dedup();
    let mut expected = vec!["Snapshotted", "Restored", "Joined", "Proven", "Concluded", "Applied"];
    expected.extend(["SwitchStarted", "Fenced", "Checked", "Flipped"]);
    if !names.contains(&"Applied") {
        expected.retain(|&name| name != "Applied");
    }
    // A run that finds itself half-way through a switch undoes it, because its fence is gone, and begins another.
    while let Some(undone) = order.iter().position(|&name| name == "SwitchUndone") {
        let started = order[..undone].iter().rposition(|&name| name == "SwitchStarted").expect("what was undone began");
        let attempt = &order[started..undone];
        assert!(["SwitchStarted", "Fenced", "Checked"].starts_with(attempt), "{names:?}");
        order.drain(started..=undone);
    }
    assert_eq!(order, expected, "{names:?}");
}

/// Runs to the end what was killed, and compares everything with a run that was not.
fn finish(job: &Job, name: &'static str, more: &[&str], left: &Left, what: &str) {
    let ran = job.run(&[]);
    assert_eq!(ran.code, Some(0), "{what}, killed in {}: {ran:#?}", left.place);
    job.dump().assert_same(&baseline(name, more), what);
    assert_sane_history(&job.target());
    let counts = &job.status()["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    if left.place != "Done" {
        // Work that was recorded is not done again, and the rest is done once.
        let total = count("pairs_total");
        assert_eq!(count("pairs_read") + left.durable_pairs, total, "{what}, killed in {}", left.place);
    }
    assert!(!job.target().join("staging").exists(), "{what}");
}

fn print(what: &str, table: &Table) -> u32 {
    let kills = table.values().sum();
    println!("{what}: {kills} kills");
    table.iter().for_each(|(place, count)| println!("  {count:>5}  {place}"));
    kills
}

#[test]
fn killed_at_every_sync_rename_and_removal_a_migration_carries_on_to_the_same_target() {
    if !strace::works() {
        return killed_at_random("nofast", &["--at", "oldest"], 60);
    }
    let (name, more) = ("nofast", ["--at", "oldest"]);
    let table = kill_everywhere(name, &more, &|_| {}, &CALLS, 1);
    let kills = print("a new job, at every sync, rename and removal", &table);
    assert!(kills >= 80, "{kills}");
    for place in ["birth", "Snapshotting", "Switching"] {
        assert!(table.contains_key(place), "no kill in {place}: {table:?}");
    }
}

/// The threads count their calls separately, and the first one, which gives birth to the journal, would always be killed
/// before the others get far. A job that is born leaves them to be hit.
#[test]
fn killed_at_every_sync_rename_and_removal_a_job_that_is_born_carries_on_to_the_same_target() {
    if !strace::works() {
        return killed_at_random("idle", &["--at", "oldest"], 60);
    }
    let mut table = Table::new();
    for (name, points, step) in [("idle", &CALLS[..], 4), ("nofast", &FILES, 1)] {
        let more = ["--at", "oldest"];
        let born = Job::of(name, &more);
        strace::killed_at(&born.args("run", &[]), "rename", 2).unwrap();
        assert_eq!(left(&born.target()).place, "Snapshotting");
        let found = kill_everywhere(name, &more, &|target| copy(&born.target(), target), points, step);
        found.into_iter().for_each(|(place, kills)| *table.entry(place).or_default() += kills);
    }
    let kills = print("a job that is born, at every sync, rename and removal of one, every fourth of another", &table);
    assert!(kills >= 60, "{kills}");
    for place in ["Restoring", "Restoring: joining", "Restoring: proving", "Syncing", "Switching"] {
        assert!(table.contains_key(place), "no kill in {place}: {table:?}");
    }
}

/// Kills before every `step`-th of each call, until the run survives; finishes and compares after each.
fn kill_everywhere(name: &'static str, more: &[&str], begin: &dyn Fn(&Path), points: &[Point], step: usize) -> Table {
    let mut random = Random::new("second and third kills");
    let mut table = Table::new();
    for &point in points {
        for when in (1..).step_by(step) {
            let job = Job::of(name, more);
            begin(&job.target());
            if !killed_at(&job, point, when) {
                break;
            }
            let mut found = left(&job.target());
            *table.entry(found.place).or_default() += 1;
            let mut what = format!("before {point:?} {when}");
            // Sometimes it hits twice or three times in a row.
            while when % 4 == 1 && random.below(3) > 0 {
                let (point, when) = (CALLS[random.below(2) as usize], 1 + random.below(30) as u32);
                if !killed_at(&job, point, when) {
                    found = Left { place: "Done", durable_pairs: 0 };
                    break;
                }
                what.push_str(&format!(", then before {point:?} {when}"));
                found = left(&job.target());
                *table.entry(found.place).or_default() += 1;
            }
            finish(&job, name, more, &found, &what);
        }
    }
    table
}

/// Where legacy versions are replayed, and a boundary to current ones is crossed.
#[test]
fn killed_at_many_syncs_of_a_legacy_history_a_migration_carries_on_to_the_same_target() {
    let mut table = Table::new();
    for name in ["legacy", "mixed", "mixed-upgrade"] {
        let more = whole_history(name);
        if !strace::works() {
            killed_at_random(name, more, 10);
            continue;
        }
        let born = Job::of(name, more);
        strace::killed_at(&born.args("run", &[]), "rename", 2).unwrap();
        for points in [&CALLS[..2], &FILES[..3]] {
            let found = kill_everywhere(name, more, &|target| copy(&born.target(), target), points, 20);
            found.into_iter().for_each(|(place, kills)| *table.entry(place).or_default() += kills);
        }
    }
    let kills = print("legacy histories, at every twentieth sync", &table);
    assert!(!strace::works() || kills >= 20 && table.contains_key("Syncing"), "{kills}: {table:?}");
}

#[test]
fn killed_at_random_moments_a_migration_carries_on_to_the_same_target() {
    killed_at_random("idle", &["--at", "oldest"], 10 * times());
    killed_at_random("small", &["--workers", "8", "--memory-mib", "32"], 10 * times());
    killed_at_random("mixed", whole_history("mixed"), 10 * times());
}

/// Kills until `kills` have hit a run that was not over.
fn killed_at_random(name: &'static str, more: &[&str], kills: u32) {
    let began = Instant::now();
    Job::of(name, more).run(&[]).expect(0, &[]);
    let whole = began.elapsed();
    let mut random = Random::new(&format!("random kills of {name}"));
    let mut table = Table::new();
    while table.values().sum::<u32>() < kills {
        let job = Job::of(name, more);
        let mut found = Left { place: "birth", durable_pairs: 0 };
        for _ in 0..=random.below(3) {
            let wait = whole.mul_f64(random.below(1000) as f64 / 1000.0);
            let mut running = Command::new(binary());
            let mut running =
                running.args(job.args("run", &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // The random moment is the experiment, not a way to wait for something.
            std::thread::sleep(wait.max(Duration::from_millis(1)));
            running.kill().unwrap();
            let ended = running.wait().unwrap();
            found = left(&job.target());
            if ended.code().is_none() {
                *table.entry(found.place).or_default() += 1;
            }
        }
        finish(&job, name, more, &found, "random kills");
    }
    print(&format!("random moments of {name}"), &table);
}

#[test]
fn an_abort_killed_anywhere_is_finished_by_the_next_one_and_a_new_run_begins() {
    if !strace::works() {
        return;
    }
    let (name, more) = ("nofast", ["--at", "oldest"]);
    let template = Job::of(name, &more);
    template.run(&["--no-switch"]).expect(0, &[]);
    let (mut table, mut begun) = (Table::new(), 0);
    for call in ["fdatasync", "fsync", "unlinkat", "rmdir", "unlink"] {
        for when in 1.. {
            let job = Job::of(name, &more);
            copy(&template.target(), &job.target());
            let Ok(_) = strace::killed_at(&job.args("abort", &[]), call, when) else { break };
            let what = format!("abort killed before {call} {when}");
            let found = left(&job.target());
            *table.entry(found.place).or_default() += 1;
            match found.place {
                "Aborted" => {
                    let ran = job.run(&[]);
                    ran.expect(4, &["aborted", "storeshift abort"]);
                    job.command("abort", &[]).expect(0, &[]);
                }
                // Nothing was wiped yet: the job may be carried on, or aborted again.
                "Syncing" if when % 2 == 0 => {
                    job.run(&[]).expect(0, &[]);
                    job.dump().assert_same(&baseline(name, &more), &what);
                    continue;
                }
                "Syncing" => drop(job.command("abort", &[]).expect(0, &[])),
                "birth" => drop(job.command("abort", &[]).expect(4, &["no job"])),
                place => panic!("{what}: {place}"),
            }
            for left in ["sc", "ss", "staging", "journal/journal.redb"] {
                assert!(!job.target().join(left).exists(), "{what}: {left} is left");
            }
            if when % 8 == 1 {
                begun += 1;
                job.run(&[]).expect(0, &[]);
                job.dump().assert_same(&baseline(name, &more), &what);
            }
        }
    }
    let kills = print("while aborting", &table);
    assert!(kills >= 20 && begun >= 3, "{kills} {begun}");
    assert!(table.contains_key("Aborted") && table.contains_key("Syncing"), "{table:?}");
}
