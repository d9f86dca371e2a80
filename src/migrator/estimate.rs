//! Estimating a migration before it begins: keys and nodes exactly, bytes by sampling, disk space and time from those.
//!
//! Reads a few hundred records per store whatever their size; writes nothing.

use crate::{
    error::Error,
    iavl::{self, Access},
    model::{CommitInfo, Hash, StoreInfo, StoreKey, Version},
    phases,
    plan::{At, Paths, Plan, Tuning},
    source::{Feed, Source, StoreRoot, is_memory_store},
};
use serde::Serialize;
use std::path::Path;

/// What a migration would do.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Engine of the source.
    pub engine: String,
    /// Newest version in the source.
    pub latest: u64,
    /// Snapshot version.
    pub height: u64,
    /// App hash of the snapshot version, hex.
    pub app_hash: String,
    /// Memory stores that are left out. If there are any, `app_hash` is the hash over the IAVL stores alone.
    pub memory_stores: Vec<String>,
    /// The app hash as the chain recorded it.
    pub chain_app_hash: String,
    /// The stores in order of name.
    pub stores: Vec<StoreEstimate>,
    /// Pairs in all stores, exact.
    pub keys: u64,
    /// Tree nodes in all stores, exact.
    pub nodes: u64,
    /// Bytes of keys and values, estimated by sampling.
    pub pair_bytes: u64,
    /// Bytes the target needs at most, estimated; includes what is needed for a while only.
    pub disk_needed: u64,
    /// Bytes of them that the unpacked snapshot takes until the job is done; 0 for a database.
    pub spool_bytes: u64,
    /// Bytes free on the target's file system, if it can be told.
    pub disk_free: Option<u64>,
    /// Bytes to be left free.
    pub disk_reserve: u64,
    /// Seconds the restore takes, estimated.
    pub seconds: u64,
    /// What else there is to know of the source.
    pub notes: Vec<String>,
}

/// What a migration would do with one store.
#[derive(Clone, Debug, Serialize)]
pub struct StoreEstimate {
    /// The store.
    pub name: String,
    /// Its root, hex.
    pub root: String,
    /// Its pairs, exact.
    pub keys: u64,
    /// Its tree nodes, exact.
    pub nodes: u64,
    /// Bytes of its keys and values, estimated by sampling.
    pub pair_bytes: u64,
}

/// Random descents into each store's tree.
const SAMPLES: u64 = 48;
/// Pairs restored and read back per second and worker on a small server; a guess that errs on the slow side.
const PAIRS_PER_SECOND: u64 = 100_000;
/// What a node costs in SC beyond its key and value.
const SC_NODE_OVERHEAD: u64 = 70;
/// What a pair costs in SS beyond its key and value.
const SS_PAIR_OVERHEAD: u64 = 24;

/// Estimates a migration; also checks that the version can be migrated at all.
///
/// # Errors
/// As the preflight of a run.
pub fn estimate(
    source: &dyn Source,
    feed: &dyn Feed,
    paths: &Paths,
    plan: &Plan,
    tuning: Tuning,
) -> Result<Estimate, Error> {
    let info = phases::snapshot::preflight(source, plan)?;
    let recorded = source.recorded(info.version)?.unwrap_or_else(|| info.clone());
    let memory_stores = recorded.stores.iter().filter(|store| is_memory_store(store));
    let (retained, latest) = (source.latest()?, feed.tip()?);
    let sampled = sample_all(source, &info, tuning)?;
    let mut stores = Vec::with_capacity(info.stores.len());
    for (store, (keys, pair_bytes)) in info.stores.iter().zip(sampled) {
        stores.push(StoreEstimate {
            name: store.name.as_str().to_owned(),
            root: store.root.unwrap_or(Hash::EMPTY).to_string(),
            keys,
            nodes: keys.saturating_mul(2).saturating_sub(1),
            pair_bytes,
        });
    }
    let sum = |of: fn(&StoreEstimate) -> u64| stores.iter().map(of).sum::<u64>();
    let (keys, nodes, pair_bytes) = (sum(|s| s.keys), sum(|s| s.nodes), sum(|s| s.pair_bytes));
    let sc = |bytes: u64, nodes: u64| bytes + nodes * SC_NODE_OVERHEAD;
    let mut disk_needed = 64 << 20;
    if plan.parts.sc() {
        // The largest store may be there twice while it is brought into its final shape.
        let largest = stores.iter().map(|store| sc(store.pair_bytes, store.nodes)).max().unwrap_or(0);
        disk_needed += sc(pair_bytes, nodes) + largest;
    }
    if plan.parts.ss() {
        disk_needed += pair_bytes + keys * SS_PAIR_OVERHEAD;
    }
    let spool_bytes = source.spool_bytes();
    disk_needed += spool_bytes;
    if let Some(changes) = feed.changes() {
        // A change's pair is in SS and in its leaf; the path above it is made anew.
        disk_needed += changes.total_bytes().saturating_mul(8);
    }
    if plan.at != At::Latest && info.version < retained {
        // History cannot be sampled: the stores' whole size in the source bounds it.
        disk_needed += 2 * info.stores.iter().map(|store| source.approximate_bytes(&store.name)).sum::<u64>();
    }
    Ok(Estimate {
        engine: source.engine().to_owned(),
        latest: latest.0,
        height: info.version.0,
        app_hash: info.app_hash().to_string(),
        memory_stores: memory_stores.map(|store| store.name.as_str().to_owned()).collect(),
        chain_app_hash: recorded.app_hash().to_string(),
        stores,
        keys,
        nodes,
        pair_bytes,
        disk_needed,
        spool_bytes,
        disk_free: disk_free(&paths.target),
        disk_reserve: tuning.reserve,
        seconds: keys.div_ceil(PAIRS_PER_SECOND * tuning.workers.max(1) as u64).max(1),
        notes: source.notes(),
    })
}

