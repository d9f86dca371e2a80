//! Owns one checkpoint in the making: follows the manifest of a database that changes meanwhile, until for one state of it every
//! file was there.
//!
//! Why the result is a prefix of the write history, whatever the node does:
//!
//! - Tables never change. A table that one state of the manifest names is kept at least until a later state does not.
//! - Logs are kept until the manifest names a higher first log. They are listed and opened, and only then is the manifest
//!   read again: if the first log is the same, every log that counts was there. Otherwise the pass is made again.
//! - A log is closed before the next one begins. They are copied newest first, so all but the newest are whole; the newest
//!   is cut somewhere, and a batch is one record in it.
//! - Pebble and RocksDB may rename an old log and overwrite it. A log that has kept its name was not overwritten. The newest
//!   one may be in the course of overwriting what was there before: its copy must have no gap (see [`tear`]).
//! - goleveldb gives the highest table number away again when that table is gone, so a name could come to mean another
//!   table. It cannot for numbers below a log that still counts; a table above it must not have been removed when the
//!   manifest is read again.
//! - If `CURRENT` names another manifest in the end, the one that was followed may be of the past: all is begun anew.

use super::{
    CheckpointError, Help, Request,
    edits::Edits,
    engine::{self, Head},
    error::io,
    files::{Files, Got, is_still, sync, write},
};
use crate::source::lsm::log::{Record, Records};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

/// Passes in a row that bring nothing new, before it is given up.
const IDLE: u64 = 500;
/// Passes in all.
const MOST: u64 = 100_000;

/// What was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) engine: &'static str,
    pub(super) linked: u64,
    pub(super) copied: u64,
    pub(super) shared: u64,
    pub(super) passes: u64,
}

/// Why a pass has to be made again.
enum Again {
    /// The database has moved on; what was brought over stays.
    On(String),
    /// It has another manifest.
    Anew(String),
    /// It contradicts itself, which may be of the moment.
    Damaged(PathBuf, String),
}

type Pass<T> = Result<Result<T, Again>, CheckpointError>;

/// Brings over a consistent state; the directory is there and has nothing but the marker in it.
pub(super) fn make(request: &Request<'_>, help: Help<'_>) -> Result<Made, CheckpointError> {
    let mut made = Made::default();
    let mut idle = 0;
    loop {
        let Some(head) = Head::read(request.source)? else { continue };
        made.engine = head.engine.name();
        let mut following = Following::new(request, help, head);
        let why = loop {
            made.passes += 1;
            idle += 1;
            let before = following.have.len();
            let outcome = following.pass()?;
            if following.have.len() > before {
                idle = 0;
            }
            match outcome {
                Ok(()) => {
                    let tally = |how: Got| following.have.values().filter(|table| table.got == how).count() as u64;
                    (made.linked, made.copied, made.shared) =
                        (tally(Got::Linked), tally(Got::Copied), tally(Got::Shared));
                    return Ok(made);
                }
                Err(Again::Damaged(path, what)) if idle >= IDLE => return Err(CheckpointError::Damaged { path, what }),
                Err(Again::Anew(why)) => break why,
                Err(Again::On(what)) if idle >= IDLE || made.passes >= MOST => {
                    let path = request.source.to_owned();
                    return Err(CheckpointError::Restless { path, passes: made.passes, what });
                }
                Err(_) => {}
            }
        };
        following.drop_all()?;
        if idle >= IDLE || made.passes >= MOST {
            let path = request.source.to_owned();
            return Err(CheckpointError::Restless { path, passes: made.passes, what: why });
        }
    }
}

struct Table {
    name: String,
    got: Got,
}

/// One manifest, followed.
struct Following<'a> {
    request: &'a Request<'a>,
    files: Files<'a>,
    head: Head,
    manifest: Option<File>,
    data: Vec<u8>,
    edits: Edits,
    have: BTreeMap<u64, Table>,
}

