//! Owns the sum of all manifest edits: which tables make up each level, and which logs
//! count. Hands runs of non-overlapping tables, newest first, to cursor and iterator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::edit::{self, AddedTable, Edit};
use super::error::{Fault, LsmError};
use super::key;
use super::listing::Listing;
use super::log::{Record, Records};

/// The name of the only order of keys read.
pub(crate) const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// One live table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) level: u32,
    pub(crate) number: u64,
    pub(crate) size: u64,
    /// Internal keys.
    pub(crate) smallest: Vec<u8>,
    pub(crate) largest: Vec<u8>,
    pub(crate) path: PathBuf,
    /// The sequence number of all entries, where the engine gave it to the file as a whole.
    pub(crate) sequence: Option<u64>,
}

impl Table {
    pub(crate) fn smallest_user(&self) -> &[u8] {
        key::user(&self.smallest)
    }

    pub(crate) fn largest_user(&self) -> &[u8] {
        key::user(&self.largest)
    }
}

/// State described by one manifest.
#[derive(Debug, Default)]
pub(crate) struct Version {
    comparator: Option<Vec<u8>>,
    journal: Option<u64>,
    next_file: Option<u64>,
    previous_journal: Option<u64>,
    last_sequence: Option<u64>,
    tables: BTreeMap<(u32, u64), AddedTable>,
}

impl Version {
    /// Adds up all records of a manifest's bytes. A torn record at the very end is
    /// ignored: its writer died before the change took effect.
    pub(crate) fn replay(path: &Path, data: &[u8], dialect: &Dialect) -> Result<Version, LsmError> {
        let mut version = Version::default();
        let mut records = Records::new(data);
        let mut payload = Vec::new();
        loop {
            let record = records.next_into(&mut payload);
            match record.map_err(|e| e.within(path, 0))? {
                Record::Whole { offset } => {
                    let edit = edit::decode(&payload, dialect.own_tags)
                        .map_err(|e| Fault::from(e).in_record(path, offset as u64))?;
                    version.apply(edit);
                }
                Record::End | Record::Torn { .. } => break,
            }
        }
        version.check(path, data.len() as u64, dialect)?;
        Ok(version)
    }

    fn apply(&mut self, edit: Edit) {
        self.comparator = edit.comparator.or(self.comparator.take());
        self.journal = edit.journal.or(self.journal);
        self.next_file = edit.next_file.or(self.next_file);
        self.last_sequence = edit.last_sequence.or(self.last_sequence);
        self.previous_journal = edit.previous_journal.or(self.previous_journal);
        // A table moved between levels is deleted and added by one edit.
        for place in edit.deleted {
            self.tables.remove(&place);
        }
        for table in edit.added {
            self.tables.insert((table.level, table.number), table);
        }
    }

    fn check(&self, path: &Path, end: u64, dialect: &Dialect) -> Result<(), LsmError> {
        let missing = match (&self.comparator, self.journal, self.next_file, self.last_sequence) {
            (None, ..) => "comparator",
            (_, None, ..) if !dialect.journal_is_optional => "journal number",
            (_, _, None, _) => "next file number",
            (.., None) => "last sequence",
            (Some(found), ..) if found != COMPARATOR => {
                return Err(LsmError::Comparator {
                    path: path.to_path_buf(),
                    found: String::from_utf8_lossy(found).into_owned(),
                });
            }
            _ => return Ok(()),
        };
        let what = format!("the manifest never states its {missing}");
        Err(LsmError::corrupt(path, end, what))
    }

    /// Whether a log of this number holds anything the tables do not.
    pub(crate) fn counts(&self, log: u64) -> bool {
        Some(log) >= self.journal || Some(log) == self.previous_journal
    }

    /// The oldest log that holds anything the tables do not.
    pub(crate) fn first_log(&self) -> Option<u64> {
        self.journal
    }

    /// Sequence number which the manifest says all tables are covered by.
    pub(crate) fn last_sequence(&self) -> u64 {
        let newest = self.tables.values().filter_map(|table| Some(table.sequences?.1)).max();
        self.last_sequence.max(newest).unwrap_or(0)
    }

    /// Runs of tables in order of precedence, each ascending and without overlaps: those of level 0, among which only
    /// sequence numbers tell what is newer, then one for every deeper level.
    ///
    /// # Errors
    /// A table which is missing or has another size than stated, overlaps another of its level, or cannot be read.
    pub(crate) fn runs(
        self,
        manifest: &Path,
        dir: &Path,
        listing: &Listing,
        dialect: &Dialect,
    ) -> Result<Vec<Vec<Table>>, LsmError> {
        let mut levels: BTreeMap<u32, Vec<Table>> = BTreeMap::new();
        for ((level, number), added) in self.tables {
            let path = listing.tables.get(&number);
            let path = path.ok_or_else(|| LsmError::MissingFile {
                path: dir.join(format!("{number:06}.{}", dialect.suffixes.first().unwrap_or(&""))),
                named_by: manifest.to_path_buf(),
            })?;
            if let Some(what) = added.unreadable {
                return Err(LsmError::unsupported(path, format!("the manifest says it is {what}")));
            }
            let there = fs::metadata(path).map_err(|e| LsmError::io(path, e))?;
            if there.len() != added.size {
                let what = format!("the manifest says it has {} bytes", added.size);
                return Err(LsmError::corrupt(path, there.len(), what));
            }
            levels.entry(level).or_default().push(Table {
                level,
                number,
                size: added.size,
                smallest: added.smallest,
                largest: added.largest,
                path: path.clone(),
                // 0 is what compactions leave of numbers that are of no use any more.
                sequence: added.sequences.filter(|(first, last)| first == last && *first != 0).map(|(first, _)| first),
            });
        }
        let mut runs = Vec::new();
        for (level, mut tables) in levels {
            tables.sort_by(|a, b| key::compare(&a.smallest, &b.smallest));
            for table in &tables {
                if key::compare(&table.smallest, &table.largest).is_gt() {
                    let what = format!("bounds of table {} are reversed", table.number);
                    return Err(LsmError::corrupt(manifest, 0, what));
                }
            }
            if level == 0 {
                runs.extend(apart(tables));
                continue;
            }
            for pair in tables.windows(2) {
                if let [a, b] = pair
                    && key::compare(&a.largest, &b.smallest).is_ge()
                {
                    let what = format!("tables {} and {} of level {level} overlap", a.number, b.number);
                    return Err(LsmError::corrupt(manifest, 0, what));
                }
            }
            runs.push(tables);
        }
        Ok(runs)
    }
}

/// As few runs without overlaps as tables in order of their first keys allow: each goes behind the first that ends before it.
fn apart(tables: Vec<Table>) -> Vec<Vec<Table>> {
    let mut runs: Vec<Vec<Table>> = Vec::new();
    for table in tables {
        let fits = |run: &Vec<Table>| run.last().is_some_and(|last| last.largest_user() < table.smallest_user());
        match runs.iter().position(fits).and_then(|at| runs.get_mut(at)) {
            Some(run) => run.push(table),
            None => runs.push(vec![table]),
        }
    }
    runs
}
