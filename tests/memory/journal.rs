//! The journal on a disk that fails: crash images, flipped bits, records in the wrong place, formats of other releases.

mod power;

use crate::support::{
    disk::{Action, Disk, apply},
    random::{Random, seed},
};
use redb::{Database, ReadableTable as _, TableDefinition};
use storeshift::{
    Error, Kind,
    iavl::SpineNode,
    journal::{FORMAT, Job, Journal, JournalError, SourceIdentity, Writes},
    machine::{Event, State, Verified},
    model::{Chunk, Digest, Hash, JobId, Manifest, Restored, StoreEntry, Version},
    plan::Plan,
};

const CHUNKS: u64 = 6;
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

fn job() -> Job {
    let source = SourceIdentity {
        engine: "memory".into(),
        height: Version(5),
        app_hash: Hash([1; 32]),
        tip: Version(9),
        tip_app_hash: Hash([2; 32]),
    };
    Job { id: JobId([3; 16]), plan: Plan::new(), source }
}

fn chunk(id: u64) -> Chunk {
    Chunk {
        store: 0,
        version: Version(4),
        nonce: (!id.is_multiple_of(5)).then_some(id as u32 + 10),
        hash: Hash([id as u8; 32]),
        height: 2,
        leaves: 3,
        first_ordinal: id * 6,
    }
}

fn spine(ordinal: u64) -> SpineNode {
    SpineNode {
        ordinal,
        version: Version(4),
        height: 3,
        size: 6,
        key: vec![ordinal as u8; 20],
        hash: Hash([9; 32]),
        left_version: Version(3),
        right_version: Version(4),
        right_size: 3,
    }
}

fn restored(id: u64) -> Restored {
    let digest = |byte: u8| Some(Digest([byte; 32]));
    Restored { ss: digest(id as u8), bytes: 7 * id, first_key: vec![id as u8], last_key: vec![id as u8, 9] }
}

fn manifest() -> Manifest {
    let store = StoreEntry {
        name: "bank".into(),
        root: Some(Hash([8; 32])),
        top: Some((Version(4), 34)),
        leaves: 18,
        first_chunk: 0,
        chunks: CHUNKS,
    };
    Manifest { stores: vec![store], timestamp: None }
}

/// The facts of a migration, one after the other.
fn facts() -> Vec<Event> {
    let verified = Verified::compare(Hash([1; 32]), Hash([1; 32])).unwrap();
    let mut facts = vec![Event::Snapshotted { chunks: CHUNKS }];
    facts.extend([vec![1, 0], vec![4], vec![2, 3, 5]].map(|chunks| Event::Restored { chunks }));
    facts.push(Event::Joined);
    facts.push(Event::Proven { chunks: (0..CHUNKS).collect() });
    facts.push(Event::Concluded(verified));
    facts.extend((6..=9).map(|version| Event::Applied { to: Version(version) }));
    facts.push(Event::SwitchStarted);
    facts
}

fn record(journal: &mut Journal, state: &State, event: &Event) -> State {
    let after = state.apply(event).unwrap();
    let chunks: Vec<Chunk> = (0..CHUNKS).map(chunk).collect();
    let (manifest, spines) = (manifest(), vec![(1..6).map(spine).collect()]);
    let of_chunks: Vec<_> = match event {
        Event::Restored { chunks } => chunks.iter().map(|id| (*id, restored(*id))).collect(),
        _ => Vec::new(),
    };
    let writes = match event {
        Event::Snapshotted { .. } => Writes::Manifest { manifest: &manifest, chunks: &chunks, spines: &spines },
        Event::Restored { .. } => Writes::Restored(&of_chunks),
        _ => Writes::Nothing,
    };
    journal.record(event, &after, &writes).unwrap();
    after
}

/// Everything a journal says, as one value.
#[derive(Clone, Debug, PartialEq)]
struct Says {
    job: Job,
    state: State,
    manifest: Option<Manifest>,
    chunks: Vec<Chunk>,
    spine: Vec<SpineNode>,
    restored: Vec<Option<Restored>>,
    events: Vec<(String, String)>,
}

