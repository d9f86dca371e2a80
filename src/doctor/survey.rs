//! The survey: one walk over all records of a store, whatever they are.
//!
//! Owns what can be said without following a pointer: how much there is of each kind, which versions have root records, what
//! lies beyond `s/latest`. Hands the layout of the nodes to `Marks`.

use super::{
    finding::{Finding, Findings, Kind},
    marks::Layout,
    watch::{Step, Watch},
};
use crate::{
    iavl::{Node, NodeId, NodeKey, RootRecord, legacy},
    model::{ChunkSet, Hash, StoreKey, Version, to_hex},
    progress::Stop,
    source::{Source, SourceError},
};
use serde::Serialize;

/// Records and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Bytes of their keys (whole database keys) and values.
    pub bytes: u64,
}

/// The records of a store by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tallies {
    /// Nodes and roots of IAVL 1.x.
    pub s: Tally,
    /// Legacy nodes.
    pub n: Tally,
    /// Legacy roots.
    pub r: Tally,
    /// Legacy orphans.
    pub o: Tally,
    /// The fast index.
    pub f: Tally,
    /// Metadata.
    pub m: Tally,
    /// Anything else.
    pub other: Tally,
}

impl Tallies {
    /// All together.
    #[must_use]
    pub fn all(&self) -> Tally {
        let kinds = [self.s, self.n, self.r, self.o, self.f, self.m, self.other];
        kinds.iter().fold(Tally::default(), |sum, kind| Tally {
            records: sum.records + kind.records,
            bytes: sum.bytes + kind.bytes,
        })
    }
}

/// What one walk over the records of a store shows.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Records and bytes by kind.
    pub tallies: Tallies,
    /// Versions with a root record: of IAVL 1.x and legacy.
    pub roots: ChunkSet,
    /// Versions with a legacy root.
    pub legacy_roots: ChunkSet,
    /// Versions with a root record that is itself a node.
    pub node_roots: ChunkSet,
    /// Nodes up to `s/latest`; a root that is there under nonce 0 and 1 is one.
    pub nodes: u64,
    /// The newest version that has any record.
    pub newest: Version,
    /// Nodes of versions after `s/latest`.
    pub ahead: u64,
    /// `m storage_version`.
    pub storage_version: Option<String>,
    /// Where the nodes' marks are; none if they would take too much memory.
    pub layout: Option<Layout>,
    /// Bytes that the marks would take.
    pub layout_bytes: u64,
    /// Whether all was read.
    pub is_whole: bool,
    unknown: Option<String>,
    odd: Option<(NodeId, u64, u64)>,
    scratch: Vec<u8>,
}

impl Survey {
    /// Whether the store has a record of the root of this version.
    #[must_use]
    pub fn has_root(&self, version: Version) -> bool {
        self.roots.contains(version.0)
    }

    /// The first and the last version up to a version, and how many there are.
    #[must_use]
    pub fn versions(&self, latest: Version) -> Option<(Version, Version, u64)> {
        let ranges = self.roots.ranges().iter().filter(|(start, _)| *start <= latest.0);
        let ranges = ranges.map(|(start, end)| (*start, (*end).min(latest.0.saturating_add(1))));
        let (mut first, mut last, mut count) = (None, 0, 0);
        for (start, end) in ranges {
            first.get_or_insert(start);
            (last, count) = (end - 1, count + (end - start));
        }
        first.map(|first| (Version(first), Version(last), count))
    }
}

/// The first byte of each kind of record, in their order on disk.
const KINDS: [u8; 6] = [b'f', b'm', b'n', b'o', b'r', b's'];

