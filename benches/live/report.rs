//! The tables, in Markdown.

use super::{
    knobs::{Knobs, WARM},
    pairs::Sample,
    series::{Switch, Taken},
    statistics::{Added, quantile, sorted},
    trial::Met,
};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

/// What was measured, as a page.
pub fn write(knobs: &Knobs, taken: &Taken, root: &Path) -> String {
    let mut page = String::new();
    head(&mut page, knobs, taken, root);
    let syncs = sorted(taken.syncs.iter().copied());
    disk(&mut page, &syncs);
    if !taken.samples.is_empty() {
        commits(&mut page, knobs, taken);
    }
    pauses(&mut page, taken, quantile(&syncs, 0.5));
    switches(&mut page, &taken.switches);
    speed(&mut page, root);
    page
}

fn head(page: &mut String, knobs: &Knobs, taken: &Taken, root: &Path) {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    let machine = format!(
        "{cores} cores, {}, {} GiB, Linux {}",
        field("/proc/cpuinfo", "model name"),
        (memory + (1 << 19)) >> 20,
        said("uname", &["-r"])
    );
    let engine = match option_env!("ROCKSDB_LIB_DIR") {
        Some(_) => "a shared library built before (`ROCKSDB_LIB_DIR`), slower than one built with this program",
        None => "built from source with this program",
    };
    let all = knobs.args().join(" ");
    let _ = write!(
        page,
        "# Live figures\n\n\
         Written by `make bench-live` ([live](live)); do not edit. Times are milliseconds.\n\n\
         - When: {}; load (1, 5, 15 minutes) at the begin and end of each piece: {}\n\
         - Machine: {machine}\n\
         - Commit: {}\n\
         - Command: `make bench-live`, that is `cargo bench --locked --bench live -- {all}`\n\
         - RocksDB: {engine}\n\
         - A commit is due at fixed times, whether or not the last one is done, and what it takes counts from when it was due.\n\n",
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        taken.loads.join("; "),
        said("git", &["describe", "--always", "--dirty"]),
    );
}

fn disk(page: &mut String, syncs: &[f64]) {
    let _ = write!(
        page,
        "## The disk\n\n4 KiB written over and synced (`fdatasync`) in the same file system, between the runs below.\n\n\
         | syncs | p50 | p99 | max |\n| --- | --- | --- | --- |\n| {} | {:.2} | {:.2} | {:.2} |\n\n",
        syncs.len(),
        quantile(syncs, 0.5),
        quantile(syncs, 0.99),
        quantile(syncs, 1.0)
    );
}

