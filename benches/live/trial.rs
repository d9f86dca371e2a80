//! One switch of a node in a process of its own, killed inside it or not: whatever it has said to be committed is there afterwards,
//! once, and its app hashes and pairs are those of a chain that never migrated.

use super::{blocks::Twin, kill::Kill, node::places};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use storeshift::{
    journal::Journal,
    machine::{Phase, State},
};

/// Longest silence of a node before it is given up.
const SILENCE: Duration = Duration::from_secs(120);

/// Where a kill met a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Met {
    /// Before the journal had the switch begun.
    Before,
    /// The journal has it begun and not decided.
    Inside,
    /// The journal has it decided, and the node has not said a commit on store/v2.
    Decided,
    /// After that.
    After,
}

/// What came of a trial in which nothing was lost.
#[derive(Clone, Debug, Default)]
pub struct Switched {
    pub met: Option<Met>,
    /// Commits that the node has said.
    pub commits: u64,
    /// From the request to the first commit on store/v2.
    pub took: Option<Duration>,
    /// Milliseconds of the commits before the switch, and of the first one on store/v2.
    pub before: Vec<f64>,
    pub pause: Option<f64>,
    /// The newest version was in flight when the node was killed, and was there.
    pub in_flight: bool,
}

/// What the node said so far.
struct Heard<'a> {
    twin: &'a mut Twin,
    /// The newest height that was said.
    height: u64,
    switched: Switched,
    asked: Option<Instant>,
    is_v2: bool,
    pairs: u32,
}

/// Runs a node that `command` starts; if it was killed, as `kill` says it is to be, it is started again without being killed.
///
/// The error says what was lost, doubled, refused or wrong.
pub fn trial(
    dir: &Path,
    command: &dyn Fn(Option<&Kill>) -> Command,
    twin: &mut Twin,
    kill: Option<&Kill>,
) -> Result<Switched, String> {
    let mut heard = Heard { twin, height: 0, switched: Switched::default(), asked: None, is_v2: false, pairs: 0 };
    let ended = life(command(kill), &mut heard)?;
    if ended && kill.is_some() {
        return Err("it was to be killed and was not".to_owned());
    }
    if !ended {
        heard.switched.met = Some(met(dir, heard.is_v2)?);
        if !life(command(None), &mut heard)? {
            return Err("the second life ended by a kill of nobody's".to_owned());
        }
    }
    if heard.pairs != 2 || !heard.is_v2 {
        return Err(format!("it ended at height {} without having compared its pairs", heard.height));
    }
    Ok(heard.switched)
}

/// One life of the node; false if it was killed.
fn life(mut command: Command, heard: &mut Heard<'_>) -> Result<bool, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut node = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(words)?;
    let (say, lines) = channel();
    let stdout = node.stdout.take().ok_or("no output")?;
    let reader = std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        // A line that the kill cut off was not said.
        while stdout.read_line(&mut line).is_ok() && line.ends_with('\n') {
            if say.send(line.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let listened = loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) if line == "asked" => heard.asked = Some(Instant::now()),
            Ok(line) => {
                if let Err(error) = heard.hear(&line) {
                    break Err(error);
                }
            }
            Err(RecvTimeoutError::Timeout) => break Err(format!("it is silent after height {}", heard.height)),
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
        }
    };
    if listened.is_err() {
        let _ = node.kill();
    }
    let ended = node.wait_with_output().map_err(words)?;
    let _ = reader.join();
    listened?;
    let was_killed = ended.status.signal() == Some(9);
    if !was_killed && !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("refused after height {}: {}", heard.height, said.trim()));
    }
    Ok(!was_killed)
}

impl Heard<'_> {
    fn hear(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, height, hash, rest @ ..] = words.as_slice() else { return Ok(()) };
        if !["open", "commit", "pairs"].contains(kind) {
            // Of the harness that runs it.
            return Ok(());
        }
        let height: u64 = height.parse().map_err(|_| format!("not a height: {line}"))?;
        if *kind == "pairs" {
            self.pairs += 1;
            return same("the pairs", height, hash, &self.twin.digest(height));
        }
        let next = self.height + 1;
        match *kind {
            "open" if height < self.height => return Err(format!("lost: {} was said, it is at {height}", self.height)),
            "open" if height > next => return Err(format!("doubled: {} was said, it is at {height}", self.height)),
            "open" => self.switched.in_flight = height == next,
            _ if height != next => return Err(format!("height {height} after {}", self.height)),
            _ => {
                self.switched.commits += 1;
                self.time(rest);
            }
        }
        self.height = height;
        same("the app hash", height, hash, &self.twin.app_hash(height).to_string())
    }

    /// Of nodes that were not killed.
    fn time(&mut self, rest: &[&str]) {
        let [layout, micros] = rest else { return };
        let milliseconds = micros.parse::<f64>().unwrap_or(f64::NAN) / 1e3;
        if *layout == "v1" {
            self.switched.before.push(milliseconds);
        } else if !std::mem::replace(&mut self.is_v2, true) {
            self.switched.pause = Some(milliseconds);
            self.switched.took = self.asked.map(|asked| asked.elapsed());
        }
    }
}

fn same(what: &str, height: u64, found: &str, expected: &str) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} of height {height}: {found}, without a migration {expected}"))
}

/// What the journal of a killed node says. A copy is opened: what the node finds is what the kill left.
fn met(dir: &Path, is_v2: bool) -> Result<Met, String> {
    if is_v2 {
        return Ok(Met::After);
    }
    let (journal, copy) = (places(dir).v2.join("journal"), dir.join("journal-left"));
    fs::create_dir(&copy)
        .and_then(|()| fs::copy(journal.join("journal.redb"), copy.join("journal.redb")))
        .map_err(|error| error.to_string())?;
    let state = Journal::open(&copy).and_then(|journal| journal.state()).map_err(|error| error.to_string())?;
    Ok(match state {
        State { phase: Phase::Switching { .. }, .. } => Met::Inside,
        State { phase: Phase::Done { .. }, .. } => Met::Decided,
        _ => Met::Before,
    })
}
