//! What no version needs: stores that were deleted, versions that a crash tore, roots that pruning left, nodes that nothing
//! refers to. All of it is to be known, none of it in a migration's way.

use super::{
    Examination, Interrupted, Store,
    anchor::Anchor,
    finding::{Finding, Kind},
};
use crate::{
    iavl::{Access, Node, NodeId, NodeKey, RootRecord},
    model::{ChunkSet, Hash, StoreKey, Version},
};
use std::collections::BTreeMap;

/// Looks at what lies beside the trees. `all_met` says whether the marks tell of every version.
pub(super) fn examine(
    exam: &Examination<'_>,
    anchor: &Anchor,
    stores: &[Store],
    all_met: bool,
) -> Result<(), Interrupted> {
    let live = anchor.stores();
    if let Some(words) = &anchor.lacks_info {
        let newest = stores.iter().map(|store| store.survey.newest).max().unwrap_or_default();
        let is_ahead = anchor.is_said && newest < anchor.asked && anchor.asked == anchor.latest;
        let finding = if is_ahead {
            let words = format!("s/latest says {}, and no tree is newer than version {newest}", anchor.latest);
            Finding::new(Kind::LatestAhead, words)
        } else {
            Finding::new(Kind::MissingCommitInfo, words)
        };
        exam.findings.add(finding.version(anchor.asked));
    }
    let damaged = exam.findings.damaged_stores();
    for store in stores {
        exam.heed_stop()?;
        let survey = &store.survey;
        ahead(exam, store, anchor.latest);
        if survey.tallies.o.records > 0 {
            let words = format!(
                "{} orphan records of IAVL up to 0.20, which a migration does not need; IAVL 1.x deletes them when it prunes",
                survey.tallies.o.records
            );
            let finding = Finding::new(Kind::OrphanRecords, words).store(&store.name);
            exam.findings.add(finding.counted(survey.tallies.o.records, Some(survey.tallies.o.bytes)));
        }
        if !live.iter().any(|(name, _)| *name == store.name) {
            if anchor.info.is_some() {
                deleted(exam, anchor, store);
            }
        } else if all_met && survey.is_whole && !damaged.contains(&store.name) {
            unreferenced(exam, store, anchor.latest)?;
        }
    }
    Ok(())
}

/// What a crash within a commit leaves.
fn ahead(exam: &Examination<'_>, store: &Store, latest: Version) {
    let survey = &store.survey;
    if survey.newest <= latest {
        return;
    }
    let newest = survey.newest;
    let finding = if survey.has_root(newest) {
        let words = format!(
            "the store is at version {newest}, s/latest at {latest}: a crash between the stores' commits, or a rollback of \
             s/latest; s/latest counts"
        );
        Finding::new(Kind::StoreAhead, words).node(NodeKey::root_of(newest).into())
    } else {
        let words = format!(
            "{} nodes of version {newest} without their root: a crash within the store's commit, of which nothing counts",
            survey.ahead
        );
        Finding::new(Kind::TornVersion, words)
    };
    exam.findings.add(finding.store(&store.name).version(newest).counted(survey.ahead, None));
}

fn deleted(exam: &Examination<'_>, anchor: &Anchor, store: &Store) {
    let all = store.survey.tallies.all();
    let last = store.survey.versions(anchor.latest).map(|(_, last, _)| last).unwrap_or_default();
    let version = anchor.version().unwrap_or_default();
    let words = format!(
        "version {version} does not have this store; an upgrade deleted or renamed it, and its {} records stay for ever (its \
         last root is that of version {last})",
        all.records
    );
    let finding = Finding::new(Kind::DeletedStore, words).store(&store.name).version(last);
    exam.findings.add(finding.counted(all.records, Some(all.bytes)));
}

