//! A look at a few leaves of a tree, for estimates. Nothing of it is proven.

use super::{Node, NodeId, NodeReader, ReadError, legacy, node::MAX_HEIGHT};

/// Hands the keys and values of some leaves to `each`, found by going down from the root at random (seeded by nothing, so that two
/// looks see the same), and returns how many leaves the root says there are. Ends early where a record is missing or damaged, of
/// which proving tells more.
///
/// # Errors
/// The store could not be read.
pub fn sample<R: NodeReader + ?Sized>(
    reader: &mut R,
    root: NodeId,
    leaves: u64,
    each: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<u64, ReadError> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut record = Vec::new();
    let mut size = 0;
    for _ in 0..leaves {
        let mut at = root;
        // So is any honest descent.
        for _ in 0..=MAX_HEIGHT {
            record.clear();
            let is_there = match &at {
                NodeId::Current(key) => reader.read(*key, &mut record)?,
                NodeId::Legacy(hash) => reader.read_legacy(hash, &mut record)?,
            };
            let node = match at {
                NodeId::Current(_) => Node::decode(&record),
                NodeId::Legacy(hash) => legacy::decode(hash, &record).map(|(_, node)| node),
            };
            match node {
                _ if !is_there => return Ok(size),
                Ok(Node::Leaf { key, value }) => {
                    size = size.max(1);
                    each(key, value);
                    break;
                }
                Ok(Node::Inner { size: below, left, right, .. }) => {
                    size = size.max(below);
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    at = if random >> 63 == 0 { left } else { right };
                }
                Err(_) => return Ok(size),
            }
        }
    }
    Ok(size)
}
