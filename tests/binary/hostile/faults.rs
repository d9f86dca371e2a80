//! Calls that fail: every write, sync, rename, open and so on below the target, one at a time, with ENOSPC and with EIO, alone or as on a
//! disk that stays full.

use super::{SMALL, born, goes_on, is_everything, is_whole, shim, shimmed, text};
use crate::helper::{Job, Ran, Random, copy, fresh};
use std::{collections::BTreeMap, fs, path::Path};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Faults of one kind: errno, mode, and the calls that are counted, all without any.
type Kind = (&'static str, i32, &'static str, &'static str);

const KINDS: [Kind; 4] = [
    ("EIO once", EIO, "once", ""),
    ("ENOSPC once", ENOSPC, "once", ""),
    ("ENOSPC that stays", ENOSPC, "stays", "write,pwrite,fallocate,mkdir,open"),
    ("ENOSPC that stays after half a write", ENOSPC, "short", "write,pwrite"),
];

/// How the runs of a sweep ended.
#[derive(Debug, Default)]
struct Sweep {
    faults: u64,
    /// Runs by kind and exit code.
    ended: BTreeMap<(&'static str, i32), u64>,
    resumed: u64,
    begun_anew: u64,
}

fn settings(under: &Path, count: &Path, (_, errno, mode, calls): Kind, at: u64) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("SHIM_UNDER", text(under).to_owned()),
        ("SHIM_COUNT", text(count).to_owned()),
        ("SHIM_ERRNO", errno.to_string()),
        ("SHIM_MODE", mode.to_owned()),
        ("SHIM_AT", at.to_string()),
    ];
    if !calls.is_empty() {
        settings.push(("SHIM_CALLS", calls.to_owned()));
    }
    settings
}

/// The counts that the shim left, by call.
fn counts(file: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let pair = |line: &str| line.split_once(' ').map(|(name, count)| (name.to_owned(), count.parse().unwrap()));
    text.lines().filter_map(pair).collect()
}

/// What a run with a fault in it must be like, whatever the fault: its exit code, or what is wrong with it.
fn is_defined(ran: &Ran, kind: Kind) -> Result<i32, String> {
    let code = ran.code.ok_or("it was killed")?;
    if ran.err.contains("panicked") {
        return Err("it panicked".to_owned());
    }
    if code == 0 {
        return Ok(code);
    }
    // The environment failed, so it is to be run again; damage, a bug or a refusal would be a wrong diagnosis.
    if code != 3 {
        return Err(format!("exit code {code}"));
    }
    let (errno, room) = match kind.1 {
        ENOSPC => ("No space left on device", "Make room on that disk"),
        _ => ("Input/output error", ""),
    };
    // Once RocksDB keeps to itself what the system said.
    let is_told = ran.err.contains(errno) && ran.err.contains(room) || ran.err.contains("RocksDB does not say why");
    for (is_so, what) in [
        (is_told, "what happened is not told"),
        (ran.err.contains("target"), "where is not told"),
        (ran.err.contains("Everything finished so far is recorded."), "what is safe is not told"),
        (ran.err.to_lowercase().contains("run the same command again"), "what to do is not told"),
    ] {
        if !is_so {
            return Err(what.to_owned());
        }
    }
    Ok(code)
}

/// Complains of everything at once.
#[track_caller]
fn judge(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}: {complaints:#?}", complaints.len());
}

