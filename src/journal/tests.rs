//! The frozen records: that all they can say comes back as it was, in bytes that never change, and that what they cannot say is
//! refused. What an event's record tells people.

use super::{
    CHUNKS, EVENTS, FORMAT, Job, Journal, JournalError, META, RESTORED, SPINE, SourceIdentity, SwitchRequest, Writes,
    builder, codec,
    event::Event1,
    put,
    record::{Chunk1, Job1, Manifest1, Restored1, Spine1, State1},
};
use crate::{
    iavl::SpineNode,
    machine::{Cause, Event, Fence, Phase, State, Verified},
    model::{Chunk, ChunkSet, Digest, Hash, JobId, Manifest, Restored, StoreEntry, Timestamp, Verdict, Version},
    plan::{At, Parts, Plan},
};
use serde::{Serialize, de::DeserializeOwned};

/// Through the bytes, as a journal has them, and back.
fn kept<R: Serialize + DeserializeOwned>(record: &R) -> R {
    codec::decode("here", &codec::encode("here", record).unwrap()).unwrap()
}

fn job(at: At, parts: Parts, leave_out_memory_stores: bool, app_hash: Option<Hash>) -> Job {
    let plan = Plan { at, parts, chunk_leaves: 77, app_hash, leave_out_memory_stores };
    let source = SourceIdentity {
        engine: "goleveldb".to_owned(),
        height: Version(5),
        app_hash: Hash([1; 32]),
        tip: Version(9),
        tip_app_hash: Hash([2; 32]),
    };
    Job { id: JobId([3; 16]), plan, source }
}

#[test]
fn every_plan_comes_back_as_it_was() {
    for at in [At::Latest, At::Oldest, At::Version(Version(0)), At::Version(Version(8))] {
        for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
            for leave_out in [false, true] {
                for app_hash in [None, Some(Hash([7; 32]))] {
                    let job = job(at, parts, leave_out, app_hash);
                    assert_eq!(Job::try_from(kept(&Job1::from(&job))).unwrap(), job);
                }
            }
        }
    }
}

fn set(ranges: &[(u64, u64)]) -> ChunkSet {
    ChunkSet::from_ranges(ranges.to_vec()).unwrap()
}

fn verdicts() -> Vec<Verdict> {
    let (expected, found) = (Hash([1; 32]), Hash([2; 32]));
    vec![
        Verdict::Root { store: "bank".into(), version: Version(4), expected, found },
        Verdict::AppHash { version: Version(5), expected, found },
        Verdict::Chunk { chunk: 17, store: "gov".into(), what: "is damaged".to_owned() },
        Verdict::Store { store: "staking".into(), what: "has other pairs".to_owned() },
    ]
}

fn phases() -> Vec<Phase> {
    let (height, applied) = (Version(5), Version(8));
    let restoring =
        Phase::Restoring { height, chunks: 9, restored: set(&[(0, 4), (6, 7)]), joined: true, proven: set(&[(2, 3)]) };
    let mut phases = vec![
        Phase::Snapshotting { height },
        restoring.clone(),
        Phase::Syncing { height, applied },
        Phase::Done { height, version: applied, finished: false },
        Phase::Done { height, version: applied, finished: true },
        Phase::Aborted,
    ];
    let fences = [Fence::Raising, Fence::Raised(Version(9)), Fence::Checked(Version(9))];
    phases.extend(fences.map(|fence| Phase::Switching { height, applied, fence }));
    phases.extend(verdicts().into_iter().map(|verdict| Phase::Halted { verdict, from: Box::new(restoring.clone()) }));
    phases
}

#[test]
fn every_state_comes_back_as_it_was() {
    for (epoch, phase) in (0..).zip(phases()) {
        let state = State { epoch, cause: None, losses: 0, attempt: 3, phase };
        assert_eq!(State::try_from(kept(&State1::from(&state))).unwrap(), state);
    }
}

