//! Runs of the test programs, with a bug chosen or without, and what is made of how they end.

use super::{bugs::Bug, copy::Programs};
use std::{
    fmt, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub struct Runs {
    programs: Programs,
    scratch: TempDir,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Passed {
        tests: usize,
    },
    Failed {
        test: String,
    },
    /// The program itself came to an end before its tests did.
    Died {
        how: String,
    },
    Hung,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub end: End,
    took: Duration,
    /// Whether the bug was come to.
    reached: bool,
}

/// What became of one bug.
pub struct Verdict {
    name: String,
    runs: Vec<(String, Run)>,
}

pub fn is_of_library(filter: &str) -> bool {
    filter.starts_with("lib ")
}

impl Runs {
    pub fn new(programs: Programs, scratch: TempDir) -> Runs {
        Runs { programs, scratch }
    }

    /// Runs the tests of a filter until one fails.
    pub fn run(&self, filter: &str, bug: Option<&Bug>, patience: Duration) -> Run {
        let (program, filter) = match filter.strip_prefix("lib ") {
            Some(filter) => (self.programs.library.as_ref().unwrap(), filter),
            None => (&self.programs.memory, filter),
        };
        let reached = self.scratch.path().join(bug.map_or("none", |bug| &bug.name));
        let _ = fs::remove_file(&reached);
        // Whoever is ended early leaves its files here.
        let files = tempfile::tempdir_in(self.scratch.path()).unwrap();
        let mut command = Command::new(program);
        command
            .arg(filter)
            .current_dir(&self.programs.directory)
            .env_remove("STORESHIFT_PROOF")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env("TMPDIR", files.path())
            .env("STORESHIFT_PLANTED_REACHED", &reached)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        match bug {
            Some(bug) => command.env("STORESHIFT_PLANTED", &bug.name),
            None => command.env_remove("STORESHIFT_PLANTED"),
        };
        let began = Instant::now();
        let end = watch(command.spawn().unwrap(), patience);
        Run { end, took: began.elapsed(), reached: reached.exists() }
    }

    /// Whether a bug is caught, and by what.
    pub fn judge(&self, bug: &Bug, patience: Duration) -> Verdict {
        let mut runs = Vec::new();
        for filter in &bug.by {
            let run = self.run(filter, Some(bug), patience);
            let caught = run.catches();
            runs.push((filter.clone(), run));
            if caught {
                break;
            }
        }
        Verdict { name: bug.name.clone(), runs }
    }
}

/// Reads what a test program says until one test has failed, or all have ended, or patience has.
fn watch(mut child: Child, patience: Duration) -> End {
    let (sender, receiver) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        output.lines().map_while(Result::ok).take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
    });
    let began = Instant::now();
    let mut passed = None;
    let end = loop {
        match receiver.recv_timeout(patience.saturating_sub(began.elapsed())) {
            Ok(line) => {
                if let Some(rest) = line.strip_prefix("test ")
                    && let Some(test) = rest.strip_suffix(" ... FAILED")
                {
                    break Some(End::Failed { test: test.to_owned() });
                }
                if let Some(rest) = line.strip_prefix("test result: ok. ") {
                    passed = rest.split(' ').next().and_then(|count| count.parse().ok());
                }
            }
            Err(RecvTimeoutError::Timeout) => break Some(End::Hung),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if end.is_some() {
        // It may have ended by itself since.
        let _ = child.kill();
    }
    let status = child.wait().unwrap();
    match (end, passed) {
        (Some(end), _) => end,
        (None, Some(tests)) => End::Passed { tests },
        (None, None) => End::Died { how: status.to_string() },
    }
}

impl Run {
    /// What is not come to cannot be caught, so whatever failed did so by itself.
    fn catches(&self) -> bool {
        self.reached && !matches!(self.end, End::Passed { .. })
    }
}

impl Verdict {
    pub fn is_caught(&self) -> bool {
        self.runs.last().is_some_and(|(_, run)| run.catches())
    }

    pub fn hangs(&self) -> bool {
        self.is_caught() && matches!(self.runs.last(), Some((_, Run { end: End::Hung, .. })))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds: f64 = self.runs.iter().map(|(_, run)| run.took.as_secs_f64()).sum();
        write!(f, "{} | ", self.name)?;
        match self.runs.last() {
            Some((filter, run)) if run.catches() => match &run.end {
                End::Failed { test } => write!(f, "{test}")?,
                End::Hung => write!(f, "{filter} never ended")?,
                End::Died { how } => write!(f, "{filter} died: {how}")?,
                End::Passed { .. } => {}
            },
            _ => {
                let reached = self.runs.iter().any(|(_, run)| run.reached);
                write!(f, "NOT CAUGHT{}: ", if reached { "" } else { ", never come to" })?;
                for (filter, run) in &self.runs {
                    write!(f, "{filter} {:?} ", run.end)?;
                }
            }
        }
        write!(f, " | {seconds:.1}")
    }
}
