//! Owns what a MANIFEST says about files, for all three engines: which tables are live, with their sizes, and from which
//! number on logs count. Hands that to the pass that links and copies them; keys and sequence numbers are the readers' matter.
//!
//! Formats: goleveldb `session_record.go`, Pebble `internal/manifest/version_edit.go`, RocksDB `db/version_edit.cc`. The three
//! share their first tags; what an engine does not write is refused rather than guessed at.

use crate::source::detect::EngineKind;
use crate::source::lsm::{
    Malformed,
    bytes::Fields,
    log::{Record, Records},
};
use std::collections::{BTreeMap, BTreeSet};

/// Adds up the edits of one manifest, also while it grows.
#[derive(Debug)]
pub(super) struct Edits {
    engine: EngineKind,
    /// By level and number, as edits name tables: the file's number, which differs where a table is a part of a file.
    tables: BTreeMap<(u64, u64), u64>,
    /// Files by how many tables they hold: several where tables are parts of one file (Pebble).
    held: BTreeMap<u64, usize>,
    /// Sizes by the file's number; unknown until a part's whole is named.
    sizes: BTreeMap<u64, u64>,
    log: u64,
    end: usize,
    removed: BTreeSet<u64>,
}

impl Edits {
    pub(super) fn new(engine: EngineKind) -> Edits {
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
    pub(super) fn read(&mut self, data: &[u8]) -> Result<(), Malformed> {
        let mut records = Records::new(data);
        let mut payload = Vec::new();
        loop {
            match records.next_into(&mut payload)? {
                Record::Whole { offset } if offset < self.end => {}
                Record::Whole { offset } => {
                    let edit =
                        Edit::decode(self.engine, &payload).map_err(|wrong| Malformed { at: offset, ..wrong })?;
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
        for (place, file, size) in edit.added {
            if let Some(before) = self.tables.insert(place, file) {
                self.let_go(before);
            }
            *self.held.entry(file).or_default() += 1;
            if let Some(size) = size {
                self.sizes.insert(file, size);
            }
        }
        // A table that moved between levels is deleted and added by one edit. One that comes back in a later edit is another.
        self.removed.extend(deleted.into_iter().filter(|file| !self.held.contains_key(file)));
        self.sizes.extend(edit.sizes);
        self.log = edit.log.unwrap_or(self.log);
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
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Logs with lower numbers are in tables already.
    pub(super) fn log(&self) -> u64 {
        self.log
    }

    /// The live table files and their sizes in bytes, as far as the manifest tells.
    pub(super) fn files(&self) -> BTreeMap<u64, Option<u64>> {
        self.held.keys().map(|file| (*file, self.sizes.get(file).copied())).collect()
    }

    /// The files that ceased to be live since this was asked last.
    pub(super) fn take_removed(&mut self) -> BTreeSet<u64> {
        let removed = std::mem::take(&mut self.removed);
        for file in removed.iter().filter(|file| !self.held.contains_key(file)) {
            self.sizes.remove(file);
        }
        removed
    }
}

#[derive(Debug, Default)]
struct Edit {
    log: Option<u64>,
    deleted: Vec<(u64, u64)>,
    added: Vec<((u64, u64), u64, Option<u64>)>,
    sizes: Vec<(u64, u64)>,
}

/// Tags that all three share, and those of Pebble and RocksDB. A tag with this bit may be passed over (RocksDB).
const IGNORABLE: u64 = 1 << 13;
/// A field of a table with this bit must be understood.
const NOT_IGNORABLE: u64 = 1 << 6;

impl Edit {
    fn decode(engine: EngineKind, payload: &[u8]) -> Result<Edit, Malformed> {
        let mut fields = Fields::new(payload);
        let mut edit = Edit::default();
        while !fields.is_empty() {
            let tag = fields.uvarint()?;
            match (tag, engine) {
                (1, _) => drop(fields.prefixed()?),
                (2, _) => edit.log = Some(fields.uvarint()?),
                (3 | 4 | 9, _) => drop(fields.uvarint()?),
                (5, _) => {
                    fields.uvarint()?;
                    fields.prefixed()?;
                }
                (6, _) => edit.deleted.push((fields.uvarint()?, fields.uvarint()?)),
                (7, _) | (100 | 102 | 103, EngineKind::Pebble | EngineKind::RocksDb) | (104, EngineKind::Pebble) => {
                    edit.table(tag, engine, &mut fields)?;
                }
                (105, EngineKind::Pebble) => edit.sizes.push((fields.uvarint()?, fields.uvarint()?)),
                (106, EngineKind::Pebble) | (10 | 203, EngineKind::RocksDb) => drop(fields.uvarint()?),
                (200, EngineKind::RocksDb) if fields.uvarint()? == 0 => {}
                (200..=202, EngineKind::RocksDb) => {
                    return Err(Malformed::new(fields.at(), "has column families, and a node's database has none"));
                }
                (300, EngineKind::RocksDb) => drop(fields.uvarint()?),
                (400 | 401, EngineKind::RocksDb) => {
                    return Err(Malformed::new(fields.at(), "has blob files, and a node's database has none"));
                }
                (tag, EngineKind::RocksDb) if tag & IGNORABLE != 0 => drop(fields.prefixed()?),
                _ => {
                    return Err(Malformed::new(
                        fields.at(),
                        "a manifest field of another engine, or of a later release",
                    ));
                }
            }
        }
        Ok(edit)
    }

    fn table(&mut self, tag: u64, engine: EngineKind, fields: &mut Fields<'_>) -> Result<(), Malformed> {
        let (level, number) = (fields.uvarint()?, fields.uvarint()?);
        if tag == 102 && fields.uvarint()? != 0 {
            return Err(Malformed::new(fields.at(), ELSEWHERE));
        }
        let size = fields.uvarint()?;
        let mut bounds = 2;
        if tag == 104 {
            // With range keys; a bit says whether there are bounds of point keys besides.
            bounds += if fields.byte()? & 1 != 0 { 2 } else { 0 };
        }
        for _ in 0..bounds {
            fields.prefixed()?;
        }
        if tag != 7 {
            fields.uvarint()?;
            fields.uvarint()?;
        }
        let mut whole = None;
        if matches!(tag, 103 | 104) {
            loop {
                match fields.uvarint()? {
                    1 => break,
                    66 if engine == EngineKind::Pebble => whole = Some(fields.uvarint()?),
                    65 => {
                        let path = fields.prefixed()?;
                        if path != [0] {
                            return Err(Malformed::new(fields.at(), ELSEWHERE));
                        }
                    }
                    field if field & NOT_IGNORABLE != 0 => {
                        return Err(Malformed::new(fields.at(), "a table has a field of a later release"));
                    }
                    _ => drop(fields.prefixed()?),
                }
            }
        }
        self.added.push(match whole {
            Some(file) => ((level, number), file, None),
            None => ((level, number), number, Some(size)),
        });
        Ok(())
    }
}

const ELSEWHERE: &str = "tables lie in another directory";
