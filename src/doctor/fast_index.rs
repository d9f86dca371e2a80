//! The fast index (`f` records) against the pairs of the newest tree, side by side in the order of keys.
//!
//! No migration reads the index and Go makes it anew when it is stale: what is found is a notice.

use super::{
    finding::{Finding, Findings, Kind},
    survey::Survey,
};
use crate::{
    iavl::varint::Fields,
    model::{StoreKey, Version, to_hex},
    source::{Scan, Source, SourceError},
};

/// Differences between index and tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Compared {
    /// Index records that were met.
    pub met: u64,
    other_value: u64,
    not_indexed: u64,
    not_in_tree: u64,
    examples: Vec<String>,
    /// Whether some pairs could not be compared.
    pub is_partial: bool,
}

/// Differences that are shown.
const EXAMPLES: usize = 3;

impl Compared {
    pub fn add(&mut self, other: Compared) {
        self.met += other.met;
        self.other_value += other.other_value;
        self.not_indexed += other.not_indexed;
        self.not_in_tree += other.not_in_tree;
        self.is_partial |= other.is_partial;
        let room = EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }

    fn note(&mut self, what: &str, key: &[u8]) {
        if self.examples.len() < EXAMPLES {
            let shown = to_hex(key.get(..40).unwrap_or(key));
            self.examples.push(format!("{what} {shown}"));
        }
    }
}

/// Compares the index with pairs that come in ascending order.
pub(super) struct Comparison<'a> {
    scan: Box<dyn Scan + Send + 'a>,
    found: Compared,
    /// The index record that comes next: its key with `f` before it, its value.
    key: Vec<u8>,
    value: Vec<u8>,
    state: Next,
}

enum Next {
    Unread,
    There,
    End,
}

impl<'a> Comparison<'a> {
    pub fn new(source: &'a dyn Source, store: &StoreKey) -> Comparison<'a> {
        let scan = source.records(store);
        let state = Next::Unread;
        Comparison { scan, found: Compared::default(), key: Vec::new(), value: Vec::new(), state }
    }

    fn step(&mut self) -> Result<(), SourceError> {
        self.state = match self.scan.next()? {
            Some((key, value)) if key.first() == Some(&b'f') => {
                self.key.clear();
                self.key.extend_from_slice(key);
                self.value.clear();
                self.value.extend_from_slice(value);
                self.found.met += 1;
                Next::There
            }
            _ => Next::End,
        };
        Ok(())
    }

    /// Takes the next pair of the tree.
    pub fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), SourceError> {
        if matches!(self.state, Next::Unread) {
            self.scan.seek(&[b"f", key].concat());
            self.step()?;
        }
        loop {
            let indexed = self.key.get(1..).unwrap_or_default();
            match self.state {
                Next::There if indexed < key => {
                    self.found.not_in_tree += 1;
                    let indexed = indexed.to_vec();
                    self.found.note("not in the tree:", &indexed);
                    self.step()?;
                }
                Next::There if indexed == key => {
                    if value_of(&self.value) != Some(value) {
                        self.found.other_value += 1;
                        self.found.note("another value:", key);
                    }
                    return self.step();
                }
                _ => {
                    self.found.not_indexed += 1;
                    self.found.note("not in the index:", key);
                    return Ok(());
                }
            }
        }
    }

    /// All pairs of this part of the tree were compared.
    pub fn finish(mut self) -> Compared {
        // The record that comes next belongs to another part, or to none.
        self.found.met -= u64::from(matches!(self.state, Next::There));
        self.found
    }
}

/// The value in an index record: zz version ‖ bytes value (IAVL 1.x `fastnode`).
fn value_of(record: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(record);
    fields.zz()?;
    fields.bytes()
}

/// Says what is wrong with a store's index at the newest version.
pub(super) fn conclude(store: &StoreKey, latest: Version, survey: &Survey, found: Compared, findings: &Findings) {
    let claimed = survey.storage_version.as_deref().and_then(|text| text.strip_prefix("1.1.0-"));
    let is_stale = match claimed {
        Some(version) => version != latest.to_string(),
        // No index is no stale one.
        None => survey.tallies.f.records > 0,
    };
    // Between the parts that were compared nothing is in the tree.
    let between = if found.is_partial { 0 } else { survey.tallies.f.records.saturating_sub(found.met) };
    let not_in_tree = found.not_in_tree + between;
    let wrong = found.other_value + found.not_indexed + not_in_tree;
    if wrong == 0 && !is_stale {
        return;
    }
    let says = survey.storage_version.as_deref().unwrap_or("nothing");
    let mut words = format!("the fast index says it is {says:?}, the newest version is {latest}");
    if wrong > 0 {
        words += &format!(
            "; {wrong} records differ from the tree: {} with another value, {} not in the index, {not_in_tree} not in the tree",
            found.other_value, found.not_indexed
        );
    }
    if !found.examples.is_empty() {
        words += &format!(" (e.g. {})", found.examples.join(", "));
    }
    words += "; a migration does not read it, and Go makes it anew";
    let finding = Finding::new(Kind::StaleFastIndex, words).store(store).version(latest);
    findings.add(finding.counted(wrong, None));
}