impl<'a> Following<'a> {
    fn new(request: &'a Request<'a>, help: Help<'a>, head: Head) -> Following<'a> {
        let edits = Edits::new(head.engine);
        Following {
            request,
            files: Files::new(request, help),
            head,
            manifest: None,
            data: Vec::new(),
            edits,
            have: BTreeMap::new(),
        }
    }

    fn drop_all(&mut self) -> Result<(), CheckpointError> {
        while let Some((_, table)) = self.have.pop_first() {
            self.files.drop(&table.name)?;
        }
        Ok(())
    }

    fn pass(&mut self) -> Pass<()> {
        if Head::read(self.request.source)?.as_ref() != Some(&self.head) {
            return Ok(Err(Again::Anew("another manifest was begun".to_owned())));
        }
        if let Err(again) = self.read_on()? {
            return Ok(Err(again));
        }
        if let Err(again) = self.bring_tables()? {
            return Ok(Err(again));
        }
        let (end, first) = (self.edits.end(), self.edits.log());
        let logs = match self.open_logs(first)? {
            Ok(logs) => logs,
            Err(again) => return Ok(Err(again)),
        };
        if let Err(again) = self.read_on()? {
            return Ok(Err(again));
        }
        if self.edits.log() != first {
            return Ok(Err(Again::On(format!("log {first} was done with"))));
        }
        let removed = self.edits.take_removed();
        // Their names may mean other tables by now.
        let doubtful = removed.iter().any(|number| *number > first) && self.head.engine.reuses_numbers();
        let outcome = if doubtful {
            Ok(Err(Again::On("one of the newest tables is gone".to_owned())))
        } else {
            self.copy_rest(logs, end)
        };
        // Tables that have gone meanwhile belong to the state that is brought over, but not to the next one.
        if !matches!(outcome, Ok(Ok(()))) {
            for number in removed {
                self.forget(number)?;
            }
        }
        outcome
    }

    /// Reads what the manifest has grown by, and lets go of tables that are not live any more.
    fn read_on(&mut self) -> Pass<()> {
        let path = self.request.source.join(&self.head.manifest);
        if self.manifest.is_none() {
            match File::open(&path) {
                Ok(file) => self.manifest = Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Err(Again::Anew(format!("{} is gone", self.head.manifest))));
                }
                Err(error) => return Err(io(&path, "open")(error)),
            }
        }
        if let Some(manifest) = &mut self.manifest {
            manifest.read_to_end(&mut self.data).map_err(io(&path, "read"))?;
        }
        match self.edits.read(&self.data) {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                // Read from its beginning again, should it have been of the moment.
                self.drop_all()?;
                (self.manifest, self.edits) = (None, Edits::new(self.head.engine));
                self.data.clear();
                Ok(Err(Again::Damaged(path, error.to_string())))
            }
        }
    }

    fn forget(&mut self, number: u64) -> Result<(), CheckpointError> {
        self.have.remove(&number).map_or(Ok(()), |table| self.files.drop(&table.name))
    }

    fn bring_tables(&mut self) -> Pass<()> {
        for number in self.edits.take_removed() {
            self.forget(number)?;
        }
        let mut missing = self.edits.files();
        missing.retain(|number, _| !self.have.contains_key(number));
        while let Some((number, size)) = missing.pop_first() {
            let mut last = None;
            for name in engine::table_names(self.head.engine, number) {
                let got = self.files.bring(number, &name, size, &missing)?;
                match got {
                    Got::Linked | Got::Copied | Got::Shared => {
                        self.have.insert(number, Table { name, got });
                        last = None;
                        break;
                    }
                    Got::Gone => last = Some(Again::On(format!("table {number} is gone"))),
                    Got::Odd(length) => {
                        if self.request.into.join(&name).exists() {
                            self.files.drop(&name)?;
                        }
                        let what = format!("has {length} bytes, and the manifest says {}", size.unwrap_or(0));
                        last = Some(Again::Damaged(self.request.source.join(&name), what));
                        break;
                    }
                }
            }
            if let Some(again) = last {
                return Ok(Err(again));
            }
        }
        Ok(Ok(()))
    }

    /// Opens the logs from this number on, newest first.
    fn open_logs(&self, first: u64) -> Pass<Vec<(u64, File)>> {
        let mut numbers = engine::logs(self.request.source)?;
        numbers.retain(|number| *number >= first);
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        // A database that was just made names log 0, which never is.
        if first > 0 && self.head.engine.names_a_log_that_is_there() && numbers.last() != Some(&first) {
            return Ok(Err(Again::On(format!("log {first} is gone"))));
        }
        let mut logs = Vec::with_capacity(numbers.len());
        for number in numbers {
            let path = self.request.source.join(log_name(number));
            match File::open(&path) {
                Ok(file) => logs.push((number, file)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Err(Again::On(format!("log {number} is gone"))));
                }
                Err(error) => return Err(io(&path, "open")(error)),
            }
        }
        Ok(Ok(logs))
    }

    /// Copies the logs, and writes everything that makes the directory a database.
    fn copy_rest(&mut self, logs: Vec<(u64, File)>, end: usize) -> Pass<()> {
        let (source, into) = (self.request.source, self.request.into);
        let mut copied = Vec::new();
        let mut again = None;
        for (number, mut file) in logs {
            let name = log_name(number);
            let path = source.join(&name);
            let length = file.metadata().map_err(io(&path, "look at"))?.len();
            let done = self.files.copy(&mut file, &path, &into.join(&name), length, false)?;
            copied.push(name.clone());
            // One that is written over an older log is cut off behind its last record when it is closed.
            if done < length {
                again = Some(Again::Damaged(path, format!("ends at byte {done}, where it had {length} a moment ago")));
                break;
            }
            if self.head.engine.recycles_logs() && !is_still(&file, &path) {
                again = Some(Again::On(format!("{name} became another log")));
                break;
            }
            if self.head.engine.recycles_logs()
                && let Some(what) = tear(&into.join(&name), number)?
            {
                again = Some(Again::Damaged(path, what));
                break;
            }
        }
        if again.is_none() && Head::read(source)?.as_ref() != Some(&self.head) {
            again = Some(Again::Anew("another manifest was begun".to_owned()));
        }
        if let Some(again) = again {
            for name in copied {
                self.files.drop(&name)?;
            }
            return Ok(Err(again));
        }
        for name in &copied {
            sync(&into.join(name))?;
        }
        for table in self.have.values().filter(|table| table.got == Got::Copied) {
            sync(&into.join(&table.name))?;
        }
        for (name, content) in engine::settings(source)? {
            write(&into.join(name), &content)?;
        }
        write(&into.join(&self.head.manifest), self.data.get(..end).unwrap_or_default())?;
        for (name, content) in self.head.files() {
            write(&into.join(name), content)?;
        }
        Ok(Ok(()))
    }
}