fn read(journal: &Journal) -> Result<Says, JournalError> {
    let state = journal.state()?;
    let begun = !matches!(state.phase, storeshift::machine::Phase::Snapshotting { .. });
    let events = journal.events()?;
    assert_eq!(events.len() as u64, journal.event_count());
    Ok(Says {
        job: journal.job()?,
        state,
        manifest: begun.then(|| journal.manifest()).transpose()?,
        chunks: journal.chunks(0, if begun { CHUNKS } else { 0 })?,
        spine: journal.spine(0)?,
        restored: (0..CHUNKS).map(|id| journal.restored(id)).collect::<Result<_, _>>()?,
        events: events.into_iter().map(|event| (event.name, event.detail)).collect(),
    })
}

fn open(bytes: Vec<u8>) -> Result<(Journal, Says), JournalError> {
    let journal = Journal::on_backend(Disk::holding(bytes), None)?;
    let says = read(&journal)?;
    Ok((journal, says))
}

/// A journal's whole life on a disk that remembers; what the journal said after each event; how many actions the disk
/// had seen when the event was acknowledged.
fn life() -> (Vec<u8>, Vec<Action>, Vec<(usize, Says)>) {
    let disk = Disk::new();
    let mut state = State::new(Version(5));
    let mut journal = Journal::on_backend(disk.clone(), Some((&job(), &state))).unwrap();
    let born = disk.content().bytes.clone();
    disk.remember();
    let mut acknowledged = vec![(0, read(&journal).unwrap())];
    for fact in facts() {
        state = record(&mut journal, &state, &fact);
        acknowledged.push((disk.actions(), read(&journal).unwrap()));
    }
    drop(journal);
    let actions = disk.content().actions.take().unwrap();
    (born, actions, acknowledged)
}

#[test]
fn whatever_a_power_cut_leaves_of_unsynced_writes_no_acknowledged_event_is_lost_and_none_is_made_up() {
    const SECTOR: usize = 512;
    let seed = seed(61);
    let mut random = Random(seed);
    let (born, actions, acknowledged) = life();
    let mut in_flight_survived = 0;
    let mut images = 0;
    for cut in 0..=actions.len() {
        for variant in 0..8 {
            let synced =
                actions[..cut].iter().rposition(|action| matches!(action, Action::Sync)).map_or(0, |at| at + 1);
            let mut bytes = born.clone();
            actions[..synced].iter().for_each(|action| apply(&mut bytes, action));
            for action in &actions[synced..cut] {
                match action {
                    // The last variant keeps everything, the first nothing; the others any subset, torn anywhere.
                    _ if variant == 7 => apply(&mut bytes, action),
                    _ if variant == 0 => {}
                    Action::Write { offset, data } => {
                        for (index, sector) in data.chunks(SECTOR).enumerate().filter(|_| random.coin()) {
                            let offset = offset + (index * SECTOR) as u64;
                            apply(&mut bytes, &Action::Write { offset, data: sector.to_vec() });
                        }
                    }
                    Action::Length(_) if random.coin() => apply(&mut bytes, action),
                    Action::Length(_) | Action::Sync => {}
                }
            }
            let how = format!("seed {seed}: cut after action {cut} of {}, variant {variant}", actions.len());
            let known = acknowledged.iter().rposition(|(at, _)| *at <= cut).unwrap();
            let (mut journal, says) = open(bytes).unwrap_or_else(|error| panic!("{how}: {error}"));
            let found = acknowledged.iter().position(|(_, says_then)| *says_then == says);
            let found = found.unwrap_or_else(|| panic!("{how}: the journal says what it never said: {says:?}"));
            assert!(found == known || found == known + 1, "{how}: {known} events acknowledged, {found} found");
            in_flight_survived += found - known;
            // And it goes on from there.
            if let Some(next) = facts().get(found).filter(|_| variant == 3) {
                record(&mut journal, &says.state, next);
                assert_eq!(read(&journal).unwrap(), acknowledged[found + 1].1, "{how}");
            }
            images += 1;
        }
    }
    println!("{images} crash images, {in_flight_survived} with the event in flight");
    assert!(images > 1000 && in_flight_survived > 0);
}

