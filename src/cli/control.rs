//! Commands that steer a job, whether it runs or not: `pause`, `resume` and `limit`. They write the control file; a run that is there
//! does what it says within a moment, and later ones do so from their start.

use super::{
    args::TargetArgs,
    report::{self, bytes, duration},
};
use crate::{
    error::Error,
    journal::{
        Journal, Lock,
        control::{self, Control, ControlError},
        status,
    },
    migrator::Status,
    plan::{PlanError, Yielding, mib_per_second},
    target::Place,
};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

pub const LIMIT_HELP: &str = "\
Without options the limits are shown. What is given here stays until it is set to `default`, over
restarts, and counts more than the options of a run.

Examples:
  storeshift limit --target ~/.app/data/v2 --mib-per-second 20
  storeshift limit --target ~/.app/data/v2 --workers 1 --yield strict
  storeshift limit --target ~/.app/data/v2 --mib-per-second none --workers default --yield default";

#[derive(Debug, ClapArgs)]
pub struct LimitArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// MiB that are read and written together in a second; none, or default: what the run was started with
    #[arg(long, value_name = "N")]
    mib_per_second: Option<String>,
    /// Chunks in work at the same time, at most as many as the run was started with; or default
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// When to yield to a node: auto, strict, off; or default
    #[arg(long = "yield", value_name = "WHEN")]
    yielding: Option<String>,
    /// Print JSON; names are stable
    #[arg(long)]
    json: bool,
}

/// What an operator asked, as commands and `status` show it.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// The control file, unless it counts for nothing.
    #[serde(flatten)]
    control: Control,
    /// Whether the pause file is there.
    pause_file: bool,
    /// Why something counts for nothing.
    ignored: Vec<String>,
    #[serde(skip)]
    target: String,
}

impl Asked {
    pub fn read(target: &Path) -> Asked {
        let (control, file) = (control::read(&Place::new(target).journal()), control::has_pause_file(target));
        let ignored = [control.as_ref().err(), file.as_ref().err()];
        Asked {
            ignored: ignored.into_iter().flatten().map(ToString::to_string).collect(),
            control: control.unwrap_or_else(|_| Control::new()),
            pause_file: file.unwrap_or(false),
            target: target.display().to_string(),
        }
    }

    /// What a run, or somebody who looks at a job, should know of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Control { paused, paused_since, bytes_per_second, workers, yielding, .. } = &self.control;
        if *paused {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            let ago =
                paused_since.map_or(String::new(), |at| format!(" {} ago", duration(now.saturating_sub(at) as f64)));
            lines.push(format!("paused{ago}: `storeshift resume --target {}` lets it go on", self.target));
        }
        if self.pause_file {
            lines.push(format!("paused by {}/{}: removing it lets it go on", self.target, control::PAUSE_FILE));
        }
        match bytes_per_second {
            Some(0) => lines.push("no limit on bytes, whatever a run is started with".to_owned()),
            Some(limit) => lines.push(format!("at most {}/s are read and written", bytes(*limit))),
            None => {}
        }
        lines.extend(workers.map(|workers| format!("at most {workers} chunks in work at the same time")));
        lines.extend(yielding.map(|yielding| format!("yields to a node: {yielding}")));
        lines.extend(self.ignored.iter().map(|why| format!("ignored: {why}")));
        lines
    }
}

pub fn pause(args: &TargetArgs) -> Result<(), Error> {
    let (target, is_running) = job(args)?;
    let status: Option<Status> = status::read(&Place::new(&target).journal());
    if status.is_some_and(|status| status.phase == "Done") {
        println!("store/v2 is the store of record already: there is nothing to pause.");
        return Ok(());
    }
    change(&target, Control::pause)?;
    if is_running {
        println!("Pausing. What is in work is finished first; `storeshift status` tells when that is done.");
    } else {
        println!("Paused. It is not running; a run will wait from its start.");
    }
    println!("`storeshift resume --target {}` lets it go on.", target.display());
    Ok(())
}

