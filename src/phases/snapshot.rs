//! Snapshotting: pin the version, check its app hash, prove every store's spine, list the chunks.

use super::PhaseError;
use crate::{
    governor::Governor,
    iavl::{Access, Claim, Cut, NodeId, SpineNode, cut, sample},
    model::{Chunk, CommitInfo, Hash, Manifest, StoreEntry, StoreKey, Version, check_store_keys},
    plan::{At, Plan},
    source::{Source, StoreRoot, is_memory_store},
};

/// A snapshot, ready to be recorded.
pub struct Snapshot {
    /// The stores.
    pub manifest: Manifest,
    /// All chunks; a chunk's number is its index.
    pub chunks: Vec<Chunk>,
    /// The spine of each store.
    pub spines: Vec<Vec<SpineNode>>,
}

/// Finds the version a plan means and checks that it can be migrated: its commit info is there, every store has its
/// root, the app hash is the trusted one, and the store names can be laid out. Reads a few records per store.
///
/// # Errors
/// Why not; nothing has been written anywhere.
pub fn preflight(source: &dyn Source, plan: &Plan) -> Result<CommitInfo, PhaseError> {
    let latest = source.latest()?;
    let height = match plan.at {
        At::Latest => latest,
        At::Version(version) if version > latest => {
            return Err(PhaseError::Refused(format!(
                "version {version} was asked for, the newest version in the database is {latest}"
            )));
        }
        At::Version(version) => version,
        At::Oldest => oldest(source, latest)?,
    };
    let info = whole(source, height)?.map_err(PhaseError::Refused)?;
    let found = source.recorded(height)?.map_or(info.app_hash(), |recorded| recorded.app_hash());
    if let Some(trusted) = plan.app_hash
        && trusted != found
    {
        return Err(PhaseError::Refused(format!(
            "the database's app hash at version {height} is {found}, the trusted one is {trusted}: this is another chain, \
             another version (a block's header carries the app hash of the version before it), or a damaged database"
        )));
    }
    let names: Vec<_> = info.stores.iter().map(|store| store.name.clone()).collect();
    check_store_keys(&names)?;
    Ok(info)
}

