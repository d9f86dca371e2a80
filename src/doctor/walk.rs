//! The walk that goes on after damage: every node that cannot be what the tree needs is named, with its parent, and the walk
//! continues beside it.
//!
//! A node of IAVL 1.x keeps its own hash, and a node's hash covers those of its children. So each inner node can be judged
//! with its two children alone, and where that fails, its parent tells which of the records is the one that was altered.

use super::{
    Interrupted,
    below::{Below, First, Known, decode},
    blame::{Inner, accuse, altered_hash, of_proof},
    finding::{Finding, Findings, Kind, Severity},
    marks::{Marks, mark_whole},
};
use crate::{
    iavl::{Claim, Fit, Forest, Node, NodeId, NodeReader, ProveError, ReadError, inner_hash, leaf_hash},
    model::{Hash, StoreKey, Version, to_hex},
    progress::Stop,
};
use std::collections::HashMap;

/// Why there is no node. Its parent says so.
struct Gone {
    kind: Kind,
    what: String,
}

/// Walks over trees of one store.
pub(super) struct Walker<'a> {
    store: &'a StoreKey,
    nodes: Box<dyn NodeReader + Send + 'a>,
    marks: Option<&'a Marks>,
    findings: &'a Findings,
    stop: &'a Stop,
    /// Subtrees that need not be walked over again.
    pub known: HashMap<NodeId, Known>,
    /// Proves whole subtrees where nothing was met before, within so many bytes.
    bulk: Option<(Forest, usize)>,
    version: Version,
    path: Vec<NodeId>,
    /// The smallest key that the next node can have below, where its ancestors tell.
    low: Option<Vec<u8>>,
    firsts: HashMap<NodeId, Vec<u8>>,
    interrupted: Option<Interrupted>,
    visits: u64,
}

/// Leaves of a subtree that is tried as a whole first.
const PIECE: u64 = 8192;
/// A path longer than that is no path of a tree.
const DEEPEST: usize = 200;
/// Smallest keys that are remembered.
const FIRSTS: usize = 4096;

