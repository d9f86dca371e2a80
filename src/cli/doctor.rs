//! The command `doctor`: examines a database, shows progress, and ends in a report and an exit code.

use super::{args::DoctorArgs, commands::watched, diagnosis, report};
use crate::{
    doctor::{self, Interrupted, Report, Scope, Watch},
    error::Error,
    migrator,
    model::Version,
    progress::Stop,
    source,
};
use std::sync::Arc;

pub fn run(args: &DoctorArgs) -> Result<(), Error> {
    let tuning = args.tuning()?;
    let scope = Scope { at: args.at.map(Version), latest_only: args.latest_only };
    let checkpoint = args.checkpoint.as_ref();
    let held = checkpoint.map(|directory| migrator::checkpoint_in(&args.source, directory, tuning)).transpose()?;
    let path = held.as_ref().map_or(args.source.as_path(), |(path, _)| path.as_path());
    let source = match source::open(path, doctor::source_cache(tuning)) {
        Ok(source) => source,
        Err(error) if error.is_corruption() => return print(&doctor::unopened(&error), args),
        Err(error) => return Err(error.into()),
    };
    let (watch, stop) = (Arc::new(Watch::default()), Stop::default());
    let (seen, asked) = (Arc::clone(&watch), stop.clone());
    let examining = move || doctor::examine(source.as_ref(), scope, tuning, &seen, &asked);
    let report = watched(examining, &stop, |bar| bar.show_examining(watch.standing()))?;
    print(&report.map_err(interrupted)?, args)
}

fn print(report: &Report, args: &DoctorArgs) -> Result<(), Error> {
    if args.json {
        report::json(report);
    } else {
        diagnosis::print(report, &args.source);
    }
    if report.sound { Ok(()) } else { Err(Error::Diagnosed(report.verdict.clone())) }
}

fn interrupted(why: Interrupted) -> Error {
    match why {
        Interrupted::Stopped => Error::Stopped("nothing was written; nothing is kept of an examination".to_owned()),
        Interrupted::Source(error) => Error::Source(error),
        Interrupted::Read(error) => Error::Stopped(format!("the source could not be read: {error}")),
        Interrupted::NoSuchVersion { .. } => Error::Blocked {
            what: why.to_string(),
            advice: "Nothing was written. Give a version that the database has, or none.".to_owned(),
        },
    }
}
