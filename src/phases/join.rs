//! Joining: once all chunks are durable, the spines above them, the root records and the empty stores are written.

use super::{PhaseError, Work};
use crate::{
    iavl::{NodeKey, SpineNode, numbering},
    model::{Chunk, Restored, StoreEntry, StoreKey, Version, to_hex},
    target::{RecordRun, Target, TargetError},
};

/// What joining needs to know of a finished chunk.
pub struct Joint {
    /// Its first post-order ordinal.
    pub first_ordinal: u64,
    /// The ordinal of its root, which is its last.
    pub root_ordinal: u64,
    /// Its smallest key.
    pub first_key: Vec<u8>,
    /// Its largest key.
    pub last_key: Vec<u8>,
}

impl Joint {
    /// The joint of a chunk.
    #[must_use]
    pub fn new(chunk: &Chunk, restored: Restored) -> Joint {
        Joint {
            first_ordinal: chunk.first_ordinal,
            root_ordinal: chunk.root_ordinal(),
            first_key: restored.first_key,
            last_key: restored.last_key,
        }
    }
}

/// Checks what no hash covers at the joints of the chunks: keys ascend from chunk to chunk, each spine node's key is
/// the smallest key of its right subtree, and none has an ordinal of a chunk, whose record it would replace.
///
/// # Errors
/// In words, what is wrong with the tree.
pub fn check_joints(spine: &[SpineNode], joints: &[Joint]) -> Result<(), String> {
    for (before, after) in joints.iter().zip(joints.iter().skip(1)) {
        if before.last_key >= after.first_key {
            return Err(format!(
                "keys do not ascend from one chunk to the next: {} is followed by {}",
                to_hex(&before.last_key),
                to_hex(&after.first_key)
            ));
        }
    }
    for node in spine {
        let first = node.right_first_ordinal();
        let right = joints.binary_search_by_key(&first, |joint| joint.first_ordinal).ok().and_then(|at| joints.get(at));
        match right {
            Some(joint) if joint.first_key == node.key => {}
            Some(joint) => {
                return Err(format!(
                    "the inner node with ordinal {} (version {}) has key {}, the smallest key of its right subtree is {}",
                    node.ordinal,
                    node.version,
                    to_hex(&node.key),
                    to_hex(&joint.first_key)
                ));
            }
            None => return Err(format!("no chunk begins at ordinal {first}, where a right subtree begins")),
        }
        let before = joints.partition_point(|joint| joint.first_ordinal <= node.ordinal).checked_sub(1);
        if before.and_then(|at| joints.get(at)).is_some_and(|joint| node.ordinal <= joint.root_ordinal) {
            return Err(format!("the inner node with ordinal {} lies within a chunk", node.ordinal));
        }
    }
    Ok(())
}

/// Checks the joints of every store and writes its spine and root record, then brings SC into its final
/// shape. Without SC there is nothing to do but the checks. Returns the stores whose chunks were written anew for that.
///
/// # Errors
/// The source's keys are out of order, or the target could not be written.
pub fn run(
    work: Work<'_>,
    target: &Target,
    height: Version,
    stores: &mut dyn Iterator<Item = Result<(StoreEntry, Vec<SpineNode>, Vec<Joint>), PhaseError>>,
) -> Result<Vec<StoreKey>, PhaseError> {
    let mut anew = Vec::new();
    let mut tops = Vec::new();
    for store in stores {
        let (store, spine, joints) = store?;
        work.turn()?;
        check_joints(&spine, &joints).map_err(|what| PhaseError::Damaged {
            store: store.name.clone(),
            version: height,
            what,
        })?;
        tops.push((store.name.clone(), root_records(&store, &spine, height)?));
    }
    if let Some(sc) = &target.sc {
        let names: Vec<StoreKey> = tops.iter().map(|(name, _)| name.clone()).collect();
        // Before reading back, so that what is proven is what stays; before the spines, so that nothing of a store that
        // is kept aside is in the engine yet.
        anew = match sc.settle(&names, &|| merged(work)) {
            Err(TargetError::Stopped) => return Err(PhaseError::Stopped),
            settled => settled?,
        };
        for (name, mut top) in tops {
            sc.write_records(&name, &mut top.sorted())?;
        }
        sc.sync()?;
    }
    Ok(anew)
}

/// Asked while sorted runs are merged, every few records. Whether to stop; waits while that is not to go on.
fn merged(work: Work<'_>) -> bool {
    /// Records from one asking to the next: `target/rocks/bulk`.
    const RECORDS: u64 = 512;
    /// Of a record besides key and value, about.
    const REST: u64 = 60;
    let counts = work.progress.counts();
    // Half of the records have no value. A run that restored nothing does not know how large they are.
    let pair = counts.bytes.checked_div(counts.pairs_read).unwrap_or(100);
    work.governor.spend(2 * RECORDS * (pair / 2 + REST));
    work.governor.turn().is_err()
}

/// A store's spine and its root record: (H, 1) is always a reference, or empty for the empty tree.
///
/// # Errors
/// A nonce does not fit, which the snapshot rules out.
pub fn root_records(store: &StoreEntry, spine: &[SpineNode], height: Version) -> Result<RecordRun, PhaseError> {
    let too_large = || PhaseError::Bug("a nonce does not fit although the store's size was checked");
    let mut records = RecordRun::default();
    for node in spine {
        records.push(|record| node.encode_record(record)).ok_or_else(too_large)?;
    }
    let root = match store.top {
        None => Vec::new(),
        Some((version, ordinal)) => numbering::node_key(version, ordinal).ok_or_else(too_large)?.to_bytes().to_vec(),
    };
    let written = records.push(|record| {
        record.extend_from_slice(&root);
        Some(NodeKey::root_of(height))
    });
    written.ok_or_else(too_large)?;
    Ok(records)
}
