//! `storeshift switch`: puts a request beside the journal, and tells how it goes until it is carried out or void.

use super::{args::SwitchArgs, report};
use crate::{
    error::Error,
    journal::{Journal, Lock, SwitchRequest, status},
    migrator::Status,
    target::Place,
};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Between two looks at how it goes.
const LOOK: Duration = Duration::from_millis(200);

pub fn run(args: &SwitchArgs) -> Result<(), Error> {
    let (target, _, _) = args.target.resolve()?;
    let journal = Place::new(&target).journal();
    if !Journal::exists(&journal) {
        return Err(super::commands::no_job(&target));
    }
    let status: Option<Status> = status::read(&journal);
    if status.as_ref().is_some_and(|status| status.phase == "Done") {
        report::switch_line("store/v2 is the store of record already: there is nothing to switch");
        return Ok(());
    }
    if args.cancel {
        let asked = !matches!(SwitchRequest::read(&journal), Ok(None));
        SwitchRequest::remove(&journal)?;
        let is_switching = status.is_some_and(|status| status.phase == "Switching") && Lock::is_taken(&journal);
        let said = match () {
            () if is_switching => {
                "the request to switch is taken back, but the switch is under way: see `storeshift status`"
            }
            () if asked => "the request to switch is taken back",
            () => "no switch was asked for",
        };
        report::switch_line(said);
        return Ok(());
    }
    let applied = status.as_ref().and_then(|status| status.applied);
    if let (Some(height), Some(applied)) = (args.at_height, applied)
        && applied > height
    {
        return Err(Error::Blocked {
            what: format!("version {applied} is applied already, which is beyond {height}"),
            advice:
                "Nothing was asked for. Choose a height that the node has not reached yet, with a few minutes to spare."
                    .to_owned(),
        });
    }
    let asked = now();
    let mut request = SwitchRequest::new(asked, args.at_height);
    request.max_pause = args.max_pause;
    request.deadline = args.within.map(|seconds| asked.saturating_add(seconds));
    request.write(&journal)?;
    if !Lock::is_taken(&journal) {
        return Err(not_running(status.as_ref()));
    }
    report::switch_line("asked: the job makes ready for the switch");
    if args.no_wait { Ok(()) } else { follow(&journal, &request) }
}

/// As a plan or `run --switch-at` asks, unless somebody has asked before.
pub fn ask_from_the_start(journal: &Path, height: u64) -> Result<(), Error> {
    if SwitchRequest::read(journal)?.is_none() {
        SwitchRequest::new(now(), Some(height)).write(journal)?;
    }
    Ok(())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn not_running(status: Option<&Status>) -> Error {
    let again = status.map_or("`storeshift run`".to_owned(), |status| {
        format!("`storeshift run --source {} --target {}`", status.source, status.target)
    });
    Error::Blocked {
        what: "no run works on this job now".to_owned(),
        advice: format!(
            "The request is kept. Start {again}, with the options it was begun with: it carries the switch out."
        ),
    }
}

/// Tells what changes until the request is carried out, void or taken back.
fn follow(journal: &Path, asked: &SwitchRequest) -> Result<(), Error> {
    let mut said = String::new();
    loop {
        // In this order: a run that ends writes its status first.
        let running = Lock::is_taken(journal);
        let status: Option<Status> = status::read(journal);
        if let Some(status) = &status {
            if status.phase == "Done" {
                report::switch_line(&status.summary);
                report::switch_line(report::AFTER);
                return Ok(());
            }
            if status.phase == "Halted" {
                return Err(Error::Blocked {
                    what: status.summary.clone(),
                    advice:
                        "The chain stays on store/v1: the node may be started again. Then look at `storeshift status`."
                            .to_owned(),
                });
            }
        }
        match SwitchRequest::read(journal)?.filter(|request| request.asked == asked.asked) {
            Some(request) if request.is_open() => {}
            // It is also gone when the switch was carried out, and the status follows in a moment.
            None if running && status.as_ref().is_some_and(|status| status.phase == "Switching") => {}
            None if running && SwitchRequest::read(journal)?.is_none() && finishing(journal) => {}
            None => {
                return Err(Error::Blocked {
                    what: "the request was taken back, or another one was made".to_owned(),
                    advice: "The chain stays on store/v1, and is followed as before.".to_owned(),
                });
            }
            Some(request) => {
                return Err(Error::Blocked {
                    what: request.failure.unwrap_or_default(),
                    advice: "The chain stays on store/v1: start the node again if it is stopped. It is followed as before; ask \
                             again when it suits."
                        .to_owned(),
                });
            }
        }
        if !running {
            return Err(not_running(status.as_ref()));
        }
        let words = status.as_ref().and_then(report::switch_words).unwrap_or_default();
        if words != said && !words.is_empty() {
            report::switch_line(&words);
            said = words;
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the job comes to its end within a moment: its request is removed just after the flip.
fn finishing(journal: &Path) -> bool {
    (0..25).any(|_| {
        std::thread::sleep(LOOK);
        status::read::<Status>(journal).is_some_and(|status| status.phase == "Done")
    })
}
