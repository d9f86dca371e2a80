//! A job of which RocksDB has the target: its stores wait in sorted runs, which are ours, until they are whole and merged. What is ours is
//! recorded down to each write. RocksDB's files are not: where it holds still they are copied, as somebody would find them who kills the
//! process there.

use super::{
    log::{Held, Op},
    recorder::{Recorder, Tree, place},
    story::{Recording, Tale, journal_says},
    twins::Twins,
};
use crate::support::ondisk::{Files, OnDisk, Seen, chain, write};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use storeshift::{
    Outcome,
    disk::{self, Disk, DiskFile, Making, Real},
    journal::Journal,
};

const ENGINES: [&str; 2] = ["sc", "ss"];
/// Operations after the last run is gone.
const AFTER: usize = 12;

pub struct Waiting {
    /// What readers of the target read in the end.
    seen: Seen,
}

fn job(dir: &Path) -> OnDisk {
    OnDisk::new(dir, chain(4), (4, 4))
}

fn born(dir: &Path) -> OnDisk {
    let on_disk = job(dir);
    let (born, state) = on_disk.born();
    fs::create_dir(dir.join("journal")).unwrap();
    Journal::create(&dir.join("journal"), &born, &state).unwrap();
    on_disk
}

fn ends(on_disk: &OnDisk) -> Seen {
    let mut job = on_disk.open(Journal::open(&on_disk.place.join("journal")).unwrap()).unwrap();
    assert!(matches!(job.run(), Ok(Outcome::Done { .. })), "{:?}", job.recorder().state());
    on_disk.see(&job).unwrap()
}

impl Waiting {
    pub fn new() -> Waiting {
        let place = place();
        Waiting { seen: ends(&born(place.path())) }
    }

    pub fn record(&self, dir: &Path) -> Recording {
        // One hand that merges, so that RocksDB holds still while we write.
        let mut on_disk = born(dir);
        on_disk.jobs = 1;
        let base = Tree::read(dir);
        let recorder = Recorder::new(dir);
        let copying = Copying { recorder: recorder.clone(), root: dir.to_owned(), last: Arc::default() };
        let mounted = [
            disk::mount(dir, Arc::new(copying)),
            disk::mount(&dir.join("sc"), Arc::new(Real)),
            disk::mount(&dir.join("ss"), Arc::new(Real)),
            disk::mount(&dir.join("staging"), Arc::new(Real)),
        ];
        assert!(ends(&on_disk) == self.seen);
        drop(mounted);
        let mut ops = recorder.ops();
        let is_merged = |op: &Op| matches!(op, Op::Name { name, to: None, .. } if name.ends_with(".merged"));
        let last = ops.iter().rposition(is_merged).expect("there were no runs");
        ops.truncate(last + AFTER);
        Recording { base, engines: vec![None, None], ops }
    }
}

impl Tale for Waiting {
    fn says(&self, dir: &Path) -> (Option<u64>, String) {
        journal_says(dir, &dir.join("journal"))
    }

    fn recover(&self, dir: &Path, twins: &Twins, _: &[String], _: Option<&Recorder>) {
        for (part, held) in ENGINES.iter().zip(twins.held().iter()) {
            if let Some(Held::Files(files)) = held {
                write(&dir.join(part), files);
            }
        }
        let on_disk = job(dir);
        assert!(ends(&on_disk) == self.seen, "the target is another one");
    }
}

/// A disk that is recorded, with copies of RocksDB's files in between.
#[derive(Clone, Debug)]
struct Copying {
    recorder: Recorder,
    root: PathBuf,
    last: Arc<Mutex<[Files; 2]>>,
}

impl Copying {
    /// Before something that the driver or the hand that merges does; RocksDB does nothing for them then.
    fn copy(&self) -> &Recorder {
        let mut last = self.last.lock().unwrap();
        for (engine, part) in ENGINES.iter().enumerate() {
            let files = holding_still(&self.root.join(part));
            if files != last[engine] {
                last[engine].clone_from(&files);
                self.recorder.note(Op::Engine { engine, held: Held::Files(Arc::new(files)), durable: true });
            }
        }
        &self.recorder
    }
}

/// The files of an engine, read until they are the same twice: it may be removing what it needs no more.
fn holding_still(path: &Path) -> Files {
    loop {
        if let (Ok(once), Ok(again)) = (files_of(path), files_of(path))
            && once == again
        {
            return once;
        }
    }
}

fn files_of(path: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    if !path.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(path)? {
        let (name, path) = entry.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))?;
        // What RocksDB tells of itself, nobody reads.
        if !name.starts_with("LOG") {
            files.insert(name, fs::read(path)?);
        }
    }
    Ok(files)
}

impl Disk for Copying {
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
        // Those are the workers', who write beside the engines at any time.
        if path.extension().is_some_and(|end| end == "new") && path.starts_with(self.root.join("runs")) {
            return self.recorder.make(path, making);
        }
        self.copy().make(path, making)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CopyingFile { file: self.recorder.open(path)?, of: self.clone() }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.recorder.make_directory(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.copy().link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.copy().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.copy().remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.copy().remove_directory(path)
    }

    fn remove_all(&self, path: &Path) -> io::Result<()> {
        self.copy().remove_all(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        // A new name's directory is synced by whoever made it.
        self.recorder.sync(path)
    }
}

#[derive(Debug)]
struct CopyingFile {
    file: Box<dyn DiskFile>,
    of: Copying,
}

impl DiskFile for CopyingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.of.copy();
        self.file.write_at(offset, data)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.of.copy();
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.of.copy();
        self.file.sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
