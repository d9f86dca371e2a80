//! The root of one store at one version, and the tree under it: what is wrong with it, said once and in the right words.

use super::{
    Examination, Interrupted, Store,
    finding::{Finding, Findings, Kind, Severity},
    walk::Walker,
};
use crate::{
    iavl::{Access, NodeId, NodeKey},
    model::{Hash, Version},
    source::StoreRoot,
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
        Err(error) if error.is_corruption() => {
            let kind = if matches!(error, crate::source::SourceError::Record { .. }) { Kind::BadRoot } else { Kind::Unreadable };
            say(kind, error.to_string())
        }
        Err(error) => return Err(error.into()),
    })
}

/// Examines the tree of an older version; what it shares with newer ones is known by the store's marks.
pub(super) fn examine<'a>(
    exam: &Examination<'a>,
    store: &'a Store,
    walker: &mut Walker<'a>,
    version: Version,
    expected: Hash,
) -> Result<State, Interrupted> {
    if !is_first_of_run(exam, store, version)? {
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

/// Whether the store has no root of the version before, although it was there: then it was pruned up to here.
fn is_first_of_run(exam: &Examination<'_>, store: &Store, version: Version) -> Result<bool, Interrupted> {
    let before = Version(version.0.saturating_sub(1));
    if store.survey.has_root(before) || !store.survey.is_whole {
        return Ok(false);
    }
    match exam.source.commit_info(before) {
        Ok(info) => Ok(info.is_some_and(|info| info.store(&store.name).is_some())),
        Err(error) if error.is_corruption() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
