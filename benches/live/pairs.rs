//! Commits of a chain with and without a migration beside it: each run in a process of its own, on a copy of the same state.

use super::{
    blocks::{Chain, stream},
    closed::Closed,
    knobs::{Knobs, SWITCHED, WARM},
    pace::{Committed, Pace},
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use storeshift::{
    live::{Begin, Keeping, LiveStore, Places},
    root_store::{Options, Pruning, RootStore},
    target::rocks::EngineTuning,
};
use tracing_subscriber::layer::SubscriberExt;

/// Blocks after the state is filled, so that it has a history.
const GROWN: u64 = 60;
/// From one block to the next while the switch is waited for: at the pace above no version is applied sooner than the next one comes.
const SLOWER: Duration = Duration::from_millis(200);
/// Commits on store/v2 after the switch.
const AFTER: u64 = 20;

type Failure = Box<dyn std::error::Error>;

/// A commit of a run, as it is kept in a line.
#[derive(Clone, Debug)]
pub struct Sample {
    pub pair: u64,
    pub with: bool,
    /// From the first one that is measured.
    pub number: u64,
    pub milliseconds: f64,
    pub late: f64,
    /// What the migration was doing.
    pub phase: String,
    pub is_v2: bool,
}

impl Sample {
    pub fn read(line: &str) -> Option<Sample> {
        let words: Vec<&str> = line.split('\t').collect();
        let [pair, with, number, milliseconds, late, phase, layout] = words.as_slice() else { return None };
        Some(Sample {
            pair: pair.parse().ok()?,
            with: *with == "with",
            number: number.parse().ok()?,
            milliseconds: milliseconds.parse().ok()?,
            late: late.parse().ok()?,
            phase: (*phase).to_owned(),
            is_v2: *layout == "v2",
        })
    }
}

/// As a node with a state of this size would be given: what it reads often is in memory.
fn keeping() -> Keeping {
    let pruning = Pruning::Keep { recent: 50, interval: 10 };
    let engine = EngineTuning { cache: 512 << 20, write_buffer: 64 << 20, ..EngineTuning::default() };
    Keeping { store: Options { pruning, memory: 256 << 20, ..Options::default() }, engine }
}

fn v1(dir: &Path) -> PathBuf {
    dir.join("application.db")
}

/// The state that every run begins with, made once.
pub fn state(work: &Path, knobs: &Knobs) -> Result<PathBuf, Failure> {
    let chain = Chain { changes: 400, ..knobs.chain() };
    let dir = work.join(format!("state-{}-{}", chain.seed, chain.keys));
    if dir.join("whole").exists() {
        return Ok(dir);
    }
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    eprintln!("==> a state of about {} keys", chain.keys / 3 * 2);
    for height in 1..=chain.genesis {
        // Opened anew for each of them: no tree of millions of nodes stays in memory.
        let opened = RootStore::open_rootmulti(&v1(&dir), keeping().engine, Options::default())?;
        opened.commit(chain.block(height))?;
        opened.flush()?;
    }
    let opened = RootStore::open_rootmulti(&v1(&dir), keeping().engine, Options::default())?;
    for height in chain.genesis + 1..=chain.genesis + GROWN {
        opened.commit(chain.block(height))?;
    }
    opened.flush()?;
    // Compactions that are due come to their end, so that no run has them.
    let mut before = Vec::new();
    loop {
        let now = names(&v1(&dir))?;
        if now == before {
            break;
        }
        before = now;
        std::thread::sleep(Duration::from_secs(2));
    }
    drop(opened);
    fs::write(dir.join("whole"), "")?;
    Ok(dir)
}

fn names(dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names: Vec<_> = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// A database of its own with the same state: tables never change and are linked.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.extension().is_some_and(|extension| extension == "sst") {
            fs::hard_link(path, to)?;
        } else {
            fs::copy(path, to)?;
        }
    }
    Ok(())
}