#[test]
fn chunks_spines_manifests_and_results_come_back_as_they_were() {
    for nonce in [None, Some(0), Some(1), Some(u32::MAX - 1)] {
        let hash = Hash([4; 32]);
        let chunk = Chunk { store: 2, version: Version(6), nonce, hash, height: 3, leaves: 8, first_ordinal: 40 };
        assert_eq!(Chunk::from(kept(&Chunk1::from(&chunk))), chunk);
    }
    let spine = SpineNode {
        ordinal: 1,
        version: Version(2),
        height: 3,
        size: 4,
        key: vec![5],
        hash: Hash([6; 32]),
        left_version: Version(7),
        right_version: Version(8),
        right_size: 9,
    };
    assert_eq!(SpineNode::from(kept(&Spine1::from(&spine))), spine);
    let empty = StoreEntry { name: "mint".into(), root: None, top: None, leaves: 0, first_chunk: 3, chunks: 0 };
    let full = StoreEntry {
        name: "bank".into(),
        root: Some(Hash([8; 32])),
        top: Some((Version(4), 34)),
        leaves: 18,
        first_chunk: 0,
        chunks: 3,
    };
    for timestamp in [None, Some(Timestamp { seconds: -1, nanos: 999_999_999 })] {
        let manifest = Manifest { stores: vec![full.clone(), empty.clone()], timestamp };
        assert_eq!(Manifest::from(kept(&Manifest1::from(&manifest))), manifest);
    }
    for ss in [None, Some(Digest([9; 32]))] {
        let restored = Restored { ss, bytes: 7, first_key: vec![1], last_key: vec![2, 3] };
        assert_eq!(Restored::from(kept(&Restored1::from(&restored))), restored);
    }
}

/// The payload of a record, changed, in an envelope of its own, read again.
fn meddled<R, T>(record: &R, change: impl FnOnce(&mut Vec<u8>)) -> Result<T, JournalError>
where
    R: Serialize + DeserializeOwned,
    T: TryFrom<R, Error = JournalError>,
{
    let bytes = codec::encode("here", record).unwrap();
    let mut payload = bytes[9..bytes.len() - 16].to_vec();
    change(&mut payload);
    codec::decode_payload::<R>("here", &payload)?.try_into()
}

#[test]
fn choices_that_format_1_does_not_have_are_refused_by_name() {
    let job = Job1::from(&job(At::Version(Version(8)), Parts::Ss, true, None));
    // Identity, length and text of the release; then the choice of the version, which is a byte and eight, and the parts.
    let at = 16 + 8 + env!("CARGO_PKG_VERSION").len();
    assert!(meddled::<_, Job>(&job, |_| ()).is_ok());
    let error = meddled::<_, Job>(&job, |payload| payload[at] = 3).unwrap_err().to_string();
    assert!(error.contains("unknown version choice"), "{error}");
    for parts in [3, 0x13, 0x22, 0xff] {
        let error = meddled::<_, Job>(&job, |payload| payload[at + 9] = parts).unwrap_err().to_string();
        assert!(error.contains("unknown parts"), "{error}");
    }
    let phase = Phase::Switching { height: Version(5), applied: Version(8), fence: Fence::Checked(Version(9)) };
    let state = State1::from(&State { epoch: 0, cause: None, losses: 0, attempt: 0, phase });
    // Epoch, attempt, which phase, height, applied.
    let error = meddled::<_, State>(&state, |payload| payload[4 + 4 + 4 + 8 + 8] = 3).unwrap_err().to_string();
    assert!(error.contains("unknown fence"), "{error}");
}

#[test]
fn sets_of_chunks_that_are_none_are_refused() {
    let (height, chunks) = (Version(5), 9);
    let ranges = |restored: &[(u64, u64)], proven: &[(u64, u64)]| {
        let phase = Phase::Restoring { height, chunks, restored: set(restored), joined: true, proven: set(proven) };
        State1::from(&State { epoch: 0, cause: None, losses: 0, attempt: 0, phase })
    };
    // Behind the number of ranges, the first begins and ends.
    let restored_ends = 4 + 4 + 4 + 8 + 8 + 8 + 8;
    let error = meddled::<_, State>(&ranges(&[(2, 4)], &[]), |payload| payload[restored_ends] = 2).unwrap_err();
    assert!(error.to_string().contains("malformed chunk set"), "{error}");
    let proven_ends = 4 + 4 + 4 + 8 + 8 + 8 + 1 + 8 + 8;
    let error = meddled::<_, State>(&ranges(&[], &[(2, 4)]), |payload| payload[proven_ends] = 1).unwrap_err();
    assert!(error.to_string().contains("malformed chunk set"), "{error}");
}