impl<'a> Walker<'a> {
    pub fn new(
        store: &'a StoreKey,
        nodes: Box<dyn NodeReader + Send + 'a>,
        marks: Option<&'a Marks>,
        findings: &'a Findings,
        stop: &'a Stop,
    ) -> Walker<'a> {
        Walker {
            store,
            nodes,
            marks,
            findings,
            stop,
            known: HashMap::new(),
            bulk: None,
            version: Version(0),
            path: Vec::new(),
            low: None,
            firsts: HashMap::new(),
            interrupted: None,
            visits: 0,
        }
    }

    /// Tries whole subtrees first, with so much memory: for a tree of which little was met before.
    pub fn in_bulk(mut self, bytes: usize) -> Walker<'a> {
        self.bulk = Some((Forest::default(), bytes));
        self
    }

    /// Walks over the tree under a root; whether it is the one with this hash, and sound.
    pub fn tree(&mut self, version: Version, root: NodeId, expected: Hash) -> Result<bool, Interrupted> {
        self.begin(version);
        let found = self.visit(root);
        self.interrupted.take().map_or(Ok(()), Err)?;
        let below = match found {
            Ok(below) => below,
            Err(Gone { kind, what }) => {
                let kind = if kind == Kind::MissingNode { Kind::DanglingRoot } else { kind };
                let words = match kind {
                    Kind::Unreadable => what,
                    _ => format!("the root, node {root}, {what}"),
                };
                self.say(Finding::new(kind, words).node(root));
                return Ok(false);
            }
        };
        if below.recorded != expected && below.computed == expected {
            self.say(altered_hash(&below, "the commit info"));
            return Ok(false);
        }
        if let (false, Some(wrong)) = (below.is_consistent(), &below.wrong) {
            self.say(wrong.clone());
        }
        if below.recorded != expected {
            let words =
                format!("the root, node {root}, has hash {}, and the commit info says {expected}", below.recorded);
            self.say(Finding::new(Kind::RootDiffers, words).node(root));
        }
        Ok(below.is_sound && below.is_consistent() && below.recorded == expected)
    }

    /// Walks over a subtree whose root's hash was proven from above. Says what is known of it then.
    pub fn subtree(&mut self, version: Version, claim: Claim) -> Result<Known, Interrupted> {
        self.begin(version);
        let found = self.visit(claim.at);
        self.interrupted.take().map_or(Ok(()), Err)?;
        let Ok(mut below) = found else { return Ok(Known { is_sound: false, first: None }) };
        if let (false, Some(wrong)) = (below.is_consistent(), below.wrong.take()) {
            self.say(wrong);
            below.is_sound = false;
        }
        let first = match below.first {
            First::Known(first) => Some(first),
            First::Look | First::Unknown => None,
        };
        Ok(Known { is_sound: below.is_sound, first })
    }

    fn begin(&mut self, version: Version) {
        self.version = version;
        self.path.clear();
        self.low = None;
    }

    fn say(&self, finding: Finding) {
        // Whoever meets it again knows that it was told.
        if let (Severity::Damage, Some(at)) = (finding.severity, finding.node) {
            self.mark(at, false);
        }
        self.findings.add(finding.store(self.store).version(self.version));
    }

    fn read(&mut self, at: NodeId, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        match &at {
            NodeId::Current(key) => self.nodes.read(*key, out),
            NodeId::Legacy(hash) => self.nodes.read_legacy(hash, out),
        }
    }

    fn visit(&mut self, at: NodeId) -> Result<Below, Gone> {
        let gone = |kind, what: String| Err(Gone { kind, what });
        self.visits += 1;
        if self.visits.is_multiple_of(1024) && self.stop.is_asked() {
            self.interrupted.get_or_insert(Interrupted::Stopped);
        }
        if self.interrupted.is_some() {
            return gone(Kind::NotExamined, String::new());
        }
        if self.path.iter().any(|above| above.is_same(at)) {
            return gone(Kind::Cycle, "is also above it: whoever follows it never ends".to_owned());
        }
        if self.path.len() >= DEEPEST {
            return gone(Kind::WrongHeight, "lies deeper than any tree is high".to_owned());
        }
        let mut record = Vec::new();
        match self.read(at, &mut record) {
            Ok(true) => {}
            Ok(false) => return gone(Kind::MissingNode, "is missing".to_owned()),
            Err(error) if error.corrupt => return gone(Kind::Unreadable, error.message),
            Err(error) => {
                self.interrupted = Some(Interrupted::Read(error));
                return gone(Kind::NotExamined, String::new());
            }
        }
        let (version, node) = match decode(at, &record) {
            Ok(decoded) => decoded,
            Err(what) => return gone(Kind::BadRecord, what),
        };
        let known = self.known.get(&at.plain()).cloned();
        let marked = || self.marks.and_then(|marks| marks.known(at));
        let known = known.or_else(|| marked().map(|is_sound| Known { is_sound, first: None }));
        match node {
            Node::Leaf { key, value } => Ok(self.leaf(at, version, key, value, known)),
            Node::Inner { height, size, key, hash, left, right } => {
                if let Some(known) = known {
                    let first = match known.first {
                        Some(first) => First::Known(first),
                        None if known.is_sound => First::Look,
                        None => First::Unknown,
                    };
                    self.mark(at, known.is_sound);
                    let (recorded, computed, is_sound) = (hash, hash, known.is_sound);
                    let (leaves, was_told) = (size, !is_sound);
                    return Ok(Below {
                        at,
                        leaves,
                        height,
                        recorded,
                        computed,
                        first,
                        is_sound,
                        wrong: None,
                        was_told,
                    });
                }
                let inner = Inner { at, version, height, size, key: key.to_vec(), recorded: hash };
                self.inner(inner, [left, right])
            }
        }
    }

    fn leaf(&mut self, at: NodeId, version: Version, key: &[u8], value: &[u8], known: Option<Known>) -> Below {
        let computed = leaf_hash(version, key, value);
        let was_told = known.as_ref().is_some_and(|known| !known.is_sound);
        let mut is_sound = !was_told;
        let mut first = First::Known(key.to_vec());
        let recorded = match at {
            NodeId::Current(_) => computed,
            NodeId::Legacy(name) => name,
        };
        if recorded != computed {
            let words = format!("leaf {at} has hash {computed}, and is kept under another");
            self.say(Finding::new(Kind::WrongHash, words).node(at).parent(self.path.last().copied()));
            (is_sound, first) = (false, First::Unknown);
        }
        self.mark(at, is_sound);
        // What is wrong with it was said, and what it should be is known.
        Below { at, leaves: 1, height: 0, recorded, computed: recorded, first, is_sound, wrong: None, was_told }
    }

    fn inner(&mut self, node: Inner, children: [NodeId; 2]) -> Result<Below, Gone> {
        let at = node.at;
        let objection = match self.try_whole(&node) {
            Ok(Some(below)) => return Ok(below),
            Ok(None) => None,
            Err(objection) => Some(objection),
        };
        let said = self.findings.count();
        self.path.push(at);
        let low = self.low.clone();
        let [left, right] = children.map(|child| self.child(&node, child));
        self.low = low;
        self.path.pop();
        let below = match (left, right) {
            (Ok(left), Ok(right)) => self.judge(&node, left, right),
            (left, right) => self.without(&node, children, left, right),
        };
        if let Some(objection) = objection
            && self.findings.count() == said
            && below.is_sound
            && below.is_consistent()
            && self.interrupted.is_none()
        {
            // What the other proof objects to must not go unsaid, whatever it is.
            self.say(of_proof(&objection));
            self.mark(at, false);
            return Ok(Below { is_sound: false, ..below });
        }
        self.mark(at, below.is_sound && below.is_consistent());
        Ok(below)
    }

    /// Visits a child; the left one first.
    fn child(&mut self, node: &Inner, child: NodeId) -> Result<Below, Gone> {
        let is_above = self.path.iter().any(|above| above.is_same(child));
        let found = match child.key() {
            Some(key) if key.version > node.version && !is_above => {
                Err(Gone { kind: Kind::WrongChild, what: "is newer than it".to_owned() })
            }
            _ => self.visit(child),
        };
        self.low = Some(node.key.clone());
        found
    }

    /// Proves a subtree as a whole, if that is to be tried and memory holds it.
    fn try_whole(&mut self, node: &Inner) -> Result<Option<Below>, ProveError> {
        let Some((forest, budget)) = &mut self.bulk else { return Ok(None) };
        if node.size > PIECE {
            return Ok(None);
        }
        let claim = Claim { at: node.at, hash: node.recorded };
        match forest.read(&mut self.nodes, &[claim], *budget)? {
            Fit::TooLarge { .. } => Ok(None),
            Fit::Whole => {
                let proof = forest.proofs().next().ok_or(ProveError::Sink)?.clone();
                if let Some(marks) = self.marks {
                    mark_whole(forest, 0, marks)?;
                }
                Ok(Some(Below {
                    at: node.at,
                    leaves: proof.leaves,
                    height: proof.height,
                    recorded: node.recorded,
                    computed: node.recorded,
                    first: First::Known(proof.first_key),
                    is_sound: true,
                    wrong: None,
                    was_told: false,
                }))
            }
        }
    }

    /// A node one or both of whose children are not there.
    fn without(
        &mut self,
        node: &Inner,
        children: [NodeId; 2],
        left: Result<Below, Gone>,
        right: Result<Below, Gone>,
    ) -> Below {
        let keys = match (&left, &right) {
            (Ok(other), Err(_)) | (Err(_), Ok(other)) => node.size.checked_sub(other.leaves),
            _ => None,
        };
        let first = if let Ok(left) = &left { left.first.clone() } else { First::Unknown };
        for ((child, found), side) in children.into_iter().zip([left, right]).zip(["left", "right"]) {
            match found {
                Err(Gone { kind, what }) if self.interrupted.is_none() => {
                    let lost = match keys {
                        Some(1) => "; 1 key is below it".to_owned(),
                        Some(keys) => format!("; {keys} keys are below it"),
                        None => String::new(),
                    };
                    let words = match kind {
                        Kind::Unreadable => what,
                        _ => format!("node {child}, the {side} child of {}, {what}{lost}", node.at),
                    };
                    self.say(Finding::new(kind, words).node(child).parent(Some(node.at)).keys(keys));
                }
                Ok(below) if !below.is_consistent() => self.blame(below, node.at),
                _ => {}
            }
        }
        let (leaves, height, recorded) = (node.size, node.height, node.recorded);
        let (computed, is_sound, wrong) = (recorded, false, None);
        Below { at: node.at, leaves, height, recorded, computed, first, is_sound, wrong, was_told: false }
    }

    /// A node with both children: does its record fit theirs?
    fn judge(&mut self, node: &Inner, left: Below, right: Below) -> Below {
        let hash = |left: &Hash, right: &Hash| inner_hash(node.height, node.size, node.version, left, right);
        let mut computed = hash(&left.recorded, &right.recorded);
        let mut altered = [false; 2];
        if computed != node.recorded {
            // The record of a child may keep a wrong hash while all below it, and this node, are right.
            let other = [(true, false), (false, true), (true, true)].into_iter().find(|(in_left, in_right)| {
                let of = |child: &Below, other| if other { child.computed } else { child.recorded };
                hash(&of(&left, *in_left), &of(&right, *in_right)) == node.recorded
            });
            if let Some((in_left, in_right)) = other {
                (altered, computed) = ([in_left, in_right], node.recorded);
            }
        }
        let is_confirmed = computed == node.recorded;
        let counted = (left.leaves.saturating_add(right.leaves), left.height.max(right.height).saturating_add(1));
        // Unless it was this node's size or height that was altered, they are right whatever is below.
        let (mut leaves, mut height) = (node.size, node.height);
        let was_told = left.was_told || right.was_told;
        let mut is_sound = left.is_sound && right.is_sound && left.is_consistent() && right.is_consistent();
        let mut wrong = None;
        let mut first = if is_confirmed { left.first.clone() } else { First::Unknown };
        if !is_confirmed && was_told {
            computed = node.recorded;
        } else if !is_confirmed {
            let firsts = [&left, &right].map(|child| self.first_of(child));
            let accusation = accuse(node, [&left, &right], firsts, self.low.as_deref());
            match accusation.kind {
                Kind::WrongSize => leaves = counted.0,
                Kind::WrongHeight => height = counted.1,
                _ => {}
            }
            if node.at.key().is_none() {
                // A legacy node's name is its hash: nobody else has to be asked.
                self.say(accusation.parent(self.path.last().copied()));
                (computed, is_sound) = (node.recorded, false);
            } else if self.was_blamed(node, &left, &right) {
                (computed, is_sound) = (node.recorded, false);
            } else {
                wrong = Some(accusation);
            }
        } else if let (false, Some(finding)) = (was_told, node.misshaped(counted.0, counted.1)) {
            self.say(finding);
            is_sound = false;
        } else if let Some(smallest) = self.first_of(&right)
            && smallest != node.key
        {
            let (found, expected) = (to_hex(&node.key), to_hex(&smallest));
            let words = format!(
                "inner node {} has key {found}, the smallest key of its right subtree is {expected}: what lies between \
                 the two is not found, and no hash covers it",
                node.at
            );
            self.say(Finding::new(Kind::WrongInnerKey, words).node(node.at).parent(self.path.last().copied()));
            is_sound = false;
            first = left.first.clone();
        }
        for (child, hash_is_wrong) in [left, right].into_iter().zip(altered) {
            if hash_is_wrong {
                self.mark(child.at, false);
                self.say(altered_hash(&child, &format!("its parent {}", node.at)).parent(Some(node.at)));
            } else if !child.is_consistent() {
                self.blame(child, node.at);
            }
        }
        Below {
            at: node.at,
            leaves,
            height,
            recorded: node.recorded,
            computed,
            first,
            is_sound,
            wrong,
            was_told: false,
        }
    }

    /// Says what is wrong with a child.
    fn blame(&mut self, child: Below, parent: NodeId) {
        self.mark(child.at, false);
        if let Some(mut wrong) = child.wrong {
            wrong.parent = wrong.parent.or(Some(parent));
            self.say(wrong);
        }
    }

    /// Whether one of two children was suspected under another parent: then it is that child which was altered.
    fn was_blamed(&mut self, node: &Inner, left: &Below, right: &Below) -> bool {
        let Some(marks) = self.marks else { return false };
        let found = [left, right].into_iter().find_map(|child| Some((child.at, marks.blamed_for(child.at)?)));
        let Some((child, blamed)) = found else {
            marks.suspect([left.at, right.at], node.at);
            return false;
        };
        let words = format!("node {child} was altered: its parents {blamed} and {} have the hash of another", node.at);
        let finding = Finding::new(Kind::WrongHash, words).node(child).parent(Some(blamed));
        self.findings.blame(self.store, blamed, finding);
        self.mark(child, false);
        true
    }

    fn mark(&self, at: NodeId, is_sound: bool) {
        if let Some(marks) = self.marks {
            marks.mark(at, is_sound);
        }
    }

    /// The smallest key below a node, if no damage is in the way.
    fn first_of(&mut self, below: &Below) -> Option<Vec<u8>> {
        match &below.first {
            First::Known(first) => return Some(first.clone()),
            First::Unknown => return None,
            First::Look => {}
        }
        let mut at = below.at;
        let mut passed = Vec::new();
        let mut record = Vec::new();
        let first = loop {
            if let Some(first) = self.firsts.get(&at) {
                break first.clone();
            }
            if passed.len() > DEEPEST {
                return None;
            }
            passed.push(at);
            record.clear();
            if !matches!(self.read(at, &mut record), Ok(true)) {
                return None;
            }
            match decode(at, &record).ok()?.1 {
                Node::Leaf { key, .. } => break key.to_vec(),
                Node::Inner { left, .. } => at = left,
            }
        };
        if self.firsts.len() + passed.len() > FIRSTS {
            self.firsts.clear();
        }
        self.firsts.extend(passed.into_iter().map(|at| (at, first.clone())));
        Some(first)
    }
}
