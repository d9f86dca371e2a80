//! The journal: the redb file with a migration's state, manifest, chunk digests and events.
//!
//! Owns its file, its lock and its formats. Takes events and new states from the driver, hands the state back after a
//! restart. Every transaction is committed in two phases and synced, and the whole file is checked when it is opened.

mod backend;
mod beside;
pub mod codec;
pub mod control;
mod epoch;
mod error;
mod event;
mod lock;
mod ours;
pub mod record;
mod seal;
pub mod status;
mod switch;

use crate::{
    disk::{self, DiskFile, Making},
    iavl::SpineNode,
    machine::{Event, State},
    model::{Chunk, ChunkId, Manifest, Restored},
};
use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

pub use codec::FORMAT;
pub use error::JournalError;
pub use event::Event1 as EventRecord;
pub use lock::Lock;
pub use record::{Job, SourceIdentity};
pub use switch::SwitchRequest;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const CHUNKS: TableDefinition<u64, &[u8]> = TableDefinition::new("chunks");
const SPINE: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("spine");
const RESTORED: TableDefinition<u64, &[u8]> = TableDefinition::new("restored");
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");

const FILE: &str = "journal.redb";
const CACHE: usize = 4 << 20;

/// What a transaction writes besides state and event.
pub enum Writes<'a> {
    /// Nothing.
    Nothing,
    /// The manifest of the snapshot: stores, chunks in order, spines by store.
    Manifest {
        /// The stores.
        manifest: &'a Manifest,
        /// All chunks; a chunk's number is its index.
        chunks: &'a [Chunk],
        /// The spine of each store.
        spines: &'a [Vec<SpineNode>],
    },
    /// Spines that were read again, by store.
    Spines(&'a [(u32, Vec<SpineNode>)]),
    /// What was written for chunks.
    Restored(&'a [(ChunkId, Restored)]),
    /// The job with the identity of its new snapshot; what there is of the last one goes.
    Renewed(&'a Job),
}

/// An open journal.
pub struct Journal {
    database: Database,
    directory: Option<PathBuf>,
    events: u64,
}

impl Journal {
    /// Whether a journal directory has a journal in it.
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// Makes the journal a job is born with. It appears whole or not at all.
    ///
    /// # Errors
    /// A file or redb operation failed.
    pub fn create(directory: &Path, job: &Job, state: &State) -> Result<Journal, JournalError> {
        let path = directory.join(FILE);
        let temporary = directory.join("journal.redb.new");
        let io = |doing| move |source| JournalError::Io { path: directory.join(FILE), doing, source };
        let file = disk::make(&temporary, Making::Anew).map_err(io("create"))?;
        let database = on_file(&temporary, file)?;
        Journal::born(&database, job, state)?;
        database.close().map_err(|error| open_error(&temporary, error))?;
        // The rename is what gives birth: before it there is no job, after it there is a whole one. Both directories are
        // synced, so that a power cut cannot take the name back once engines have been created.
        disk::sync(&temporary).map_err(io("sync"))?;
        disk::rename(&temporary, &path).map_err(io("rename"))?;
        sync_directory(directory)?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
        Journal::open(directory)
    }

    fn born(database: &Database, job: &Job, state: &State) -> Result<(), JournalError> {
        let transaction = write(database)?;
        {
            let mut meta = transaction.open_table(META)?;
            put(&mut meta, "job", "job", &record::Job1::from(job))?;
            put(&mut meta, "state", "state", &record::State1::from(state))?;
            let release = (FORMAT, env!("CARGO_PKG_VERSION").to_owned());
            // Outside the envelope and never to change: any release can read which one wrote this.
            meta.insert("format", format!("{} {}", release.0, release.1).as_bytes())?;
            transaction.open_table(CHUNKS)?;
            transaction.open_table(SPINE)?;
            transaction.open_table(RESTORED)?;
            transaction.open_table(EVENTS)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Opens a journal and checks the whole file.
    ///
    /// # Errors
    /// It is locked, damaged, or of a newer release.
    pub fn open(directory: &Path) -> Result<Journal, JournalError> {
        let path = directory.join(FILE);
        let io = |source| JournalError::Io { path: path.clone(), doing: "open", source };
        let file = disk::open(&path).map_err(io)?;
        if file.len().map_err(io)? == 0 {
            return Err(JournalError::Damaged { path, what: "it is empty".to_owned() });
        }
        let database = on_file(&path, file)?;
        Journal::check(database, Some(directory.to_owned()))
    }

    /// Opens or makes a journal on another storage than a file, for tests.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn on_backend(backend: impl StorageBackend, born: Option<(&Job, &State)>) -> Result<Journal, JournalError> {
        let path = Path::new("(not a file)");
        let database = builder().create_with_backend(backend).map_err(|error| open_error(path, error))?;
        if let Some((job, state)) = born {
            Journal::born(&database, job, state)?;
        }
        Journal::check(database, None)
    }

    fn check(database: Database, directory: Option<PathBuf>) -> Result<Journal, JournalError> {
        let missing = |place: &str| JournalError::Record { place: place.to_owned(), what: "is missing".to_owned() };
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let format = meta.get("format")?.ok_or_else(|| missing("format"))?.value().to_vec();
        let format = String::from_utf8_lossy(&format).into_owned();
        let (found, release) = format.split_once(' ').ok_or_else(|| missing("format"))?;
        match found.parse::<u16>() {
            Ok(FORMAT) => {}
            Ok(found) if found > FORMAT => {
                return Err(JournalError::Newer { release: release.to_owned(), found, known: FORMAT });
            }
            Ok(found) => return Err(JournalError::Format { found, known: FORMAT }),
            Err(_) => return Err(missing("format")),
        }
        let events = transaction.open_table(EVENTS)?;
        let events = events.last()?.map_or(0, |(number, _)| number.value() + 1);
        drop(meta);
        drop(transaction);
        Ok(Journal { database, directory, events })
    }

    /// What the job was born with.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn job(&self) -> Result<Job, JournalError> {
        self.meta::<record::Job1>("job")?.try_into()
    }

    /// The state.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn state(&self) -> Result<State, JournalError> {
        let state = self.meta::<record::State1>("state")?.try_into()?;
        match self.optional::<epoch::Epoch1>(epoch::PLACE)? {
            Some(begun) => begun.complete(state),
            None => Ok(state),
        }
    }

    /// The manifest; only there once the snapshot is taken.
    ///
    /// # Errors
    /// The record is missing or damaged.
    pub fn manifest(&self) -> Result<Manifest, JournalError> {
        Ok(self.meta::<record::Manifest1>("manifest")?.into())
    }

    fn meta<T: DeserializeOwned>(&self, place: &'static str) -> Result<T, JournalError> {
        let missing = || JournalError::Record { place: place.to_owned(), what: "is missing".to_owned() };
        self.optional(place)?.ok_or_else(missing)
    }

    fn optional<T: DeserializeOwned>(&self, place: &'static str) -> Result<Option<T>, JournalError> {
        let transaction = self.database.begin_read()?;
        let meta = transaction.open_table(META)?;
        meta.get(place)?.map(|record| codec::decode(place, record.value())).transpose()
    }

    /// The chunks of the manifest in order, `count` of them from `first` on.
    ///
    /// # Errors
    /// A record is missing or damaged.
    pub fn chunks(&self, first: ChunkId, count: u64) -> Result<Vec<Chunk>, JournalError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(CHUNKS)?;
        let mut chunks = Vec::new();
        let mut entries = table.range(first..first.saturating_add(count))?;
        for expected in first..first.saturating_add(count) {
            let place = format!("chunk/{expected}");
            match entries.next().transpose()? {
                Some((id, record)) if id.value() == expected => {
                    chunks.push(codec::decode::<record::Chunk1>(&place, record.value())?.into());
                }
                _ => return Err(JournalError::Record { place, what: "is missing".to_owned() }),
            }
        }
        Ok(chunks)
    }

    /// The spine of one store, ascending by ordinal.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn spine(&self, store: u32) -> Result<Vec<SpineNode>, JournalError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(SPINE)?;
        let mut spine = Vec::new();
        for entry in table.range((store, 0)..=(store, u64::MAX))? {
            let (key, record) = entry?;
            let place = spine_place(store, key.value().1);
            spine.push(codec::decode::<record::Spine1>(&place, record.value())?.into());
        }
        Ok(spine)
    }

    /// What was written for a chunk, if it is durable.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn restored(&self, chunk: ChunkId) -> Result<Option<Restored>, JournalError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(RESTORED)?;
        let record = table.get(chunk)?;
        record
            .map(|record| Ok(codec::decode::<record::Restored1>(&restored_place(chunk), record.value())?.into()))
            .transpose()
    }

    /// Makes an event, the state after it and what belongs to it durable, all or nothing.
    ///
    /// # Errors
    /// redb could not write or sync. Nothing may be assumed durable and the journal must not be used again.
    pub fn record(&mut self, event: &Event, after: &State, writes: &Writes<'_>) -> Result<(), JournalError> {
        self.record_all(&[(event, after)], writes)
    }

    /// As [`Journal::record`], with several events at once that follow each other: one transaction, and so one sync, for all.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn record_all(&mut self, events: &[(&Event, &State)], writes: &Writes<'_>) -> Result<(), JournalError> {
        let Some((_, after)) = events.last() else { return Ok(()) };
        let transaction = write(&self.database)?;
        {
            let mut meta = transaction.open_table(META)?;
            put(&mut meta, "state", "state", &record::State1::from(*after))?;
            match writes {
                Writes::Nothing | Writes::Renewed(_) => {}
                Writes::Manifest { manifest, chunks, spines } => {
                    put(&mut meta, "manifest", "manifest", &record::Manifest1::from(*manifest))?;
                    let mut table = transaction.open_table(CHUNKS)?;
                    for (id, chunk) in (0u64..).zip(*chunks) {
                        put(&mut table, id, &format!("chunk/{id}"), &record::Chunk1::from(chunk))?;
                    }
                    (0u32..).zip(*spines).try_for_each(|(store, spine)| put_spine(&transaction, store, spine))?;
                }
                Writes::Spines(spines) => {
                    spines.iter().try_for_each(|(store, spine)| put_spine(&transaction, *store, spine))?;
                }
                Writes::Restored(results) => {
                    let mut table = transaction.open_table(RESTORED)?;
                    for (id, restored) in *results {
                        put(&mut table, *id, &restored_place(*id), &record::Restored1::from(restored))?;
                    }
                }
            }
            if let Writes::Renewed(job) = writes {
                put(&mut meta, "job", "job", &record::Job1::from(*job))?;
                if let Some(begun) = epoch::Epoch1::of(after) {
                    put(&mut meta, epoch::PLACE, epoch::PLACE, &begun)?;
                }
                for place in ["manifest", "verified"] {
                    drop(meta.remove(place)?);
                }
                transaction.open_table(CHUNKS)?.retain(|_, _| false)?;
                transaction.open_table(SPINE)?.retain(|_, _| false)?;
                transaction.open_table(RESTORED)?.retain(|_, _| false)?;
            }
            let mut table = transaction.open_table(EVENTS)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
            for (number, (event, after)) in (self.events..).zip(events) {
                put(&mut table, number, &format!("event/{number}"), &EventRecord::new(now, event, after))?;
            }
        }
        transaction.commit()?;
        self.events += events.len() as u64;
        Ok(())
    }

    /// How many events there are.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.events
    }

    /// The events, oldest first.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn events(&self) -> Result<Vec<EventRecord>, JournalError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(EVENTS)?;
        let mut events = Vec::new();
        for (expected, entry) in (0u64..).zip(table.iter()?) {
            let (number, record) = entry?;
            let place = format!("event/{expected}");
            if number.value() != expected {
                return Err(JournalError::Record { place, what: "is missing".to_owned() });
            }
            events.push(codec::decode(&place, record.value())?);
        }
        Ok(events)
    }

    /// Removes the journal, the last act of an abort. Repeatable.
    ///
    /// # Errors
    /// A file could not be removed.
    pub fn destroy(self) -> Result<(), JournalError> {
        let Journal { database, directory, .. } = self;
        let Some(directory) = directory else { return Ok(()) };
        database.close().map_err(|error| open_error(&directory, error))?;
        let locked = |source| JournalError::Io { path: directory.clone(), doing: "lock", source };
        let _held = File::open(&directory).and_then(ours::Held::wait).map_err(locked)?;
        let beside = ["status.json", "status.json.new", "switch.json", "switch.json.new"];
        let remove = |name: &str| {
            let path = directory.join(name);
            disk::clear(&path).map(drop).map_err(|source| JournalError::Io { path, doing: "remove", source })
        };
        beside.into_iter().chain(control::FILES).try_for_each(remove)?;
        // Durable before the journal goes: the next job in this place would take up what was asked of this one.
        sync_directory(&directory)?;
        remove(FILE)?;
        sync_directory(&directory)
    }
}

