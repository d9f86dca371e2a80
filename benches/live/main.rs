//! The live figures: what a migration beside it adds to a chain's commits, how long the commit that switches takes, how fast versions
//! are followed, and a thousand switches under load, many of them killed. `make bench-live` runs it and writes `benches/LIVE.md`.
//!
//!     cargo bench --locked --bench live -- [--KNOB NUMBER]...
//!
//! Raw samples are kept in `$CARGO_TARGET_DIR/bench/live`.

mod blocks;
mod closed;
mod disk;
mod kill;
mod knobs;
mod node;
mod pace;
mod pairs;
mod report;
mod series;
mod statistics;
mod switches;
mod trial;

use kill::Kill;
use knobs::Knobs;
use series::Series;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match begin(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("live: {error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(args: &[String]) -> Result<bool, Failure> {
    match args {
        // What this program starts itself as.
        [run, dir, side, knobs @ ..] if run == "run" => {
            pairs::run(Path::new(dir), side != "without", side == "switching", &Knobs::read(knobs)?)?;
            Ok(true)
        }
        [node, dir, seed, kill @ ..] if node == "node" => {
            let kill = kill.first().and_then(|kill| Kill::read(kill));
            node::node(Path::new(dir), seed.parse()?, kill, &mut std::io::stdout())?;
            Ok(true)
        }
        [help] if help == "--help" => {
            println!("knobs, and what they are without being set:\n{}", Knobs::help());
            Ok(true)
        }
        knobs => measure(&Knobs::read(knobs)?),
    }
}

/// Whether nothing was lost.
fn measure(knobs: &Knobs) -> Result<bool, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let work = target.join("bench/live");
    std::fs::create_dir_all(&work)?;
    let series = Series::open(&work, knobs)?;
    let until = Instant::now() + Duration::from_secs(knobs.minutes * 60);
    let state = if knobs.pairs > 0 { Some(pairs::state(&work, knobs)?) } else { None };
    series.load("begin")?;
    while let (Some(state), done) = (&state, series.pairs_done()?)
        && done < knobs.pairs
        && Instant::now() < until
    {
        eprintln!("==> pair {} of {}", done + 1, knobs.pairs);
        series.add_syncs(&disk::syncs(&work, 25)?)?;
        let (lines, disturbed, closed) = pairs::pair(&work, state, knobs, done)?;
        series.add_disturbed(disturbed)?;
        series.add_closed(closed)?;
        series.add_pair(&lines)?;
    }
    let mut twins = switches::Twins::default();
    for number in series.switches_done()?..knobs.switches {
        if Instant::now() > until || series.pairs_done()? < knobs.pairs {
            break;
        }
        if number % 100 == 0 {
            eprintln!("==> switch {} of {}", number + 1, knobs.switches);
        }
        series.add_switch(&switches::switch(&work, knobs, number, &mut twins))?;
    }
    series.load("end")?;
    let taken = series.read()?;
    let report = report::write(knobs, &taken, root);
    println!("{report}");
    if series.is_whole()? {
        std::fs::write(root.join("benches/LIVE.md"), &report)?;
    } else {
        eprintln!("not whole yet: benches/LIVE.md is written when it is; run it again with the same knobs");
    }
    Ok(taken.switches.iter().all(Result::is_ok))
}
