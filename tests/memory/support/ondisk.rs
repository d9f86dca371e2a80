//! A job whose target is RocksDB's, with buffers so small that its stores wait in sorted runs until they are whole.

use super::{disk::Disk, stores, tuning::tiny};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use storeshift::{
    Error, Migrator,
    iavl::NodeKey,
    journal::{Job, Journal, SourceIdentity},
    machine::{Phase, State},
    model::{CommitInfo, JobId, StoreKey, Version},
    phases,
    plan::{At, Plan},
    progress::Stop,
    source::{MemoryEngine, Source},
    target::{EngineTuning, Engines as _, Outage, Place, Target, TargetError, rocks::RocksEngines},
};

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The files under a directory, if there is one.
#[allow(dead_code, reason = "for sweeps")]
pub fn read(root: &Path, below: &str, files: &mut Files) {
    let Ok(entries) = fs::read_dir(root.join(below)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(root, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// Makes these all that is under a directory.
pub fn write(root: &Path, files: &Files) {
    let _ = fs::remove_dir_all(root);
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Store, key, version, and the value, or none where it was removed.
pub type Pair = (StoreKey, Vec<u8>, Version, Option<Vec<u8>>);

/// What readers of a target read.
#[derive(Debug, PartialEq)]
pub struct Seen {
    latest: [Option<Version>; 2],
    infos: Vec<Option<CommitInfo>>,
    records: BTreeMap<(StoreKey, NodeKey), Vec<u8>>,
    pairs: Vec<Pair>,
    newest: Vec<(StoreKey, Vec<u8>, Vec<u8>)>,
}

pub fn see(job: &Migrator, bounds: (u64, u64)) -> Result<Seen, TargetError> {
    let (sc, ss) = (job.target().sc.as_ref().unwrap(), job.target().ss.as_ref().unwrap());
    let mut seen = Seen {
        latest: [sc.latest()?, ss.latest()?],
        infos: (bounds.0..=bounds.1).map(|version| sc.commit_info(Version(version))).collect::<Result<_, _>>()?,
        records: BTreeMap::new(),
        pairs: Vec::new(),
        newest: Vec::new(),
    };
    for store in ["acc", "bank"].map(StoreKey::from) {
        let mut records = sc.records(&store)?;
        records.seek(NodeKey::new(Version(0), 0));
        while let Some((at, record)) = records.next().map_err(TargetError::Read)? {
            seen.records.insert((store.clone(), at), record.to_vec());
        }
        let mut entries = ss.entries(&store, Version(0), Version(u64::MAX))?;
        while let Some(entry) = entries.next()? {
            seen.pairs.push((store.clone(), entry.key.to_vec(), entry.version, entry.value.map(<[u8]>::to_vec)));
        }
        let mut pairs = ss.pairs(&store, Version(bounds.1), &[])?;
        while let Some(pair) = pairs.next()? {
            seen.newest.push((store.clone(), pair.key.to_vec(), pair.value.to_vec()));
        }
    }
    Ok(seen)
}

/// A chain of two stores, each of many more chunks than are read at once.
pub fn chain(tip: u64) -> MemoryEngine {
    let mut chain = stores::Chain::with_stores(&["acc", "bank"]);
    for version in 1..=tip {
        let block = ["acc", "bank"].map(|store| {
            let keys = (0..48).filter(|key| version == 1 || (key + version) % 3 == 0);
            let value = |key: u64| format!("value {key} of {version}, {}", "x".repeat(40)).into_bytes();
            (store, keys.map(|key| (format!("{store}-{key:02}").into_bytes(), Some(value(key)))).collect())
        });
        chain.commit(&block.into());
    }
    chain.engine
}

/// Of which chain, and what is to become of it.
#[derive(Clone)]
pub struct OnDisk {
    pub place: PathBuf,
    source: Arc<dyn Source>,
    bounds: (u64, u64),
    /// Threads that merge the runs of a store.
    pub jobs: usize,
}

impl OnDisk {
    /// A job in this directory: a snapshot at a version, and the versions after it.
    pub fn new(place: &Path, engine: MemoryEngine, bounds: (u64, u64)) -> OnDisk {
        OnDisk { place: place.to_owned(), source: stores::source(engine), bounds, jobs: 2 }
    }

    /// What the job is born with.
    pub fn born(&self) -> (Job, State) {
        let plan = Plan { at: At::Version(Version(self.bounds.0)), chunk_leaves: 4, ..Plan::new() };
        let info = phases::snapshot::preflight(self.source.as_ref(), &plan).unwrap();
        let tip = self.source.latest().unwrap();
        let source = SourceIdentity {
            engine: self.source.engine().to_owned(),
            height: info.version,
            app_hash: info.app_hash(),
            tip,
            tip_app_hash: self.source.commit_info(tip).unwrap().unwrap().app_hash(),
        };
        (Job { id: JobId([7; 16]), plan, source }, State::new(info.version))
    }

    /// A new journal in memory.
    #[allow(dead_code, reason = "for sweeps")]
    pub fn journal(&self) -> Disk {
        let (disk, (job, state)) = (Disk::new(), self.born());
        Journal::on_backend(disk.clone(), Some((&job, &state))).unwrap();
        disk
    }

    /// Opens it, with this journal.
    pub fn open(&self, journal: Journal) -> Result<Migrator, Error> {
        let place = Place::new(&self.place);
        place.clear_staging()?;
        for part in [place.sc(), place.ss()] {
            fs::create_dir_all(part).unwrap();
        }
        let tuning = EngineTuning { cache: 1 << 20, write_buffer: 1 << 20, jobs: self.jobs };
        let sc = RocksEngines.commitment(&place, tuning)?;
        let ss = RocksEngines.storage(&place, tuning)?;
        Migrator::assemble(self.source.clone(), Target { sc: Some(sc), ss: Some(ss) }, journal, tiny(1))
    }

    /// Goes on until every chunk is restored, and no further: the runs are what the stores wait in.
    #[allow(dead_code, reason = "for sweeps")]
    pub fn restore(&self, journal: &Disk) {
        loop {
            let stop: Arc<OnceLock<Stop>> = Arc::default();
            let asks = stop.clone();
            // As soon as something is recorded.
            let outage = Outage::asking(move || {
                if let Some(stop) = asks.get() {
                    stop.ask("enough");
                }
                true
            });
            let mut job = self.open(Journal::on_backend(journal.with(&outage), None).unwrap()).unwrap();
            stop.set(job.stop()).unwrap();
            assert!(matches!(job.run(), Err(Error::Stopped(_))));
            match &job.recorder().state().phase {
                Phase::Restoring { chunks, restored, joined: false, .. } if restored.count() == *chunks => return,
                Phase::Snapshotting { .. } | Phase::Restoring { joined: false, .. } => {}
                phase => panic!("it went on: {phase:?}"),
            }
        }
    }

    pub fn see(&self, job: &Migrator) -> Result<Seen, TargetError> {
        see(job, self.bounds)
    }
}