/// Makes or opens a database in a file; an empty one is made.
fn on_file(path: &Path, file: Box<dyn DiskFile>) -> Result<Database, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), doing: "lock", source };
    if !file.try_lock().map_err(io)? {
        return Err(JournalError::Locked { path: path.to_owned(), by: None });
    }
    builder().create_with_backend(backend::Backend(file)).map_err(|error| open_error(path, error))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    // A plainly opened file with one flipped bit returns wrong data without a word; the check reads all of a file that
    // is small by design.
    builder.set_check_integrity_on_open(true);
    builder.set_cache_size(CACHE);
    builder
}

fn write(database: &Database) -> Result<redb::WriteTransaction, JournalError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn put<'k, K, T>(
    table: &mut redb::Table<'_, K, &'static [u8]>,
    key: K::SelfType<'k>,
    place: &str,
    record: &T,
) -> Result<(), JournalError>
where
    K: redb::Key + 'static,
    T: Serialize,
{
    let bytes = codec::encode(place, record)?;
    table.insert(key, bytes.as_slice())?;
    Ok(())
}

fn put_spine(transaction: &redb::WriteTransaction, store: u32, spine: &[SpineNode]) -> Result<(), JournalError> {
    let mut table = transaction.open_table(SPINE)?;
    for node in spine {
        let place = spine_place(store, node.ordinal);
        put(&mut table, (store, node.ordinal), &place, &record::Spine1::from(node))?;
    }
    Ok(())
}

fn spine_place(store: u32, ordinal: u64) -> String {
    format!("spine/{store}/{ordinal}")
}

fn restored_place(chunk: ChunkId) -> String {
    format!("restored/{chunk}")
}

fn sync_directory(path: &Path) -> Result<(), JournalError> {
    disk::sync(path).map_err(|source| JournalError::Io { path: path.to_owned(), doing: "sync", source })
}

fn open_error(path: &Path, error: redb::DatabaseError) -> JournalError {
    let path = path.to_owned();
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => JournalError::Locked { path, by: None },
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => {
            // redb reports a file that is no redb file at all as invalid data, and one that is cut short as its end.
            if matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) {
                JournalError::Damaged { path, what: source.to_string() }
            } else {
                JournalError::Io { path, doing: "open", source }
            }
        }
        other => JournalError::Damaged { path, what: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