fn commits(page: &mut String, knobs: &Knobs, taken: &Taken) {
    let mut pairs: BTreeMap<u64, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    let mut late = (Vec::new(), Vec::new());
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in taken.samples.iter().filter(|sample| sample.number < knobs.commits) {
        let pair = pairs.entry(sample.pair).or_default();
        let (side, late) = if sample.with { (&mut pair.1, &mut late.1) } else { (&mut pair.0, &mut late.0) };
        side.push(sample.milliseconds);
        late.push(sample.late);
        if sample.with {
            *phases.entry(&sample.phase).or_default() += 1;
        }
    }
    let pairs: Vec<_> = pairs.into_values().collect();
    let _ = write!(
        page,
        "## Commits beside a migration\n\n\
         {} pairs of runs, each pair in random order and each run in a process of its own on a copy of the same state: {} stores, about {} keys,\n\
         RocksDB, pruned (the newest 50 versions are kept), made by seed {}. A block changes {} pairs; one is due every {} ms; {WARM} are committed, the migration is\n\
         begun with every default, and then {} are measured. So there are {} commits of each kind. The interval has 19 of 20 differences when\n\
         the pairs are drawn again. Other processes used {:.2} of a core on average during a run without, and {:.2} during one with a migration.\n\n\
         |  | without | with a migration | added | interval |\n| --- | --- | --- | --- | --- |\n",
        pairs.len(),
        knobs.chain().stores,
        knobs.chain().keys / 3 * 2,
        knobs.seed,
        knobs.changes,
        knobs.every,
        knobs.commits,
        pairs.iter().map(|pair| pair.1.len()).sum::<usize>(),
        mean(&mut taken.disturbed.iter().map(|cores| cores.0)),
        mean(&mut taken.disturbed.iter().map(|cores| cores.1)),
    );
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let added = Added::of(&pairs, share, knobs.seed);
        let (from, to) = added.interval;
        let (without, with, more) = (added.without, added.with, added.added());
        let _ = writeln!(
            page,
            "| {name} | {without:.2} | {with:.2} | {more:+.2} ({:+.0} %) | {from:+.2} to {to:+.2} |",
            more / without * 100.0
        );
    }
    let p99 = Added::of(&pairs, 0.99, knobs.seed);
    let target = f64::max(1.0, p99.without * 0.05);
    let verdict = match p99.interval {
        (_, to) if to <= target => "met",
        (from, _) if from > target => "missed",
        _ => "not told, the interval is too wide",
    };
    let busy = taken.disturbed.iter().filter(|cores| cores.0.max(cores.1) > BUSY).count();
    if busy > 0 {
        let _ = write!(
            page,
            "\n**In {busy} of {} pairs others used more than {BUSY} of a core: this machine was not quiet, and the figures say little.**\n",
            taken.disturbed.len()
        );
    }
    let total = phases.values().sum::<usize>().max(1);
    let phases: Vec<String> =
        phases.iter().map(|(phase, count)| format!("{phase} {} %", count * 100 / total)).collect();
    let begun = |late: Vec<f64>| quantile(&sorted(late), 0.99);
    let _ = write!(
        page,
        "\nTarget for p99: +1 ms or +5 %, here {target:.2} ms: **{verdict}**. What the migration was doing at these commits: {}. A commit was begun\n\
         later than due, 99th percentile: {:.2} without, {:.2} with.\n\n",
        phases.join(", "),
        begun(late.0),
        begun(late.1),
    );
}

/// Cores used by others that a run on a quiet machine may see.
const BUSY: f64 = 0.2;

fn mean(numbers: &mut dyn Iterator<Item = f64>) -> f64 {
    let (count, sum) = numbers.fold((0.0, 0.0), |(count, sum), number| (count + 1.0, sum + number));
    sum / f64::max(count, 1.0)
}

/// What a switching commit took, and one before usually.
type Pause = (f64, f64);

