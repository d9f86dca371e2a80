//! Owns what a MANIFEST says about files, for all three engines: which tables are live, with their sizes, and from which
//! number on logs count. Hands that to the pass that links and copies them; keys and sequence numbers are the readers' matter, as
//! are the fields of each engine.

use crate::source::{
    detect::EngineKind,
    leveldb,
    lsm::{
        Malformed,
        edit::{self, Edit, OwnTags},
        log::{Record, Records},
    },
    pebble, rocks,
};
use std::collections::{BTreeMap, BTreeSet};

/// Adds up the edits of one manifest, also while it grows.
#[derive(Debug)]
pub struct Edits {
    engine: EngineKind,
    /// By level and number, as edits name tables: the file's number, which differs where a table is a part of a file.
    tables: BTreeMap<(u32, u64), u64>,
    /// Files by how many tables they hold: several where tables are parts of one file (Pebble).
    held: BTreeMap<u64, usize>,
    /// Sizes by the file's number; unknown until a part's whole is named.
    sizes: BTreeMap<u64, u64>,
    log: u64,
    end: usize,
    removed: BTreeSet<u64>,
}

impl Edits {
    /// Before the first edit.
    #[must_use]
    pub fn new(engine: EngineKind) -> Edits {
        Edits {
            engine,
            tables: BTreeMap::new(),
            held: BTreeMap::new(),
            sizes: BTreeMap::new(),
            log: 0,
            end: 0,
            removed: BTreeSet::new(),
        }
    }

    /// Adds what `data`, the manifest from its first byte, has after what was added before. A record that is not whole yet is
    /// left for the next time.
    ///
    /// # Errors
    /// Damage, or something that a checkpoint would lack.
    pub fn read(&mut self, data: &[u8]) -> Result<(), Malformed> {
        let mut records = Records::new(data);
        let mut payload = Vec::new();
        loop {
            match records.next_into(&mut payload)? {
                Record::Whole { offset } if offset < self.end => {}
                Record::Whole { offset } => {
                    let edit = edit::decode(&payload, own_tags(self.engine))
                        .map_err(|wrong| Malformed { at: offset, ..wrong })?;
                    self.add(edit);
                    self.end = records.position();
                }
                Record::End | Record::Torn { .. } => return Ok(()),
            }
        }
    }

    fn add(&mut self, edit: Edit) {
        let mut deleted = BTreeSet::new();
        for place in edit.deleted {
            if let Some(file) = self.tables.remove(&place) {
                self.let_go(file);
                deleted.insert(file);
            }
        }
        for table in edit.added {
            if let Some(before) = self.tables.insert((table.level, table.number), table.file) {
                self.let_go(before);
                deleted.insert(before);
            }
            *self.held.entry(table.file).or_default() += 1;
            if table.file == table.number {
                self.sizes.insert(table.file, table.size);
            }
        }
        // A table that moved between levels is deleted and added by one edit. One that comes back in a later edit is another.
        self.removed.extend(deleted.into_iter().filter(|file| !self.held.contains_key(file)));
        self.sizes.extend(edit.files);
        self.log = edit.journal.unwrap_or(self.log);
    }

    fn let_go(&mut self, file: u64) {
        if let Some(tables) = self.held.get_mut(&file) {
            *tables -= 1;
            if *tables == 0 {
                self.held.remove(&file);
            }
        }
    }

    /// Bytes of the manifest up to the end of the last whole record.
    #[must_use]
    pub fn end(&self) -> usize {
        self.end
    }

    /// Logs with lower numbers are in tables already.
    #[must_use]
    pub fn log(&self) -> u64 {
        self.log
    }

    /// The live table files and their sizes in bytes, as far as the manifest tells.
    #[must_use]
    pub fn files(&self) -> BTreeMap<u64, Option<u64>> {
        self.held.keys().map(|file| (*file, self.sizes.get(file).copied())).collect()
    }

    /// The files that ceased to be live since this was asked last.
    pub fn take_removed(&mut self) -> BTreeSet<u64> {
        let removed = std::mem::take(&mut self.removed);
        for file in removed.iter().filter(|file| !self.held.contains_key(file)) {
            self.sizes.remove(file);
        }
        removed
    }
}

/// What an engine's manifests have beside LevelDB's fields.
fn own_tags(engine: EngineKind) -> OwnTags {
    match engine {
        EngineKind::Goleveldb => leveldb::DIALECT.own_tags,
        EngineKind::Pebble => pebble::DIALECT.own_tags,
        EngineKind::RocksDb => rocks::edit::own_tags,
    }
}
