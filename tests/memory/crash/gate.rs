//! A gate before everything that a migration makes durable: its threads wait here until whoever commits lets so many operations pass. While
//! one of them works the other stands still, so that the same schedule gives the same run.
//!
//! The thread that made the gate is never held up. A migration of one worker has one thread at a time that writes.

use super::recorder::Recorder;
use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::Duration,
};
use storeshift::{
    disk::{Disk, DiskFile, Making, Real},
    live::LiveStore,
    model::Version,
};

/// Where a migration stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Before an operation.
    Waits,
    /// Everything is applied, and nobody wants the switch.
    Idle,
    /// It is over.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// So many operations, and then it waits.
    Left(usize),
    /// Nothing happens any more: the power is gone.
    Gone,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    waiting: usize,
    /// The thread that opens the job, which asks for the newest version too.
    job: Option<ThreadId>,
    /// The run has asked for the newest version, and not been told of another one since.
    has_asked: bool,
    /// The newest version, and whether a switch is wanted.
    latest: Version,
    wanted: bool,
}

/// Where threads wait for their turn.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    maker: ThreadId,
}

impl Gate {
    /// A closed gate; the caller is not held up.
    pub fn new() -> Arc<Gate> {
        let state =
            State { pace: Pace::Left(0), waiting: 0, job: None, has_asked: false, latest: Version(0), wanted: false };
        Arc::new(Gate { state: Mutex::new(state), changed: Condvar::new(), maker: thread::current().id() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until this may happen; an error if it never will.
    pub fn pass(&self) -> io::Result<()> {
        let me = thread::current().id();
        if me == self.maker {
            return Ok(());
        }
        let mut state = self.state();
        state.job.get_or_insert(me);
        state.has_asked = false;
        state.waiting += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.pace == Pace::Left(0)).unwrap();
        state.waiting -= 1;
        match &mut state.pace {
            Pace::Gone => return Err(gone()),
            Pace::Left(left) => *left -= 1,
        }
        Ok(())
    }

    /// Store/v1 is asked for its newest version.
    pub fn asked_for_the_newest_version(&self) -> io::Result<()> {
        let me = thread::current().id();
        if me == self.maker {
            return Ok(());
        }
        let mut state = self.state();
        if state.pace == Pace::Gone {
            return Err(gone());
        }
        if *state.job.get_or_insert(me) != me {
            state.has_asked = true;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Another version is there.
    pub fn committed(&self, version: Version) {
        let mut state = self.state();
        (state.latest, state.has_asked) = (version, false);
    }

    /// The switch is wanted, or not any more.
    pub fn wants_switch(&self, wanted: bool) {
        let mut state = self.state();
        (state.wanted, state.has_asked) = (wanted, state.has_asked && !wanted);
    }

    /// Lets so many operations pass, and waits until the migration stands still again.
    pub fn let_pass(&self, operations: usize, store: &LiveStore) -> Stand {
        let mut state = self.state();
        state.pace = Pace::Left(operations);
        self.changed.notify_all();
        loop {
            if state.waiting > 0 && state.pace == Pace::Left(0) {
                return Stand::Waits;
            }
            let is_idle = state.has_asked && !state.wanted && store.prune_status().held == Some(state.latest);
            if is_idle || !store.is_migrating() {
                // What is left is not for whoever comes later.
                state.pace = Pace::Left(0);
                return if is_idle { Stand::Idle } else { Stand::Ended };
            }
            // That it has ended, nobody tells.
            state = self.changed.wait_timeout(state, Duration::from_millis(1)).unwrap().0;
        }
    }

    /// Lets operations pass until a commit does not have to wait for a switch.
    pub fn let_commit(&self, store: &LiveStore) -> Stand {
        let mut stand = self.let_pass(0, store);
        while stand == Stand::Waits && store.is_closed() {
            stand = self.let_pass(1, store);
        }
        stand
    }

    /// The power is gone: whoever waits or comes is turned away.
    pub fn shut(&self) {
        self.state().pace = Pace::Gone;
        self.changed.notify_all();
    }
}

/// Shuts a gate if somebody panics before it: whoever waits there would be waited for.
pub struct Watch<'a>(pub &'a Gate);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.shut();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

/// A disk behind a gate, which is recorded. The status file is not: it is written by the clock, and nothing rests on it.
#[derive(Debug)]
pub struct Gated {
    pub recorder: Recorder,
    pub gate: Arc<Gate>,
}

/// Whether this is the status file, under either of its names.
fn is_status(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("status.json"))
}

impl Gated {
    fn disk(&self, path: &Path) -> io::Result<&dyn Disk> {
        if is_status(path) {
            return Ok(&Real);
        }
        self.gate.pass()?;
        Ok(&self.recorder)
    }
}

impl Disk for Gated {
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk(path)?.make(path, making)?;
        if is_status(path) {
            // Or whoever writes it by the clock would take the place of the migration at the gate.
            return Ok(file);
        }
        Ok(Box::new(GatedFile { file, gate: self.gate.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile { file: self.recorder.open(path)?, gate: self.gate.clone() }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.make_directory(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk(to)?.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk(to)?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.remove_directory(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.remove_all(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk(path)?.sync(path)
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.gate.pass()?;
        self.file.write_at(offset, data)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.gate.pass()?;
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
