//! Findings: what the doctor has to say, typed, placed, ordered, and bounded in number.
//!
//! Everybody who examines something adds to [`Findings`]; the report takes them out in order.

use crate::{
    iavl::NodeId,
    model::{StoreKey, Version},
};
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// What was found. The names in JSON are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `s/latest` is missing, 0, or no protobuf integer.
    BadLatest,
    /// `s/latest` is a version that nothing else knows.
    LatestAhead,
    /// A version whose trees are there has no commit info.
    MissingCommitInfo,
    /// A commit info cannot be decoded, is of another version, or names a store twice or at another version.
    BadCommitInfo,
    /// A commit info names a store that has no record at all.
    MissingStore,
    /// A store has no root record of a version that it should have.
    MissingRoot,
    /// A root record leads to a node that is not there.
    DanglingRoot,
    /// A root record is no node, no reference and no hash.
    BadRoot,
    /// A tree holds together, and its root is not the one in the commit info.
    RootDiffers,
    /// A node that its parent names is not there.
    MissingNode,
    /// The bytes under a node's key are no node.
    BadRecord,
    /// A file, or a block of it, cannot be read.
    Unreadable,
    /// A hash that a record keeps, or that its content gives, is not the one the tree needs.
    WrongHash,
    /// A node does not have the leaves it says it has.
    WrongSize,
    /// A node is not one higher than its higher child.
    WrongHeight,
    /// An inner node's key is not the smallest key of its right subtree.
    WrongInnerKey,
    /// Leaf keys do not ascend, or children are exchanged.
    WrongOrder,
    /// A child pointer leads to a node that cannot be the child.
    WrongChild,
    /// A child pointer leads to an ancestor.
    Cycle,
    /// A store name that the layout of store/v2 cannot hold.
    StoreName,
    /// Memory stores in commit infos, as SDK 0.46 and older wrote them.
    MemoryStores,
    /// A root record that pruning left behind alone.
    GhostRoot,
    /// A root that IAVL 1.x wrote over one of an earlier version.
    OverwrittenRoot,
    /// A store is whole versions ahead of `s/latest`.
    StoreAhead,
    /// Nodes of a version after `s/latest` without their root.
    TornVersion,
    /// A store retains older versions than others.
    UnfinishedPruning,
    /// Records of a store that the latest version does not have.
    DeletedStore,
    /// The fast index is not that of the latest version, or differs from the tree.
    StaleFastIndex,
    /// Orphan records of IAVL up to 0.20.
    OrphanRecords,
    /// Versions missing between legacy ones.
    VersionHoles,
    /// Node records that no whole version reaches.
    UnreferencedNodes,
    /// Node records that are not written as IAVL writes them, and read the same.
    OddRecord,
    /// Records that are of no kind IAVL has.
    UnknownRecords,
    /// Something was not examined.
    NotExamined,
}

impl Kind {
    /// Whether it is damage; if not, it is a notice: it stands in no migration's way.
    #[must_use]
    pub fn severity(self) -> Severity {
        // Declared in that order.
        if self < Kind::MemoryStores { Severity::Damage } else { Severity::Notice }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A retained version cannot be read as it was committed.
    Damage,
    /// Worth knowing; in no retained version's way.
    Notice,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// How bad.
    pub severity: Severity,
    /// The store, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub store: Option<StoreKey>,
    /// The newest version that it is met in.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub version: Option<Version>,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub node: Option<NodeId>,
    /// Its parent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub parent: Option<NodeId>,
    /// Keys below it, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Records, where several are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bytes of their keys (whole database keys) and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// In words, for people.
    pub words: String,
}

fn as_text<T: std::fmt::Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn number<S: Serializer>(value: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(version) => to.serialize_u64(version.0),
        None => to.serialize_none(),
    }
}

impl Finding {
    /// A finding of the whole database.
    #[must_use]
    pub fn new(kind: Kind, words: impl Into<String>) -> Finding {
        Finding {
            kind,
            severity: kind.severity(),
            store: None,
            version: None,
            node: None,
            parent: None,
            keys: None,
            count: None,
            bytes: None,
            words: words.into(),
        }
    }

    /// In this store.
    #[must_use]
    pub fn store(mut self, store: &StoreKey) -> Finding {
        self.store = Some(store.clone());
        self
    }