#[test]
fn an_envelope_of_another_format_or_length_is_refused_though_its_digest_holds() {
    let seal = |mut body: Vec<u8>| {
        body.extend(codec::digest("here", &body));
        body
    };
    let body = |format: u16, length: u32| [b"SSJ", &format.to_le_bytes()[..], &length.to_le_bytes(), &[7; 8]].concat();
    let read = |bytes: &[u8]| codec::decode::<u64>("here", bytes);
    assert_eq!(read(&seal(body(FORMAT, 8))).unwrap(), 0x0707_0707_0707_0707);
    for format in [0, 2, 256] {
        let error = read(&seal(body(format, 8))).unwrap_err();
        assert!(matches!(error, JournalError::Format { found, known: FORMAT } if found == format), "{error}");
    }
    for length in [0, 7, 9] {
        assert!(read(&seal(body(FORMAT, length))).unwrap_err().to_string().contains("wrong length"));
    }
    for (cut, words) in [(2, "no header"), (4, "no format"), (8, "no length")] {
        let error = read(&seal(body(FORMAT, 8)[..cut].to_vec())).unwrap_err().to_string();
        assert!(error.contains(words), "{cut}: {error}");
    }
    let longer = codec::decode_payload::<u64>("here", &[7; 9]).unwrap_err().to_string();
    assert!(longer.contains("left over"), "{longer}");
    assert!(codec::decode_payload::<u64>("here", &[7; 7]).is_err());
}

#[test]
fn an_event_tells_people_what_it_was_about() {
    let verified = Verified::compare(Hash([1; 32]), Hash([1; 32])).unwrap();
    let after = State { epoch: 4, cause: None, losses: 0, attempt: 0, phase: Phase::Aborted };
    let verdict = verdicts().remove(2);
    for (event, detail) in [
        (Event::Snapshotted { chunks: 12 }, "12 chunks"),
        (Event::Restored { chunks: vec![5, 2, 9] }, "3 chunks, 2 to 9"),
        (Event::Restored { chunks: vec![5] }, "chunk 5"),
        (Event::Proven { chunks: vec![3, 4] }, "2 chunks, 3 to 4"),
        (Event::Proven { chunks: vec![] }, ""),
        (Event::Joined, ""),
        (Event::Concluded(verified), &format!("app hash {}", Hash([1; 32]))),
        (Event::Checked(Verified::pairs_only()), "pairs only, there are no roots"),
        (Event::Applied { to: Version(8) }, "up to version 8"),
        (Event::SwitchStarted, ""),
        (Event::Fenced { version: Version(9) }, "at version 9"),
        (Event::SwitchUndone { why: "the node did not stop".to_owned() }, "the node did not stop"),
        (Event::Flipped, ""),
        (Event::Halted(verdict.clone()), &verdict.to_string()),
        (Event::Repaired { reopened: Some(17) }, "chunk 17 is open again"),
        (Event::Repaired { reopened: None }, ""),
        (
            Event::Renewed { height: Version(7), cause: Cause::Pruned, why: "too late".to_owned() },
            "epoch 4: another snapshot, at version 7, because too late",
        ),
        (Event::Aborted, ""),
        (Event::Returned, ""),
        (Event::Finished, ""),
    ] {
        let record = kept(&Event1::new(99, &event, &after));
        let said = (record.at_ms, &record.name[..], &record.detail[..], &record.phase[..]);
        assert_eq!(said, (99, event.name(), detail, after.phase.name()));
    }
}

#[test]
fn a_verdict_names_what_it_is_about() {
    let words = [
        ["bank", "4", &"01".repeat(32), &"02".repeat(32)],
        ["version 5", "app hash", &"01".repeat(32), &"02".repeat(32)],
        ["chunk 17", "gov", "target", "is damaged"],
        ["staking", "store", "target", "has other pairs"],
    ];
    for (verdict, words) in verdicts().into_iter().zip(words) {
        let said = verdict.to_string().to_lowercase();
        assert!(words.iter().all(|word| said.contains(*word)), "{said}");
    }
}

#[test]
fn a_request_that_failed_is_void_and_stays_so_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let asked = SwitchRequest::new(5, Some(7));
    assert!(asked.is_open());
    let failed = asked.clone().failed("the node went past version 7".to_owned());
    failed.write(directory.path()).unwrap();
    let read = SwitchRequest::read(directory.path()).unwrap().unwrap();
    assert!(!read.is_open() && read.failure.as_deref() == Some("the node went past version 7"));
    assert_eq!((read.asked, read.height), (asked.asked, asked.height));
}