fn pauses(page: &mut String, taken: &Taken, sync: f64) {
    let mut runs: BTreeMap<u64, Vec<&Sample>> = BTreeMap::new();
    for sample in taken.samples.iter().filter(|sample| sample.with) {
        runs.entry(sample.pair).or_default().push(sample);
    }
    let large: Vec<Pause> = runs
        .values()
        .filter_map(|run| {
            let at = run.iter().position(|sample| sample.is_v2)?;
            let before = run.get(at.saturating_sub(100)..at)?.iter().map(|sample| sample.milliseconds);
            Some((run.get(at)?.milliseconds, quantile(&sorted(before), 0.5)))
        })
        .collect();
    let unharmed = taken.switches.iter().flatten().filter(|switch| switch.met.is_none());
    let small: Vec<Pause> = unharmed.map(|switch| (switch.pause, switch.usual)).collect();
    let target = 2.0 * sync + 1.0;
    let _ = write!(
        page,
        "## The commit that switches\n\n\
         The first commit that is on store/v2: from when it was due, and what that is above the median of the commits before it. Target: two syncs\n\
         and 1 ms above, here 2 × {sync:.2} + 1 = {target:.2}.\n\n\
         |  | switches | commits before, p50 | switching, p50 | p99 | max | above: p50 | p90 | p99 | max | within the target |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let all = [("the chain above", &large), ("small chains, see below", &small)];
    for (name, pauses) in all {
        let usual = sorted(pauses.iter().map(|pause| pause.1));
        let whole = sorted(pauses.iter().map(|pause| pause.0));
        let above = sorted(pauses.iter().map(|pause| pause.0 - pause.1));
        let within = above.iter().filter(|above| **above <= target).count() * 100 / above.len().max(1);
        let q = quantile;
        let _ = writeln!(
            page,
            "| {name} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {within} % |",
            whole.len(),
            q(&usual, 0.5),
            q(&whole, 0.5),
            q(&whole, 0.99),
            q(&whole, 1.0),
            q(&above, 0.5),
            q(&above, 0.9),
            q(&above, 0.99),
            q(&above, 1.0)
        );
    }
    let closed = sorted(taken.closed.iter().copied());
    if !closed.is_empty() {
        let (p50, most) = (quantile(&closed, 0.5), quantile(&closed, 1.0));
        let _ = write!(
            page,
            "\nFor the switch of the chain above commits were held back for {p50:.2} (p50), at most {most:.2}; one that came meanwhile waited for\n\
             the rest of that.\n"
        );
    }
    for (name, pauses) in all {
        let above = sorted(pauses.iter().map(|pause| pause.0 - pause.1));
        let listed: Vec<String> = above.iter().map(|above| format!("{above:.1}")).collect();
        let _ = write!(page, "\nEvery sample above, {name}: {}\n", wrapped(&listed));
    }
    page.push('\n');
}

fn wrapped(words: &[String]) -> String {
    words.chunks(24).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n")
}

fn switches(page: &mut String, all: &[Result<Switch, String>]) {
    let done: Vec<&Switch> = all.iter().flatten().collect();
    let count = |met| done.iter().filter(|switch| switch.met == Some(met)).count();
    let killed = done.iter().filter(|switch| switch.met.is_some()).count();
    let _ = write!(
        page,
        "## Switches under load\n\n\
         Small chains (about 2000 keys, 100 changes a block, a block due every 15 ms), each in a process of its own, which says each commit through a\n\
         pipe before it makes the next one. Some are killed (`SIGKILL`) at a random moment after they have asked for the switch, and started again.\n\
         Then the chain has to stand at the last commit that was said or at the one in flight; every app hash, and all pairs at two heights after the\n\
         switch, have to be those of a chain that never migrated. Where a kill met is what the journal says.\n\n\
         | switches | killed | of them before it was begun | inside | decided, not yet said | after | newest commit in flight and there | commits compared | lost, doubled, refused or wrong |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n\
         | {} | {killed} | {} | {} | {} | {} | {} | {} | {} |\n\n",
        all.len(),
        count(Met::Before),
        count(Met::Inside),
        count(Met::Decided),
        count(Met::After),
        done.iter().filter(|switch| switch.in_flight).count(),
        done.iter().map(|switch| switch.commits).sum::<u64>(),
        all.len() - done.len(),
    );
    let took = sorted(done.iter().filter(|switch| switch.met.is_none()).map(|switch| switch.took));
    if !took.is_empty() {
        let (p50, p99) = (quantile(&took, 0.5), quantile(&took, 0.99));
        let _ = write!(
            page,
            "From the request to the first commit on store/v2, not killed: p50 {p50:.1}, p99 {p99:.1}.\n\n"
        );
    }
    for failed in all.iter().filter_map(|switch| switch.as_ref().err()) {
        let _ = writeln!(page, "- {failed}");
    }
}

/// The rows of `make bench`, which measures it.
fn speed(page: &mut String, root: &Path) {
    let results = fs::read_to_string(root.join("benches/RESULTS.md")).unwrap_or_default();
    let line = |start: &str| results.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    let (when, commit) =
        (line("- When: ").trim_start_matches("- When: "), line("- Commit: ").trim_start_matches("- Commit: "));
    let mut rows = String::new();
    let mut is_there = false;
    for row in results.lines() {
        if row.starts_with("## ") {
            is_there = row == "## Later versions";
        }
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, set, who, _, _, speed, wall, _, ..] = cells.as_slice() else { continue };
        if is_there && (*who == "Go, SC only" || *who == "storeshift, SC and SS") {
            let _ = writeln!(rows, "| {set} | {who} | {speed} | {wall} |");
        }
    }
    let _ = write!(
        page,
        "## Following\n\n\
         Versions per second beside the Go manager on the same changes, as `make bench` has measured it (commit {commit}, {when}):\n\
         [RESULTS.md](RESULTS.md) has the sets and what else there is to say.\n\n\
         | set |  | versions/s | wall ns/change |\n| --- | --- | --- | --- |\n{rows}"
    );
}
