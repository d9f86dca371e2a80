//! Owns the sum of all manifest edits: which tables make up each level, and which logs
//! count. Hands runs of non-overlapping tables, newest first, to cursor and iterator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::edit::{self, AddedTable, Edit};
use super::error::LeveldbError;
use super::journal::{Record, Records};
use super::key;
use super::listing::Listing;

const COMPARATOR: &[u8] = b"leveldb.BytewiseComparator";

/// One live table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) level: u32,
    pub(super) number: u64,
    pub(super) size: u64,
    /// Internal keys.
    pub(super) smallest: Vec<u8>,
    pub(super) largest: Vec<u8>,
    pub(super) path: PathBuf,
}

impl Table {
    pub(super) fn smallest_user(&self) -> &[u8] {
        key::user(&self.smallest)
    }

    pub(super) fn largest_user(&self) -> &[u8] {
        key::user(&self.largest)
    }
}

/// State described by one manifest.
#[derive(Debug, Default)]
pub(super) struct Version {
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
    pub(super) fn replay(path: &Path, data: &[u8]) -> Result<Version, LeveldbError> {
        let mut version = Version::default();
        let mut records = Records::new(data);
        let mut payload = Vec::new();
        loop {
            let record = records.next_into(&mut payload);
            match record.map_err(|e| e.within(path, 0))? {
                Record::Whole { offset } => {
                    let edit = edit::decode(&payload).map_err(|e| {
                        let what = format!("{} (byte {} of the record)", e.what, e.at);
                        LeveldbError::corrupt(path, offset as u64, what)
                    })?;
                    version.apply(edit);
                }
                Record::End | Record::Torn { .. } => break,
            }
        }
        version.check(path, data.len() as u64)?;
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

    fn check(&self, path: &Path, end: u64) -> Result<(), LeveldbError> {
        let missing = match (&self.comparator, self.journal, self.next_file, self.last_sequence) {
            (None, ..) => "comparator",
            (_, None, ..) => "journal number",
            (_, _, None, _) => "next file number",
            (.., None) => "last sequence",
            (Some(found), ..) if found != COMPARATOR => {
                return Err(LeveldbError::Comparator {
                    path: path.to_path_buf(),
                    found: String::from_utf8_lossy(found).into_owned(),
                });
            }
            _ => return Ok(()),
        };
        let what = format!("the manifest never states its {missing}");
        Err(LeveldbError::corrupt(path, end, what))
    }

    /// Whether a log of this number holds anything the tables do not.
    pub(super) fn counts(&self, log: u64) -> bool {
        Some(log) >= self.journal || Some(log) == self.previous_journal
    }

    /// Sequence number which the manifest says all tables are covered by.
    pub(super) fn last_sequence(&self) -> u64 {
        self.last_sequence.unwrap_or(0)
    }

    /// Runs of tables in order of precedence: each level-0 table alone, highest number
    /// first, then every deeper level as one ascending run without overlaps.
    ///
    /// # Errors
    /// A table which is missing or shorter than stated, or overlaps another of its level.
    pub(super) fn runs(self, manifest: &Path, dir: &Path, listing: &Listing) -> Result<Vec<Vec<Table>>, LeveldbError> {
        let mut levels: BTreeMap<u32, Vec<Table>> = BTreeMap::new();
        for ((level, number), added) in self.tables {
            let path = listing.tables.get(&number);
            let path = path.ok_or_else(|| LeveldbError::MissingFile {
                path: dir.join(format!("{number:06}.ldb")),
                named_by: manifest.to_path_buf(),
            })?;
            let there = fs::metadata(path).map_err(|e| LeveldbError::io(path, e))?;
            if there.len() < added.size {
                let what = format!("the manifest says it has {} bytes", added.size);
                return Err(LeveldbError::corrupt(path, there.len(), what));
            }
            levels.entry(level).or_default().push(Table {
                level,
                number,
                size: added.size,
                smallest: added.smallest,
                largest: added.largest,
                path: path.clone(),
            });
        }
        let mut runs = Vec::new();
        for (level, mut tables) in levels {
            tables.sort_by(|a, b| key::compare(&a.smallest, &b.smallest));
            for table in &tables {
                if key::compare(&table.smallest, &table.largest).is_gt() {
                    let what = format!("bounds of table {} are reversed", table.number);
                    return Err(LeveldbError::corrupt(manifest, 0, what));
                }
            }
            if level == 0 {
                tables.sort_by_key(|table| std::cmp::Reverse(table.number));
                runs.extend(tables.into_iter().map(|table| vec![table]));
                continue;
            }
            for pair in tables.windows(2) {
                if let [a, b] = pair
                    && key::compare(&a.largest, &b.smallest).is_ge()
                {
                    let what = format!("tables {} and {} of level {level} overlap", a.number, b.number);
                    return Err(LeveldbError::corrupt(manifest, 0, what));
                }
            }
            runs.push(tables);
        }
        Ok(runs)
    }
}
