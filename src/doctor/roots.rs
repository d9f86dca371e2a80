//! The root of one store at one version, and the tree under it: what is wrong with it, said once and in the right words.

use super::{
    Examination, Interrupted, Store,
    finding::{Finding, Findings, Kind, Severity},
    walk::Walker,
};
use crate::{
    iavl::{Access, Node, NodeId, NodeKey, RootRecord},
    model::{Hash, Version},
    source::{SourceError, StoreRoot},
};

/// What there is for a root.
pub(super) enum Root {
    Empty,
    Node(NodeId, Hash),
    /// No record at all.
    Absent,
    /// A record that leads nowhere, or is none; it was said.
    Bad,
}

/// How a tree of an older version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Absent,
    /// What is wrong was said.
    Damaged,
    /// What pruning left of it.
    Ghost,
    /// IAVL wrote another version's root over it.
    Overwritten,
}

/// Looks a root up. Damage goes to `findings`.
pub(super) fn look_up(
    exam: &Examination<'_>,
    store: &Store,
    version: Version,
    findings: &Findings,
) -> Result<Root, Interrupted> {
    let at = NodeId::from(NodeKey::root_of(version));
    let say = |kind, words: String| {
        findings.add(Finding::new(kind, words).store(&store.name).version(version).node(at));
        Root::Bad
    };
    Ok(match exam.source.root(&store.name, version) {
        Ok(Some(StoreRoot::Empty)) => Root::Empty,
        Ok(Some(StoreRoot::Node { at, hash })) => Root::Node(at, hash),
        Ok(None) if store.survey.has_root(version) => {
            say(Kind::DanglingRoot, format!("the root record of version {version} refers to a node that is not there"))
        }
        Ok(None) => Root::Absent,
        Err(error @ SourceError::Record { .. }) => match record_of(exam, store, version) {
            // The record is there, and is no node: the same for all versions that refer to it.
            Some(node) => {
                let finding = Finding::new(Kind::BadRecord, format!("the root, node {node}: {error}"));
                findings.add(finding.store(&store.name).version(version).node(node));
                Root::Bad
            }
            None => say(Kind::BadRoot, error.to_string()),
        },
        Err(error) if error.is_corruption() => say(Kind::Unreadable, error.to_string()),
        Err(error) => return Err(error.into()),
    })
}

/// Where the node is that a root record leads to.
fn record_of(exam: &Examination<'_>, store: &Store, version: Version) -> Option<NodeId> {
    let mut nodes = exam.source.nodes(&store.name, Access::Points);
    let mut record = Vec::new();
    let root = NodeKey::root_of(version);
    nodes.read(root, &mut record).ok().filter(|is_there| *is_there)?;
    match RootRecord::decode(&record)? {
        RootRecord::Node => Some(root.into()),
        RootRecord::Reference(target) => Some(target.into()),
        RootRecord::Empty => None,
    }
}

/// Examines the tree of an older version; what it shares with newer ones is known by the store's marks.
pub(super) fn examine<'a>(
    exam: &Examination<'a>,
    store: &'a Store,
    walker: &mut Walker<'a>,
    version: Version,
    expected: Hash,
) -> Result<State, Interrupted> {
    if !may_be_ghost(exam, store, version)? {
        return examine_with(exam, store, walker, version, expected, exam.findings);
    }
    // What pruning leaves begins a run of versions, and lacks nodes: that is no damage. So first of all quietly.
    let quiet = Findings::default();
    let state = {
        let nodes = exam.source.nodes(&store.name, Access::Points);
        let mut walker = Walker::new(&store.name, nodes, store.marks.as_ref(), &quiet, exam.stop);
        examine_with(exam, store, &mut walker, version, expected, &quiet)?
    };
    let (found, _) = quiet.into_parts();
    let is_gone = |finding: &Finding| matches!(finding.kind, Kind::MissingNode | Kind::DanglingRoot);
    let damage = found.iter().filter(|finding| finding.severity == Severity::Damage);
    if state == State::Damaged && damage.clone().next().is_some() && damage.clone().all(is_gone) {
        let words = format!(
            "the root of version {version} is there and nodes of its tree are not ({}): pruning left it behind",
            damage.count()
        );
        let finding = Finding::new(Kind::GhostRoot, words).store(&store.name).version(version);
        exam.findings.add(finding.node(NodeKey::root_of(version).into()));
        return Ok(State::Ghost);
    }
    found.into_iter().for_each(|finding| exam.findings.add(finding));
    Ok(state)
}

fn examine_with<'a>(
    exam: &Examination<'a>,
    store: &'a Store,
    walker: &mut Walker<'a>,
    version: Version,
    expected: Hash,
    findings: &Findings,
) -> Result<State, Interrupted> {
    let (at, hash) = match look_up(exam, store, version, findings)? {
        Root::Absent => return Ok(State::Absent),
        Root::Bad => return Ok(State::Damaged),
        Root::Empty if expected == Hash::EMPTY => return Ok(State::Whole),
        Root::Empty => {
            let words = format!("the tree of version {version} is empty, and the commit info says {expected}");
            findings.add(Finding::new(Kind::RootDiffers, words).store(&store.name).version(version));
            return Ok(State::Damaged);
        }
        Root::Node(at, hash) => (at, hash),
    };
    // IAVL 1.x writes legacy roots anew under nonce 0, two of one version one over the other.
    if hash != expected && at.key().is_some_and(|key| key.nonce == 0 && key.version < version) {
        let words = format!(
            "the root of version {version}, node {at}, is that of another version: IAVL 1.x wrote it over the one that was \
             committed"
        );
        let finding = Finding::new(Kind::OverwrittenRoot, words).store(&store.name).version(version);
        findings.add(finding.node(NodeKey::root_of(version).into()));
        return Ok(State::Overwritten);
    }
    Ok(if walker.tree(version, at, expected)? { State::Whole } else { State::Damaged })
}

/// Whether a root may be what pruning left: the store has none of the version before, and either it was there once, or
/// everything that this version alone had is gone.
fn may_be_ghost(exam: &Examination<'_>, store: &Store, version: Version) -> Result<bool, Interrupted> {
    let before = Version(version.0.saturating_sub(1));
    if store.survey.has_root(before) || !store.survey.is_whole {
        return Ok(false);
    }
    match exam.source.commit_info(before) {
        Ok(Some(info)) if info.store(&store.name).is_some() => Ok(true),
        Ok(_) => Ok(has_nothing_of_its_own(exam, store, version)),
        Err(error) if error.is_corruption() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether all children of a root are gone, or belong to newer versions.
fn has_nothing_of_its_own(exam: &Examination<'_>, store: &Store, version: Version) -> bool {
    let mut nodes = exam.source.nodes(&store.name, Access::Points);
    let mut record = Vec::new();
    let is_there = nodes.read(NodeKey::root_of(version), &mut record);
    let (Ok(true), Ok(Node::Inner { left, right, .. })) = (is_there, Node::decode(&record)) else { return false };
    let mut is_own = |child: NodeId| {
        let mut record = Vec::new();
        let is_there = match &child {
            NodeId::Current(key) => nodes.read(*key, &mut record),
            NodeId::Legacy(hash) => nodes.read_legacy(hash, &mut record),
        };
        !matches!(is_there, Ok(false)) && store.marks.as_ref().is_none_or(|marks| marks.known(child).is_none())
    };
    !is_own(left) && !is_own(right)
}