/// One run in this process: prints what others used and for how many milliseconds the gate was closed, and its samples, in the order
/// of a [`Sample`]'s fields after `pair`.
pub fn run(dir: &Path, with: bool, switches: bool, knobs: &Knobs) -> Result<(), Failure> {
    let closed = Closed::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(closed.clone()))?;
    let chain = knobs.chain();
    let places = Places { v1: v1(dir), v2: dir.join("v2") };
    let mut store = LiveStore::open(&places, keeping(), None)?;
    let mut pace = Pace::new(knobs.pace());
    for _ in 0..WARM {
        pace.commit(&store, &chain)?;
    }
    if with {
        store.migrate(Begin { switch: false, ..Begin::new() })?;
    }
    let mut taken = Vec::new();
    let (ticks, began) = (others(), Instant::now());
    for _ in 0..knobs.commits {
        let committed = pace.commit(&store, &chain)?;
        taken.push((committed, phase(&store)));
    }
    // The kernel counts a hundredth of a second as a tick.
    let others = others().saturating_sub(ticks) as f64 / 100.0 / began.elapsed().as_secs_f64();
    if with {
        store.switch(switches);
        if !store.is_migrating() {
            return Err(format!("the migration ended: {:?}", store.wait()).into());
        }
        let mut pace = Pace::new(SLOWER);
        let mut after = if switches { 0 } else { AFTER };
        while after < AFTER {
            if taken.len() as u64 > 20 * knobs.commits {
                return Err(format!("it never switched: {:?}", store.status()).into());
            }
            let committed = pace.commit(&store, &chain)?;
            after += u64::from(committed.is_v2);
            if !committed.is_v2 && !store.is_migrating() && store.source().is_some() {
                return Err(format!("the migration ended: {:?}", store.wait()).into());
            }
            taken.push((committed, phase(&store)));
        }
    }
    drop(store);
    let mut out = io::stdout().lock();
    let closed = closed.last().map_or(f64::NAN, |closed| closed.as_secs_f64() * 1e3);
    writeln!(out, "{others:.3}\t{closed:.3}")?;
    for (number, (Committed { latency, late, is_v2, .. }, phase)) in taken.iter().enumerate() {
        let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
        let (latency, late) = (milliseconds(latency), milliseconds(late));
        let (side, layout) = (if with { "with" } else { "without" }, if *is_v2 { "v2" } else { "v1" });
        writeln!(out, "{side}\t{number}\t{latency:.3}\t{late:.3}\t{phase}\t{layout}")?;
    }
    Ok(())
}

/// Ticks that the machine's cores have been at work, or kept from it by another machine, for anybody but this process.
fn others() -> u64 {
    let numbers = |text: String| text.split(' ').map(|word| word.parse().unwrap_or(0)).collect::<Vec<u64>>();
    let all = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu, nothing, user, nice, system, idle, waiting, interrupts twice, stolen
    let all = numbers(all.lines().next().unwrap_or_default().to_owned());
    let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own = numbers(own.rsplit_once(") ").map_or(String::new(), |(_, rest)| rest.to_owned()));
    let sum = |of: &[u64], at: &[usize]| at.iter().map(|at| of.get(*at).copied().unwrap_or(0)).sum::<u64>();
    sum(&all, &[2, 3, 4, 7, 8, 9]).saturating_sub(sum(&own, &[11, 12]))
}

fn phase(store: &LiveStore) -> String {
    store.status().map_or("none".to_owned(), |status| {
        let yields = status.wait.is_some();
        if yields { format!("{} (waiting)", status.phase) } else { status.phase }
    })
}

/// A pair of runs in random order; returns their samples as lines, how many cores others have used meanwhile, on average, and for how
/// many milliseconds the gate was closed, if there was a switch.
pub fn pair(work: &Path, state: &Path, knobs: &Knobs, number: u64) -> Result<(String, [f64; 2], Option<f64>), Failure> {
    let first_with = stream(&[knobs.seed, 0xab, number])().is_multiple_of(2);
    let (mut lines, mut disturbed, mut closed) = (String::new(), [0.0; 2], None);
    for with in [first_with, !first_with] {
        let dir = work.join("run");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        copy(&v1(state), &v1(&dir))?;
        // What was written for the copy, and for the run before, is not this run's.
        rustix::fs::sync();
        let mut command = Command::new(std::env::current_exe()?);
        let side = if !with {
            "without"
        } else if number.is_multiple_of(SWITCHED) {
            "switching"
        } else {
            "with"
        };
        command.arg("run").arg(&dir).arg(side).args(knobs.args());
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("a run {} failed", if with { "with" } else { "without" }).into());
        }
        let output = String::from_utf8(output.stdout)?;
        let (first, output) = output.split_once('\n').ok_or("a run without a word")?;
        let (others, gate) = first.split_once('\t').ok_or("a run that did not say what others did")?;
        disturbed[usize::from(with)] = others.parse()?;
        closed = closed.or(gate.parse().ok().filter(|gate: &f64| gate.is_finite()));
        for line in output.lines() {
            lines.push_str(&format!("{number}\t{line}\n"));
        }
        fs::remove_dir_all(&dir)?;
    }
    Ok((lines, disturbed, closed))
}