#[test]
fn a_request_that_was_changed_or_has_no_format_or_is_no_file_is_neither_obeyed_nor_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("switch.json");
    SwitchRequest::new(5, Some(7)).write(directory.path()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for (text, words) in [
        (text.replace("7,", "8,"), "not as it was written"),
        (text.replacen("\"format\": 1,", "", 1), "no format"),
        (text.replacen("\"format\": 1,", "\"format\": 9,", 1), "format 9"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = SwitchRequest::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(SwitchRequest::read(directory.path()).is_err());
}

/// A journal in memory that was changed behind its back, opened again or not.
fn changed(change: impl FnOnce(&redb::WriteTransaction)) -> Result<Journal, JournalError> {
    let database = builder().create_with_backend(redb::backends::InMemoryBackend::new()).unwrap();
    let job = job(At::Latest, Parts::Both, false, None);
    Journal::born(&database, &job, &State::new(Version(5))).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    Journal::check(database, None)
}

#[test]
fn what_a_verification_has_proven_is_remembered_until_it_is_over() {
    let journal = changed(|_| ()).unwrap();
    assert_eq!(journal.verified().unwrap(), ChunkSet::default());
    journal.set_verified(Some(&set(&[(1, 4), (7, 8)]))).unwrap();
    assert_eq!(journal.verified().unwrap(), set(&[(1, 4), (7, 8)]));
    journal.set_verified(None).unwrap();
    assert_eq!(journal.verified().unwrap(), ChunkSet::default());
    let journal = changed(|transaction| {
        let mut meta = transaction.open_table(META).unwrap();
        put(&mut meta, "verified", "verified", &vec![(4u64, 1u64)]).unwrap();
    });
    let error = journal.unwrap().verified().unwrap_err().to_string();
    assert!(error.contains("malformed chunk set"), "{error}");
}

#[test]
fn where_the_checkpoint_is_is_remembered_whatever_bytes_its_path_has() {
    use std::os::unix::ffi::OsStrExt as _;
    let journal = changed(|_| ()).unwrap();
    assert_eq!(journal.checkpoint().unwrap(), None);
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/data/check\xffpoint"));
    journal.set_checkpoint(Some(path)).unwrap();
    assert_eq!(journal.checkpoint().unwrap().as_deref(), Some(path));
    journal.set_checkpoint(None).unwrap();
    assert_eq!(journal.checkpoint().unwrap(), None);
}

#[test]
fn a_table_that_is_gone_is_damage_to_whoever_reads_it() {
    let refused = |error: JournalError| {
        assert!(matches!(&error, JournalError::Record { what, .. } if what.contains("cannot be read")), "{error}");
    };
    refused(changed(|transaction| assert!(transaction.delete_table(META).unwrap())).map(|_| ()).unwrap_err());
    refused(changed(|transaction| assert!(transaction.delete_table(EVENTS).unwrap())).map(|_| ()).unwrap_err());
    let without = |table| {
        changed(|transaction| match table {
            0 => assert!(transaction.delete_table(CHUNKS).unwrap()),
            1 => assert!(transaction.delete_table(SPINE).unwrap()),
            _ => assert!(transaction.delete_table(RESTORED).unwrap()),
        })
        .unwrap()
    };
    refused(without(0).chunks(0, 1).map(|_| ()).unwrap_err());
    refused(without(1).spine(0).map(|_| ()).unwrap_err());
    refused(without(2).restored(0).map(|_| ()).unwrap_err());
}

#[test]
fn nothing_is_recorded_for_no_event_and_every_event_is_counted() {
    let mut journal = changed(|_| ()).unwrap();
    journal.record_all(&[], &Writes::Nothing).unwrap();
    assert_eq!((journal.event_count(), journal.events().unwrap().len()), (0, 0));
    let begun = journal.state().unwrap();
    let restoring = begun.apply(&Event::Snapshotted { chunks: 0 }).unwrap();
    let joined = restoring.apply(&Event::Joined).unwrap();
    let both = [(&Event::Snapshotted { chunks: 0 }, &restoring), (&Event::Joined, &joined)];
    journal.record_all(&both, &Writes::Nothing).unwrap();
    assert_eq!((journal.event_count(), journal.state().unwrap()), (2, joined.clone()));
    let aborted = joined.apply(&Event::Aborted).unwrap();
    journal.record(&Event::Aborted, &aborted, &Writes::Nothing).unwrap();
    let names: Vec<_> = journal.events().unwrap().into_iter().map(|event| (event.name, event.phase)).collect();
    let wanted = [("Snapshotted", "Restoring"), ("Joined", "Restoring"), ("Aborted", "Aborted")];
    assert_eq!(names, wanted.map(|(name, phase)| (name.to_owned(), phase.to_owned())));
    assert_eq!(journal.event_count(), 3);
}

#[test]
fn a_journal_is_owned_by_one_process_and_one_only() {
    let directory = tempfile::tempdir().unwrap();
    let job = job(At::Latest, Parts::Both, false, None);
    let first = Journal::create(directory.path(), &job, &State::new(Version(5))).unwrap();
    assert!(Journal::exists(directory.path()));
    let error = Journal::open(directory.path()).map(|_| ()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { by: None, .. }), "{error}");
    drop(first);
    let again = Journal::open(directory.path()).unwrap();
    assert_eq!((again.job().unwrap(), again.state().unwrap()), (job, State::new(Version(5))));
    for beside in ["status.json", "switch.json", "control.json", "journal.redb.new"] {
        std::fs::write(directory.path().join(beside), "{}").unwrap();
    }
    again.destroy().unwrap();
    assert!(!Journal::exists(directory.path()));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["journal.redb.new"], "what the next birth writes over");
}