impl Estimate {
    /// Refuses if the disk cannot hold it.
    ///
    /// # Errors
    /// [`Error::Blocked`] with the figures.
    pub fn check(&self) -> Result<(), Error> {
        let Some(free) = self.disk_free else { return Ok(()) };
        if free >= self.disk_needed.saturating_add(self.disk_reserve) {
            return Ok(());
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        Err(Error::Blocked {
            what: format!(
                "not enough disk space for the target: about {} MiB are needed and {} MiB are to be left free, {} MiB are free",
                mib(self.disk_needed),
                mib(self.disk_reserve),
                mib(free)
            ),
            advice:
                "Nothing was written. Make room, choose a target on another disk, or lower --reserve-mib (reserve_mib in a plan file)."
                    .to_owned(),
        })
    }
}

/// Bytes free for us on the file system of a path, or of the nearest directory above it that exists.
#[must_use]
pub fn disk_free(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What [`sample`] says of every store. Descents wait for the disk, so stores are gone through side by side: a run begins with this.
fn sample_all(source: &dyn Source, info: &CommitInfo, tuning: Tuning) -> Result<Vec<(u64, u64)>, Error> {
    let hands = tuning.workers.clamp(1, info.stores.len().max(1));
    let share = info.stores.len().div_ceil(hands).max(1);
    let of_share = |stores: &[StoreInfo]| -> Result<Vec<(u64, u64)>, Error> {
        let counted = |store: &StoreInfo| source.counted(&store.name);
        let of = |store| counted(store).map_or_else(|| sample(source, &store.name, info.version), Ok);
        stores.iter().map(of).collect()
    };
    std::thread::scope(|scope| {
        let hands: Vec<_> = info.stores.chunks(share).map(|stores| scope.spawn(move || of_share(stores))).collect();
        let mut all = Vec::with_capacity(info.stores.len());
        for hand in hands {
            all.extend(hand.join().unwrap_or(Err(Error::Invariant("a thread that sampled a store panicked")))?);
        }
        Ok(all)
    })
}

/// Pairs of a store, and bytes of their keys and values estimated from random leaves.
fn sample(source: &dyn Source, store: &StoreKey, version: Version) -> Result<(u64, u64), Error> {
    let Some(StoreRoot::Node { at: root, .. }) = source.root(store, version)? else { return Ok((0, 0)) };
    let mut nodes = source.nodes(store, Access::Points);
    let mut bytes = 0u64;
    let keys = iavl::sample(&mut nodes, root, SAMPLES, &mut |key, value| bytes += (key.len() + value.len()) as u64)
        .map_err(|error| unread(store, version, error))?;
    Ok((keys, (bytes as f64 / SAMPLES as f64 * keys as f64) as u64))
}

fn unread(store: &StoreKey, version: Version, error: crate::iavl::ReadError) -> Error {
    let (store, why) = (store.clone(), Box::new(error.into()));
    Error::Phase(phases::PhaseError::Unproven { store, version, why })
}