pub fn resume(args: &TargetArgs) -> Result<(), Error> {
    let (target, is_running) = job(args)?;
    change(&target, Control::resume)?;
    // Of a file that does not count its owner should know, but it pauses nothing.
    if control::has_pause_file(&target).unwrap_or(false) {
        println!(
            "Not paused by a command any more. {} is there still, and pauses it until it is removed.",
            target.join(control::PAUSE_FILE).display()
        );
    } else if is_running {
        println!("It goes on.");
    } else {
        println!("Not paused any more. It is not running: run the same `storeshift run` again to continue.");
    }
    Ok(())
}

pub fn limit(args: &LimitArgs) -> Result<(), Error> {
    let rate = args.mib_per_second.as_deref().map(|word| match word {
        "none" => Ok(Some(0)),
        "default" => Ok(None),
        mib => number(mib, "--mib-per-second", 1..=1 << 40).map(|mib| Some(mib_per_second(mib).unwrap_or(0))),
    });
    let workers = args.workers.as_deref().map(|word| match word {
        "default" => Ok(None),
        workers => number(workers, "--workers", 1..=64).map(|workers| Some(workers as usize)),
    });
    let yielding = args.yielding.as_deref().map(|word| match word {
        "default" => Ok(None),
        word => word.parse::<Yielding>().map(Some),
    });
    let (rate, workers, yielding) = (rate.transpose()?, workers.transpose()?, yielding.transpose()?);
    let (target, is_running) = job(&args.target)?;
    let is_change = rate.is_some() || workers.is_some() || yielding.is_some();
    if is_change {
        change(&target, |control| {
            control.bytes_per_second = rate.unwrap_or(control.bytes_per_second);
            control.workers = workers.unwrap_or(control.workers);
            control.yielding = yielding.unwrap_or(control.yielding);
        })?;
    }
    let asked = Asked::read(&target);
    if args.json {
        report::json(&asked);
        return Ok(());
    }
    let lines = asked.lines();
    if lines.is_empty() {
        println!("Nothing is limited by a command; what the run was started with holds.");
    }
    lines.iter().for_each(|line| println!("{line}"));
    if is_change && is_running {
        println!("It holds from the next unit of work on.");
    }
    Ok(())
}

fn number(word: &str, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, PlanError> {
    let (least, most) = (*range.start(), *range.end());
    let wrong =
        || PlanError::Value(format!("{name} is {word:?}, it must be {least} to {most}, or a word that `--help` shows"));
    word.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
}

/// The target of a job, and whether it runs.
fn job(args: &TargetArgs) -> Result<(std::path::PathBuf, bool), Error> {
    let (target, _, _) = args.resolve()?;
    let journal = Place::new(&target).journal();
    let is_running = Lock::is_taken(&journal);
    if !is_running && !Journal::exists(&journal) {
        return Err(Error::Blocked {
            what: format!("{}: there is no job here (no journal/journal.redb)", target.display()),
            advice: "Nothing was changed. Give the directory that was the --target of `storeshift run`.".to_owned(),
        });
    }
    Ok((target, is_running))
}

fn change(target: &Path, change: impl FnOnce(&mut Control)) -> Result<(), Error> {
    let journal = Place::new(target).journal();
    control::change(&journal, change).map(drop).map_err(|error| {
        let advice = match &error {
            ControlError::Foreign { path, .. } => format!(
                "Nothing was changed, and what is asked there counts for nothing. Work as the user the migration runs as, and \
                 see that {} belongs to that user, with `chmod go-w`; what it asks may not be yours.",
                path.display()
            ),
            ControlError::Unreadable { path, .. } => {
                format!("Nothing was changed, and what it asks counts for nothing. Remove {} and try again.", path.display())
            }
            ControlError::Io { .. } => "Nothing was changed. Work as the user the migration runs as.".to_owned(),
        };
        Error::Blocked { what: error.to_string(), advice }
    })
}