#[test]
fn a_job_that_begins_again_has_the_new_job_and_cause_and_nothing_of_the_snapshot_before() {
    let mut journal = changed(|_| ()).unwrap();
    let hash = Hash([4; 32]);
    let chunk = Chunk { store: 0, version: Version(5), nonce: None, hash, height: 3, leaves: 8, first_ordinal: 0 };
    let (left_version, right_version) = (Version(2), Version(3));
    let node = SpineNode {
        ordinal: 7,
        version: Version(5),
        height: 4,
        size: 16,
        key: vec![1],
        hash,
        left_version,
        right_version,
        right_size: 8,
    };
    let done = Restored { ss: None, bytes: 7, first_key: vec![1], last_key: vec![2] };
    let mut state = journal.state().unwrap();
    for (cause, losses) in [(Cause::Pruned, 0), (Cause::Lost, 1)] {
        let snapshotted = Event::Snapshotted { chunks: 1 };
        state = state.apply(&snapshotted).unwrap();
        let manifest = Manifest { stores: Vec::new(), timestamp: None };
        let (chunks, spines) = ([chunk.clone()], [vec![node.clone()]]);
        let writes = Writes::Manifest { manifest: &manifest, chunks: &chunks, spines: &spines };
        journal.record(&snapshotted, &state, &writes).unwrap();
        let restored = Event::Restored { chunks: vec![0] };
        state = state.apply(&restored).unwrap();
        journal.record(&restored, &state, &Writes::Restored(&[(0, done.clone())])).unwrap();
        journal.set_verified(Some(&set(&[(0, 1)]))).unwrap();
        assert_eq!((journal.spine(0).unwrap(), journal.restored(0).unwrap()), (vec![node.clone()], Some(done.clone())));

        let mut job = job(At::Latest, Parts::Both, false, None);
        job.source.app_hash = Hash([losses as u8 + 10; 32]);
        let renewed = Event::Renewed { height: Version(7), cause, why: "it is gone".to_owned() };
        state = state.apply(&renewed).unwrap();
        journal.record(&renewed, &state, &Writes::Renewed(&job)).unwrap();
        assert_eq!((state.cause, state.losses), (Some(cause), losses));
        assert_eq!((journal.state().unwrap(), journal.job().unwrap()), (state.clone(), job));
        assert!(journal.manifest().is_err() && journal.chunks(0, 1).is_err());
        assert_eq!((journal.spine(0).unwrap(), journal.restored(0).unwrap()), (Vec::new(), None));
        assert_eq!(journal.verified().unwrap(), ChunkSet::default());
    }
    assert_eq!(journal.event_count(), 6, "what was done stays told");
}