fn log_name(number: u64) -> String {
    format!("{number:06}.log")
}

/// The first log that counts in a checkpoint.
pub(super) fn first_log(checkpoint: &Path) -> Option<u64> {
    let head = Head::read(checkpoint).ok()??;
    let mut edits = Edits::new(head.engine);
    edits.read(&fs::read(checkpoint.join(&head.manifest)).ok()?).ok()?;
    Some(edits.log())
}

/// What is wrong with the copy of a log that is written over an older one.
///
/// Where the node writes two pages between our reading of the first and of the second, the copy has the old first page before
/// the new second one. Records behind such a gap are no end of a log, and a reader would call it damage.
fn tear(copy: &Path, number: u64) -> Result<Option<String>, CheckpointError> {
    let data = fs::read(copy).map_err(io(copy, "read"))?;
    // In all of Pebble's logs, and in those of RocksDB that may be written over, chunks carry the log's number.
    if !matches!(data.get(6), Some(5..=8)) {
        return Ok(None);
    }
    let (mut records, mut payload) = (Records::recycled(&data, number), Vec::new());
    loop {
        match records.next_into(&mut payload) {
            Ok(Record::Whole { .. }) => {}
            Ok(Record::End | Record::Torn { .. }) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

/// What lies in a directory: how many files, and their bytes; the marker is not counted.
pub(super) fn contents(directory: &Path, but: &[&str]) -> Result<(u64, u64), CheckpointError> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory).map_err(io(directory, "list"))? {
        let entry = entry.map_err(io(directory, "list"))?;
        if but.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        files += 1;
        bytes += entry.metadata().map_err(io(&entry.path(), "look at"))?.len();
    }
    Ok((files, bytes))
}