    /// At this version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Finding {
        self.version = Some(version);
        self
    }

    /// At this node.
    #[must_use]
    pub fn node(mut self, at: NodeId) -> Finding {
        self.node = Some(at);
        self
    }

    /// Under this node.
    #[must_use]
    pub fn parent(mut self, parent: Option<NodeId>) -> Finding {
        self.parent = parent;
        self
    }

    /// With so many keys below.
    #[must_use]
    pub fn keys(mut self, keys: Option<u64>) -> Finding {
        self.keys = keys;
        self
    }

    /// So many records, and their bytes.
    #[must_use]
    pub fn counted(mut self, count: u64, bytes: Option<u64>) -> Finding {
        (self.count, self.bytes) = (Some(count), bytes);
        self
    }

    /// Only to be known.
    #[must_use]
    pub fn noticed(mut self) -> Finding {
        self.severity = Severity::Notice;
        self
    }

    fn order(&self) -> impl Ord + use<> {
        (self.severity, self.store.clone(), std::cmp::Reverse(self.version), self.kind, self.node.map(NodeId::plain))
    }
}

/// What is kept of the findings of one kind in one store.
#[derive(Default)]
struct Kept {
    detailed: Vec<Finding>,
    counts: BTreeMap<(Severity, Kind), u64>,
}

/// Gathers findings from many hands. The first [`Findings::DETAILED`] are kept, the rest counted.
#[derive(Default)]
pub struct Findings {
    kept: Mutex<Kept>,
}

impl Findings {
    /// Findings that are kept in detail. One that is not kept is counted as often as it is met.
    pub const DETAILED: usize = 1000;

    /// Adds one; of one that is known already (same kind, store and node) only that it is met in a newer version.
    pub fn add(&self, finding: Finding) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let node = finding.node.map(NodeId::plain);
        if finding.kind == Kind::Unreadable {
            // One block of a file has many nodes.
            let same = |known: &&mut Finding| {
                known.kind == finding.kind && known.store == finding.store && known.words == finding.words
            };
            if let Some(known) = kept.detailed.iter_mut().find(same) {
                known.version = known.version.max(finding.version);
                known.count = Some(known.count.unwrap_or(1) + 1);
                return;
            }
        } else if node.is_some() {
            let same = |known: &&mut Finding| {
                known.kind == finding.kind
                    && known.node.map(NodeId::plain) == node
                    && known.store == finding.store
                    && known.severity == finding.severity
            };
            if let Some(known) = kept.detailed.iter_mut().find(same) {
                known.version = known.version.max(finding.version);
                return;
            }
        }
        *kept.counts.entry((finding.severity, finding.kind)).or_default() += 1;
        if kept.detailed.len() < Findings::DETAILED {
            kept.detailed.push(finding);
        }
    }

    /// Blames another node than the one that was blamed first: what came since tells more.
    pub fn blame(&self, store: &StoreKey, first: NodeId, instead: Finding) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&mut Finding| {
            known.kind == instead.kind && known.store.as_ref() == Some(store) && known.node == Some(first)
        };
        if let Some(known) = kept.detailed.iter_mut().find(same) {
            (known.node, known.parent, known.words) = (instead.node, instead.parent, instead.words);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).counts.values().sum()
    }

    /// The stores that damage was found in, as far as it was kept.
    #[must_use]
    pub fn damaged_stores(&self) -> BTreeSet<StoreKey> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let damaged = kept.detailed.iter().filter(|finding| finding.severity == Severity::Damage);
        damaged.filter_map(|finding| finding.store.clone()).collect()
    }

    /// All that were kept, in order (damage first, then by store, newest version first), and how many there were of each
    /// kind.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Finding>, BTreeMap<(Severity, Kind), u64>) {
        let Kept { mut detailed, counts } = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        detailed.sort_by_cached_key(|finding| finding.order());
        (detailed, counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iavl::NodeKey;

    #[test]
    fn findings_come_out_ordered_counted_and_bounded_and_none_twice() {
        let findings = Findings::default();
        let node = |nonce| NodeKey::new(Version(3), nonce).into();
        findings.add(Finding::new(Kind::GhostRoot, "old").store(&"a".into()));
        for nonce in (2..1202).rev() {
            let at = Finding::new(Kind::MissingNode, "gone").store(&"b".into()).version(Version(4)).node(node(nonce));
            findings.add(at.clone().version(Version(3)));
            findings.add(at);
        }
        assert_eq!(findings.count(), 1201 + 201, "those that are not kept are counted each time they are met");
        let (detailed, counts) = findings.into_parts();
        assert_eq!(detailed.len(), Findings::DETAILED);
        assert_eq!(detailed[0].node, Some(node(203)), "ascending, of those that were first");
        assert!(detailed[..999].iter().all(|finding| finding.version == Some(Version(4))));
        assert_eq!(detailed[999].kind, Kind::GhostRoot, "notices last");
        assert_eq!(counts[&(Severity::Notice, Kind::GhostRoot)], 1);
        let json = serde_json::to_value(&detailed[0]).unwrap();
        assert_eq!(json["kind"], "missing-node");
        assert_eq!(json["severity"], "damage");
        assert_eq!((&json["store"], &json["version"], &json["node"]), (&"b".into(), &4.into(), &"(3, 203)".into()));
    }
}