/// Nodes that no version reached: how many, and the first of them.
fn unreferenced(exam: &Examination<'_>, store: &Store, latest: Version) -> Result<(), Interrupted> {
    let Some(marks) = &store.marks else { return Ok(()) };
    let (current, legacy) = marks.met();
    if current + legacy >= store.survey.nodes {
        return Ok(());
    }
    let prefix = store.name.as_str().len() as u64 + 5;
    let mut scan = exam.source.records(&store.name);
    scan.seek(b"n");
    let mut found: [(u64, u64, Option<NodeId>); 2] = Default::default();
    loop {
        let (at, length) = match scan.next() {
            Ok(None) => break,
            Ok(Some((key, value))) => {
                let at = match key {
                    [b'n', hash @ ..] => hash.try_into().ok().map(|hash| NodeId::Legacy(Hash(hash))),
                    key => NodeKey::from_bytes(key).filter(|key| key.version <= latest).map(NodeId::from),
                };
                let is_root = at.and_then(NodeId::key).is_some_and(|key| key.nonce == 1)
                    && !matches!(RootRecord::decode(value), Some(RootRecord::Node));
                (at.filter(|_| !is_root), prefix + (key.len() + value.len()) as u64)
            }
            Err(error) if error.is_corruption() => break,
            Err(error) => return Err(error.into()),
        };
        if let Some(at) = at
            && marks.known(at).is_none()
            && let [current, legacy] = &mut found
        {
            let of_kind = if at.key().is_some() { current } else { legacy };
            of_kind.0 += 1;
            of_kind.1 += length;
            of_kind.2.get_or_insert(at);
        }
    }
    let causes = ["an interrupted pruning leaves such nodes", "IAVL 1.x leaves legacy roots that it wrote anew"];
    for ((count, bytes, first), cause) in found.into_iter().zip(causes) {
        let Some(first) = first else { continue };
        let words = match count {
            1 => format!("1 node, {first}, belongs to no version that is whole; {cause}"),
            count => format!("{count} nodes, the first of them {first}, belong to no version that is whole; {cause}"),
        };
        let finding = Finding::new(Kind::UnreferencedNodes, words).store(&store.name).node(first);
        exam.findings.add(finding.counted(count, Some(bytes)));
    }
    Ok(())
}

/// A run of versions longer than that is no ghost's.
const GHOSTS: u64 = 3;

/// Roots of versions that other stores do not have any more.
pub(super) fn roots(
    exam: &Examination<'_>,
    stores: &[Store],
    live: &[(StoreKey, Option<Hash>)],
    leftover: &BTreeMap<StoreKey, ChunkSet>,
) {
    let mut behind: Vec<(&StoreKey, u64)> = Vec::new();
    for (name, versions) in leftover {
        let Some(store) = stores.iter().find(|store| store.name == *name) else { continue };
        for (start, end) in versions.ranges() {
            let (mut ghosts, mut others) = (Vec::new(), 0);
            if end - start <= GHOSTS {
                for version in (*start..*end).map(Version) {
                    if is_ghost(exam, store, version) { ghosts.push(version) } else { others += 1 }
                }
            } else {
                others = end - start;
            }
            for version in ghosts {
                let words =
                    format!("the root of version {version} is there, and the version is not: pruning left it behind");
                let finding = Finding::new(Kind::GhostRoot, words).store(name).version(version);
                exam.findings.add(finding.node(NodeKey::root_of(version).into()));
            }
            if others > 0 {
                behind.push((name, *start));
            }
        }
    }
    let first = |name: &StoreKey| {
        let store = stores.iter().find(|store| store.name == *name)?;
        store.survey.roots.ranges().last().map(|(start, _)| *start)
    };
    let furthest = live.iter().filter_map(|(name, _)| Some((first(name)?, name))).max();
    if let (Some((store, start)), Some((from, name))) = (behind.first(), furthest) {
        let words = format!(
            "the stores are pruned differently: store {name} begins at version {from}, {} others have older versions, store \
             {store} for one from {start} on; pruning was interrupted, or goes on when the node runs",
            behind.len()
        );
        let finding = Finding::new(Kind::UnfinishedPruning, words).store(name).version(Version(from));
        exam.findings.add(finding.counted(behind.len() as u64, None));
    }
}

/// Whether a root record is alone: neither its neighbours nor all of its children are there.
fn is_ghost(exam: &Examination<'_>, store: &Store, version: Version) -> bool {
    if !store.survey.node_roots.contains(version.0) {
        return false;
    }
    let is_alone = !store.survey.has_root(version.next()) && !store.survey.has_root(Version(version.0 - 1));
    let mut nodes = exam.source.nodes(&store.name, Access::Points);
    let mut record = Vec::new();
    if !matches!(nodes.read(NodeKey::root_of(version), &mut record), Ok(true)) {
        return true;
    }
    let Ok(Node::Inner { left, right, .. }) = Node::decode(&record) else { return is_alone };
    let mut is_there = |child: NodeId| {
        let mut record = Vec::new();
        match &child {
            NodeId::Current(key) => matches!(nodes.read(*key, &mut record), Ok(true)),
            NodeId::Legacy(hash) => matches!(nodes.read_legacy(hash, &mut record), Ok(true)),
        }
    };
    is_alone || !is_there(left) || !is_there(right)
}