/// Walks over a store's records. `most` bounds the bytes of the marks.
///
/// # Errors
/// The database could not be read for another reason than damage, or somebody asked to stop. Damage is a finding, and the
/// walk goes on with the next kind of records.
pub fn survey(
    source: &dyn Source,
    store: &StoreKey,
    latest: Version,
    most: u64,
    findings: &Findings,
    watch: &Watch,
    stop: &Stop,
) -> Result<Option<Survey>, SourceError> {
    let mut survey = Survey { layout: Some(Layout::default()), is_whole: true, ..Survey::default() };
    let prefix = store.as_str().len() as u64 + 5;
    let mut scan = source.records(store);
    let mut at = 0;
    let mut before = NodeKey::new(Version(0), 0);
    let mut walked = 0u64;
    loop {
        match scan.next() {
            Ok(None) => break,
            Ok(Some((key, value))) => {
                at = key.first().copied().unwrap_or(0);
                let bytes = prefix + (key.len() + value.len()) as u64;
                survey.take(key, value, bytes, latest, &mut before);
                walked += bytes;
                if walked >= 1 << 20 {
                    if stop.is_asked() {
                        return Ok(None);
                    }
                    watch.advance(Step::Scanning, walked);
                    walked = 0;
                }
            }
            Err(error) if error.is_corruption() => {
                survey.is_whole = false;
                findings.add(Finding::new(Kind::Unreadable, error.to_string()).store(store));
                let Some(next) = KINDS.into_iter().find(|kind| *kind > at) else { break };
                at = next;
                scan.seek(&[next]);
            }
            Err(error) => return Err(error),
        }
        if survey.layout.as_ref().is_some_and(|layout| layout.held() > most) {
            survey.layout = None;
        }
    }
    if let Some(layout) = &mut survey.layout {
        layout.close();
        survey.layout_bytes = layout.bytes();
    }
    watch.advance(Step::Scanning, walked);
    if let Some(words) = survey.unknown.take() {
        let tally = survey.tallies.other;
        let words = format!("{} records are of no kind IAVL has, the first under {words}", tally.records);
        let finding = Finding::new(Kind::UnknownRecords, words).store(store);
        findings.add(finding.counted(tally.records, Some(tally.bytes)));
    }
    if let Some((first, count, bytes)) = survey.odd {
        let words = format!(
            "{count} node records, the first of them {first}, are not written as IAVL writes them; they read the same, and are \
             written as IAVL does when they are migrated"
        );
        let finding = Finding::new(Kind::OddRecord, words).store(store).node(first);
        findings.add(finding.counted(count, Some(bytes)));
    }
    Ok(Some(survey))
}

impl Survey {
    fn take(&mut self, key: &[u8], value: &[u8], bytes: u64, latest: Version, before: &mut NodeKey) {
        let legacy_root = || Some(u64::from_be_bytes(key.strip_prefix(b"r")?.try_into().ok()?));
        let tally = match key {
            [b's', ..] if key.len() == NodeKey::LEN => {
                if let Some(key) = NodeKey::from_bytes(key) {
                    self.take_node(key, value, bytes, latest, *before);
                    *before = key;
                }
                &mut self.tallies.s
            }
            [b'f', ..] => &mut self.tallies.f,
            [b'n', hash @ ..] if key.len() == 33 => {
                self.nodes += 1;
                if let Ok(hash) = hash.try_into().map(Hash) {
                    self.look_at(NodeId::Legacy(hash), value, bytes);
                }
                if let Some(layout) = &mut self.layout {
                    layout.add_legacy();
                }
                &mut self.tallies.n
            }
            [b'r', ..] if key.len() == 9 => {
                let version = legacy_root().unwrap_or(0);
                self.roots.insert(version);
                self.legacy_roots.insert(version);
                self.newest = self.newest.max(Version(version));
                &mut self.tallies.r
            }
            [b'o', ..] if key.len() == 49 => &mut self.tallies.o,
            [b'm', ..] => {
                if key == b"mstorage_version" {
                    self.storage_version = Some(String::from_utf8_lossy(value).into_owned());
                }
                &mut self.tallies.m
            }
            _ => {
                self.unknown.get_or_insert_with(|| to_hex(key.get(..40).unwrap_or(key)));
                &mut self.tallies.other
            }
        };
        tally.records += 1;
        tally.bytes += bytes;
    }

    fn take_node(&mut self, key: NodeKey, value: &[u8], bytes: u64, latest: Version, before: NodeKey) {
        self.newest = self.newest.max(key.version);
        let mut is_node = true;
        if key.nonce == 1 {
            self.roots.insert(key.version.0);
            is_node = matches!(RootRecord::decode(value), Some(RootRecord::Node));
            if is_node {
                self.node_roots.insert(key.version.0);
            }
        }
        if key.version > latest {
            self.ahead += u64::from(is_node);
        } else if is_node {
            let twice = key.nonce == 1 && before == NodeKey::new(key.version, 0);
            self.nodes += u64::from(!twice);
            self.look_at(key.into(), value, bytes);
            if let Some(layout) = &mut self.layout {
                layout.add(key);
            }
        }
    }

    /// Whether a node is written as IAVL writes it. What is no node at all is told where a tree needs it.
    fn look_at(&mut self, at: NodeId, record: &[u8], bytes: u64) {
        self.scratch.clear();
        let decoded = match at {
            NodeId::Current(_) => Node::decode(record).map(|node| node.encode(&mut self.scratch)),
            NodeId::Legacy(hash) => legacy::decode(hash, record).map(|(version, node)| {
                legacy::encode(version, &node, &mut self.scratch);
            }),
        };
        if decoded.is_ok() && self.scratch != record {
            let (_, count, size) = self.odd.get_or_insert((at, 0, 0));
            (*count, *size) = (*count + 1, *size + bytes);
        }
    }
}