fn finished() -> (Vec<u8>, Says) {
    let (mut bytes, actions, mut acknowledged) = life();
    actions.iter().for_each(|action| apply(&mut bytes, action));
    (bytes, acknowledged.pop().unwrap().1)
}

#[test]
fn no_flipped_bit_makes_the_journal_say_anything_wrong() {
    let seed = seed(62);
    let mut random = Random(seed);
    let (bytes, wanted) = finished();
    assert_eq!(open(bytes.clone()).unwrap().1, wanted);
    // Most of the file is empty: half of the flips go where something is written.
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let (mut refused, mut right) = (0, 0);
    for trial in 0..3000u64 {
        let at = match trial % 4 {
            0 => random.below(bytes.len() as u64) as usize,
            1 => random.below(512) as usize,
            _ => written[random.below(written.len() as u64) as usize],
        };
        let bit = random.below(8);
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        match open(flipped) {
            Ok((_, says)) => {
                assert_eq!(says, wanted, "seed {seed}: bit {bit} of byte {at}");
                right += 1;
            }
            Err(_) => refused += 1,
        }
    }
    println!(
        "{} bytes, {} of them not zero: {refused} flips refused, {right} without effect",
        bytes.len(),
        written.len()
    );
    assert!(refused > 500);
}

#[test]
fn a_journal_cut_short_is_refused_or_right() {
    let (bytes, wanted) = finished();
    for length in (1..bytes.len()).step_by(bytes.len() / 200) {
        if let Ok((_, says)) = open(bytes[..length].to_vec()) {
            assert_eq!(says, wanted, "cut at {length}");
        }
    }
}

/// Changes a finished journal behind its back, but as redb would write it.
fn meddled(change: impl FnOnce(&redb::WriteTransaction)) -> Result<(Journal, Says), JournalError> {
    let (bytes, _) = finished();
    let disk = Disk::holding(bytes);
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    let bytes = disk.content().bytes.clone();
    open(bytes)
}

#[test]
fn meddling_itself_does_no_harm() {
    assert_eq!(meddled(|_| ()).unwrap().1, finished().1);
}

#[test]
fn a_newer_format_is_refused_naming_the_release_that_wrote_it() {
    let newer = format!("{} 9.8.7", FORMAT + 1);
    let error = meddled(|transaction| {
        transaction.open_table(META).unwrap().insert("format", newer.as_bytes()).unwrap();
    });
    let Err(error @ JournalError::Newer { .. }) = error.map(|_| ()) else { panic!("not refused as newer") };
    let error = Error::from(error);
    assert_eq!(error.kind(), Kind::Blocked);
    assert!(error.to_string().contains("9.8.7") && error.advice().contains("9.8.7"), "{error} {}", error.advice());
}

#[test]
fn an_unknown_or_missing_format_is_refused() {
    for format in [&b"0 0.0.1"[..], b"", b"1", b"one 1", b"99999999999 1", b"\xff \xff"] {
        let opened = meddled(|transaction| {
            transaction.open_table(META).unwrap().insert("format", format).unwrap();
        });
        assert!(opened.is_err(), "{format:?}");
        let is_older = matches!(opened, Err(JournalError::Format { found: 0, known: FORMAT }));
        assert_eq!(is_older, format.starts_with(b"0 "), "{format:?}");
    }
    let opened = meddled(|transaction| {
        transaction.open_table(META).unwrap().remove("format").unwrap();
    });
    assert!(opened.is_err());
}

