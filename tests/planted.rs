//! Tests of the tests: bugs that are planted in the source, each of which the tests must catch.
//!
//! The product's source knows nothing of them. Each is a snippet of one file and what takes its place, in `tests/planted/*.toml`; all
//! of them are put into a copy of the tree at once, each behind a question which one is chosen, so that one build has them all. The
//! copy is made, built and run with `STORESHIFT_PROOF=1 cargo test --release --test planted -- --nocapture`, which is no part of
//! `make test`: that every snippet is in its place is.

#[path = "planted/bugs.rs"]
mod bugs;
#[path = "planted/copy.rs"]
mod copy;
#[path = "planted/runs.rs"]
mod runs;

use bugs::{Bug, all};
use copy::Copy;
use runs::{End, Runs};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What is planted at least.
const LEAST: usize = 50;
/// What the crash images catch at least: that is what they are for.
const LEAST_BY_CRASHES: usize = 15;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn every_planted_bug_has_its_one_place_in_the_source() {
    let bugs = all();
    let names: BTreeSet<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
    assert_eq!(names.len(), bugs.len(), "two bugs have one name");
    assert!(bugs.len() >= LEAST, "{} bugs are planted", bugs.len());
    let by_crashes = bugs.iter().filter(|bug| bug.by.iter().any(|by| by.starts_with("crash::"))).count();
    assert!(by_crashes >= LEAST_BY_CRASHES, "{by_crashes} bugs are to be caught by crash images");
    let mut wrong = Vec::new();
    let mut files: BTreeMap<&str, Vec<&Bug>> = BTreeMap::new();
    for bug in &bugs {
        files.entry(&bug.file).or_default().push(bug);
        wrong.extend(bug.what_is_wrong());
    }
    for (file, bugs) in files {
        if let Err(why) = bugs::planted(file, &bugs) {
            wrong.push(why);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_planted_bug_is_caught() {
    if std::env::var_os("STORESHIFT_PROOF").is_none() {
        println!("plants nothing: set STORESHIFT_PROOF=1 (and STORESHIFT_PLANTED_ONLY=name,... for some of the bugs)");
        return;
    }
    let only = std::env::var("STORESHIFT_PLANTED_ONLY").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|only| only.split(',').collect());
    let bugs = all();
    let chosen: Vec<&Bug> =
        bugs.iter().filter(|bug| only.as_ref().is_none_or(|only| only.contains(&bug.name.as_str()))).collect();
    let copy = Copy::make(&bugs);
    let filters: BTreeSet<&str> = chosen.iter().flat_map(|bug| &bug.by).map(String::as_str).collect();
    let runs = Runs::new(copy.build(filters.iter().any(|filter| runs::is_of_library(filter))), copy.scratch());
    for filter in &filters {
        let run = runs.run(filter, None, PATIENCE * 3);
        println!("without a bug: {filter}: {:?}", run);
        assert!(matches!(run.end, End::Passed { tests } if tests > 0), "without a bug {filter} fails: {run:?}");
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let verdict = runs.judge(bug, PATIENCE);
                    println!("{verdict}");
                    results.lock().unwrap().insert(bug.name.as_str(), verdict);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    println!("\nname | caught by | seconds");
    results.values().for_each(|verdict| println!("{verdict}"));
    let caught = results.values().filter(|verdict| verdict.is_caught()).count();
    let hung = results.values().filter(|verdict| verdict.hangs()).count();
    println!("{caught} of {} planted bugs caught, {hung} of them because a test never ended", results.len());
    assert_eq!(caught, results.len(), "a bug that is planted and not caught is a hole in the tests");
}