/// The oldest version from which on every version is whole, up to the latest. Roots that pruning left behind alone look
/// like versions, so only the contiguous run that ends at the latest counts.
fn oldest(source: &dyn Source, latest: Version) -> Result<Version, PhaseError> {
    let mut oldest = latest;
    while oldest.0 > 1 {
        let before = Version(oldest.0 - 1);
        match whole(source, before) {
            Ok(Ok(_)) => oldest = before,
            Ok(Err(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(oldest)
}

/// Whether a version is whole: its commit info is there, and every store has the root it records.
///
/// # Errors
/// The source could not be read.
pub fn is_whole(source: &dyn Source, version: Version) -> Result<bool, PhaseError> {
    Ok(whole(source, version)?.is_ok())
}

/// The commit info of a version all of whose stores have the root it records; or, in words, what is missing.
fn whole(source: &dyn Source, version: Version) -> Result<Result<CommitInfo, String>, PhaseError> {
    let Some(info) = source.commit_info(version)? else {
        return Ok(Err(format!("the database has no commit info of version {version}")));
    };
    for store in &info.stores {
        let name = &store.name;
        if is_memory_store(store) {
            return Ok(Err(format!(
                "{name} is a memory store: SDK 0.46 and older counted those into the app hash, and no store/v2 can reproduce the \
                 app hash of version {version}. With --leave-out-memory-stores (leave_out_memory_stores = true in a plan \
                 file) the IAVL stores are migrated, and proven by the hash over them alone; or migrate a version that SDK \
                 0.47 or later wrote"
            )));
        }
        let Some(root) = store.root else {
            return Ok(Err(format!(
                "store {name} has no root in the commit info of version {version}: a very old release recorded empty trees so, \
                 which no store/v2 can reproduce"
            )));
        };
        if store.version != version {
            return Ok(Err(format!(
                "store {name} is recorded at version {} in the commit info of version {version}: it is no IAVL store, or \
                 the record is not what a node would accept",
                store.version
            )));
        }
        let found = source.root(name, version)?;
        let found = match found {
            None => {
                return Ok(Err(format!(
                    "store {name} has no tree of version {version}: the version was pruned, or a crash tore it"
                )));
            }
            Some(StoreRoot::Empty) => Hash::EMPTY,
            Some(StoreRoot::Node { hash, .. }) => hash,
        };
        if found != root {
            return Ok(Err(format!(
                "store {name} at version {version} has the root {found}, and its commit info says {root}: what is left of a pruned \
                 version (a ghost root), a legacy root that IAVL 1.x wrote another one over, or damage"
            )));
        }
    }
    Ok(Ok(info))
}

/// How large chunks are.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a> {
    /// At most so many leaves; fewer in a store whose values are so large that memory would not hold a chunk.
    Leaves(u64),
    /// As they were cut before.
    As(&'a [Chunk]),
}

/// Most leaves of a chunk that give these chunks of one store again: all of them have no more, and every node above them
/// has more than was allowed then.
pub(super) fn bound(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.leaves).max().unwrap_or(1)
}

/// Proves every store's spine at the version of `info` and cuts the trees into chunks.
///
/// # Errors
/// The first node that does not prove, by store; or the request to stop.
pub fn take(
    source: &dyn Source,
    info: &CommitInfo,
    most: Bound<'_>,
    governor: &Governor,
) -> Result<Snapshot, PhaseError> {
    let mut stores = Vec::new();
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut spines = Vec::new();
    for (index, store) in (0u32..).zip(&info.stores) {
        governor.turn()?;
        let hash = store.root.ok_or(PhaseError::Bug("a store without a root passed the preflight"))?;
        let missing = || PhaseError::Refused(format!("store {} has no tree of version {}", store.name, info.version));
        let root = source.root(&store.name, info.version)?.ok_or_else(missing)?;
        let (found, top) = match root {
            StoreRoot::Empty => (Cut::default(), None),
            StoreRoot::Node { at, .. } => {
                let mut nodes = source.nodes(&store.name, Access::Points);
                let mut cut = |leaves| {
                    cut(&mut nodes, Claim { at, hash }, index, leaves)
                        .map_err(|why| PhaseError::unproven(&store.name, info.version, why))
                };
                let found = match most {
                    Bound::As(before) => {
                        let from = before.partition_point(|chunk| chunk.store < index);
                        let to = before.partition_point(|chunk| chunk.store <= index);
                        cut(bound(before.get(from..to).unwrap_or_default()))?
                    }
                    Bound::Leaves(most) => {
                        let leaves = cut(u64::MAX)?.chunks.iter().map(|chunk| chunk.leaves).sum();
                        cut(by_bytes(source, &store.name, at, leaves, most))?
                    }
                };
                let leaves: u64 = found.chunks.iter().map(|chunk| chunk.leaves).sum();
                let top = found.spine.last().map(|node| node.version);
                let top = top.or_else(|| found.chunks.first().map(|chunk| chunk.version));
                (found, top.map(|version| (version, leaves.saturating_mul(2).saturating_sub(2))))
            }
        };
        stores.push(StoreEntry {
            name: store.name.clone(),
            root: Some(hash),
            top,
            leaves: found.chunks.iter().map(|chunk| chunk.leaves).sum(),
            first_chunk: chunks.len() as u64,
            chunks: found.chunks.len() as u64,
        });
        chunks.extend(found.chunks);
        spines.push(found.spine);
    }
    Ok(Snapshot { manifest: Manifest { stores, timestamp: info.timestamp }, chunks, spines })
}

/// The spine of one store again, above the chunks that it has.
///
/// # Errors
/// As [`take`].
pub fn spine(
    source: &dyn Source,
    store: &StoreEntry,
    version: Version,
    chunks: &[Chunk],
) -> Result<Vec<SpineNode>, PhaseError> {
    let (Some(hash), Some(chunk)) = (store.root, chunks.first()) else { return Ok(Vec::new()) };
    let missing = || PhaseError::Refused(format!("store {} has no tree of version {version} any more", store.name));
    let StoreRoot::Node { at, .. } = source.root(&store.name, version)?.ok_or_else(missing)? else {
        return Err(missing());
    };
    let mut nodes = source.nodes(&store.name, Access::Points);
    let cut = cut(&mut nodes, Claim { at, hash }, chunk.store, bound(chunks));
    cut.map(|cut| cut.spine).map_err(|why| PhaseError::unproven(&store.name, version, why))
}

/// A store that takes less on disk is not worth being cut finer: a worker holds it whole, or nearly.
const SMALL_STORE: u64 = 64 << 20;
/// Bytes of a pair from which on a chunk of as many leaves as usual is more than memory is meant to hold.
const LARGE_PAIR: u64 = 2 << 10;
/// Bytes of a chunk of large values, about: the least, and the most where the store is so large that there would be too many.
const CHUNK_BYTES: [u64; 2] = [1 << 20, 8 << 20];
/// A store of large values has about so many chunks before they become larger.
const CHUNKS: u64 = 2048;

/// Most leaves of a chunk in a store: `most`, or so few that a chunk has about a MiB if values are large. The tree says how
/// many leaves there are and not how large; what the store takes on disk does, few as its very large values may be, but counts
/// old versions as well: so a few leaves are looked at too. Whatever comes out, only speed depends on it.
fn by_bytes(source: &dyn Source, store: &StoreKey, root: NodeId, leaves: u64, most: u64) -> u64 {
    let on_disk = source.approximate_bytes(store);
    if on_disk < SMALL_STORE || on_disk / leaves.max(1) < LARGE_PAIR || sampled(source, store, root) < LARGE_PAIR {
        return most;
    }
    let [least, largest] = CHUNK_BYTES;
    let chunk_bytes = (on_disk / CHUNKS).clamp(least, largest);
    let fewer = (u128::from(leaves) * u128::from(chunk_bytes) / u128::from(on_disk)) as u64;
    // What is half as large at most can be told from what is as large as usual.
    if fewer <= most / 2 { fewer.max(1) } else { most }
}

/// Bytes of a pair on average, of a few leaves; 0 where they cannot be read, of which proving tells more.
fn sampled(source: &dyn Source, store: &StoreKey, root: NodeId) -> u64 {
    const LEAVES: u64 = 16;
    let mut nodes = source.nodes(store, Access::Points);
    let mut bytes = 0;
    let seen = sample(&mut nodes, root, LEAVES, &mut |key, value| bytes += (key.len() + value.len()) as u64);
    seen.map_or(0, |_| bytes / LEAVES)
}