/// Swaps the first two records of a table.
fn swap<K: redb::Key + 'static>(table: TableDefinition<'_, K, &'static [u8]>) -> impl FnOnce(&redb::WriteTransaction) {
    let name = redb::TableHandle::name(&table).to_owned();
    move |transaction| {
        let mut table = transaction.open_table(TableDefinition::<K, &[u8]>::new(&name)).unwrap();
        let values: Vec<Vec<u8>> =
            table.iter().unwrap().take(2).map(|entry| entry.unwrap().1.value().to_vec()).collect();
        let keys: Vec<Vec<u8>> = {
            let entries = table.iter().unwrap().take(2);
            entries.map(|entry| K::as_bytes(&entry.unwrap().0.value()).as_ref().to_vec()).collect()
        };
        assert_ne!(values[0], values[1]);
        for (key, value) in keys.iter().zip(values.iter().rev()) {
            table.insert(K::from_bytes(key), value.as_slice()).unwrap();
        }
    }
}

#[test]
fn records_swapped_between_places_are_noticed_whichever_table_they_are_in() {
    let noticed = |opened: Result<(Journal, Says), JournalError>, place: &str| {
        let Err(JournalError::Record { place: found, .. }) = opened.map(|_| ()) else { panic!("{place} not noticed") };
        assert!(found.starts_with(place), "{found}");
    };
    noticed(meddled(swap(TableDefinition::<u64, &[u8]>::new("chunks"))), "chunk/");
    noticed(meddled(swap(TableDefinition::<u64, &[u8]>::new("restored"))), "restored/");
    noticed(meddled(swap(TableDefinition::<u64, &[u8]>::new("events"))), "event/");
    noticed(meddled(swap(TableDefinition::<(u32, u64), &[u8]>::new("spine"))), "spine/");
    for (from, to) in [("state", "job"), ("job", "state"), ("manifest", "state")] {
        let opened = meddled(|transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            let value = meta.get(from).unwrap().unwrap().value().to_vec();
            meta.insert(to, value.as_slice()).unwrap();
        });
        noticed(opened, to);
    }
}

#[test]
fn a_record_that_is_gone_is_missed() {
    for (table, number) in [("chunks", 0), ("chunks", 2), ("chunks", CHUNKS - 1), ("events", 0), ("events", 2)] {
        let opened = meddled(|transaction| {
            transaction.open_table(TableDefinition::<u64, &[u8]>::new(table)).unwrap().remove(number).unwrap();
        });
        let Err(JournalError::Record { place, what }) = opened.map(|_| ()) else { panic!("{table}: nobody missed it") };
        assert!(place.ends_with(&format!("/{number}")) && what == "is missing", "{place} {what}");
    }
    for place in ["job", "state", "manifest"] {
        let opened = meddled(|transaction| {
            transaction.open_table(META).unwrap().remove(place).unwrap();
        });
        assert!(matches!(opened, Err(JournalError::Record { place: found, .. }) if found == place));
    }
}

#[test]
fn a_failed_write_poisons_nothing_that_was_acknowledged() {
    use storeshift::target::Outage;
    let (born, _, acknowledged) = life();
    for writes in 0..40 {
        let disk = Disk::holding(born.clone());
        let outage = Outage::after(writes);
        let mut found = 0;
        if let Ok(mut journal) = Journal::on_backend(disk.with(&outage), None) {
            let mut state = State::new(Version(5));
            for fact in facts() {
                let after = state.apply(&fact).unwrap();
                let chunks: Vec<Chunk> = (0..CHUNKS).map(chunk).collect();
                let (manifest, spines) = (manifest(), vec![(1..6).map(spine).collect()]);
                let writes = Writes::Manifest { manifest: &manifest, chunks: &chunks, spines: &spines };
                let writes = if found == 0 { writes } else { Writes::Nothing };
                if journal.record(&fact, &after, &writes).is_err() {
                    break;
                }
                (state, found) = (after, found + 1);
            }
        }
        let bytes = disk.content().bytes.clone();
        let journal = Journal::on_backend(Disk::holding(bytes), None).unwrap();
        let events = journal.event_count() as usize;
        assert!(events == found || events == found + 1, "after {writes} writes: {found} acknowledged, {events} there");
        assert_eq!(journal.state().unwrap(), acknowledged[events].1.state);
    }
}