/// Has calls of a command fail, one in each run, and carries every job on.
fn sweep(what: &str, kinds: &[Kind], begin: &dyn Fn(&Job), samples: u64, shim: &Path) -> Sweep {
    let mut random = Random::new(what);
    let (mut sweep, mut complaints) = (Sweep::default(), Vec::new());
    let mut made = BTreeMap::new();
    for &kind in kinds {
        let home = fresh();
        let count = home.path().join("count");
        let job = Job::of(SMALL.0, SMALL.1);
        begin(&job);
        let quiet = shimmed(shim, &job.args("run", &[]), &settings(&job.target(), &count, kind, 0));
        quiet.expect(0, &[]);
        let total: u64 = counts(&count).iter().filter(|(name, _)| *name != "failed").map(|(_, count)| count).sum();
        assert!(total > 20, "{:?}", counts(&count));
        made.insert(kind.0, total);
        let step = if is_everything() { 1 } else { (total / samples).max(1) };
        let offset = random.below(step);
        for at in (1 + offset..=total).step_by(step as usize) {
            let job = Job::of(SMALL.0, SMALL.1);
            begin(&job);
            let what = format!("{what}: {} at call {at} of {total}", kind.0);
            let _ = fs::remove_file(&count);
            let ran = shimmed(shim, &job.args("run", &[]), &settings(&job.target(), &count, kind, at));
            let failed = counts(&count).get("failed").copied().unwrap_or_else(|| panic!("{what}: {ran:#?}"));
            sweep.faults += failed;
            let code = is_defined(&ran, kind).unwrap_or_else(|why| {
                complaints.push(format!("{what}: {why}: {}", ran.err));
                ran.code.unwrap_or(-1)
            });
            *sweep.ended.entry((kind.0, code)).or_default() += 1;
            if code == 0 {
                // What failed was needed by nobody, or was not reached.
                job.dump().assert_same(&crate::helper::baseline(SMALL.0, SMALL.1), &what);
            } else {
                sweep.resumed += 1;
            }
            goes_on(&job, &what);
            // A manifest that could not be synced may name a table that RocksDB then removed: that target is lost, and begun anew.
            if job.status()["epoch"] != 1 {
                assert!(ran.err.contains("take over sorted") && ran.err.contains("MANIFEST"), "{what}: {ran:#?}");
                assert!(job.status()["epoch_reason"].as_str().unwrap().contains("could not be opened"), "{what}");
                sweep.begun_anew += 1;
            }
        }
    }
    let runs: u64 = sweep.ended.values().sum();
    println!(
        "{what}: {runs} runs, {} calls failed, {} resumed, {} of them begun anew; calls in a run {made:?}",
        sweep.faults, sweep.resumed, sweep.begun_anew
    );
    sweep.ended.iter().for_each(|((kind, code), runs)| println!("  {runs:>5}  {kind}: exit code {code}"));
    judge(&complaints);
    sweep
}

#[test]
fn whichever_call_of_a_new_job_fails_it_says_so_and_the_next_run_comes_to_the_same_target() {
    let Some(shim) = shim() else { return };
    let sweep = sweep("a new job whose N-th call fails", &KINDS, &|_| {}, 10, shim);
    assert!(sweep.resumed * 2 > sweep.ended.values().sum(), "{sweep:?}");
}

#[test]
fn whichever_call_of_a_job_that_is_half_done_fails_it_says_so_and_the_next_run_comes_to_the_same_target() {
    let Some(shim) = shim() else { return };
    let synced = Job::of(SMALL.0, SMALL.1);
    synced.run(&["--no-switch"]).expect(0, &[]);
    let sweep =
        sweep("a job in Syncing whose N-th call fails", &KINDS, &|job| copy(&synced.target(), &job.target()), 5, shim);
    assert!(sweep.resumed > 0, "{sweep:?}");
}

#[test]
fn whichever_call_of_an_abort_fails_the_next_one_finishes_it_and_another_job_can_begin() {
    let Some(shim) = shim() else { return };
    let template = born();
    let mut random = Random::new("an abort whose N-th call fails");
    let home = fresh();
    let count = home.path().join("count");
    let job = Job::of(SMALL.0, SMALL.1);
    copy(&template.target(), &job.target());
    shimmed(shim, &job.args("abort", &[]), &settings(&job.target(), &count, KINDS[0], 0)).expect(0, &[]);
    let total: u64 = counts(&count).values().sum();
    let step = if is_everything() { 1 } else { (total / 8).max(1) };
    let (mut runs, mut failed, mut complaints) = (0, 0, Vec::new());
    for kind in [KINDS[0], KINDS[1]] {
        for at in (1 + random.below(step)..=total).step_by(step as usize) {
            let job = Job::of(SMALL.0, SMALL.1);
            copy(&template.target(), &job.target());
            let what = format!("{} at call {at} of {total} of an abort", kind.0);
            let ran = shimmed(shim, &job.args("abort", &[]), &settings(&job.target(), &count, kind, at));
            runs += 1;
            let code = is_defined(&ran, kind).unwrap_or_else(|why| {
                complaints.push(format!("{what}: {why}: {}", ran.err));
                -1
            });
            if code != 0 {
                failed += 1;
                let again = job.command("abort", &[]);
                let is_gone = again.code == Some(4) && again.err.contains("there is no job here");
                assert!(again.code == Some(0) || is_gone, "{what}: {again:#?}");
            }
            for left in ["sc", "ss", "staging", "journal/journal.redb"] {
                assert!(!job.target().join(left).exists(), "{what}: {left} is left");
            }
            goes_on(&job, &what);
            is_whole(&job, &what);
        }
    }
    println!("an abort whose N-th call fails: {runs} runs of {total} calls each, {failed} failed and were finished");
    judge(&complaints);
    assert!(failed > 0);
}
