//! Faults in sorted runs, where the records of stores wait until all of a store is there: what is missing is named chunk by chunk and
//! redone from the source, or the target is that of the sound ones.

use crate::{
    bytes::{self, fresh},
    support::{
        disk::Disk,
        ondisk::{Files, OnDisk, Seen, chain, read, write},
        random::seed,
    },
    table::{Fate, Table},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};
use storeshift::{Error, Kind, Outcome, journal::Journal};

struct Sweep {
    job: OnDisk,
    /// Everything as it is when all chunks are restored.
    files: Files,
    journal: Vec<u8>,
    seen: Seen,
    /// In which words errors said that something was found.
    words: BTreeMap<String, u64>,
}

impl Sweep {
    fn new(job: OnDisk) -> Sweep {
        let journal = job.journal();
        job.restore(&journal);
        let mut files = Files::new();
        read(&job.place, "", &mut files);
        let bytes = journal.content().bytes.clone();
        let mut whole = job.open(Journal::on_backend(journal, None).unwrap()).unwrap();
        assert!(matches!(whole.run(), Ok(Outcome::Done { .. })));
        let seen = job.see(&whole).unwrap();
        drop(whole);
        Sweep { job, files, journal: bytes, seen, words: BTreeMap::new() }
    }

    fn runs(&self) -> Files {
        self.files.iter().filter(|(name, _)| name.starts_with("runs/")).map(|(n, b)| (n.clone(), b.clone())).collect()
    }

    fn inject(&mut self, name: &str, damaged: Option<Vec<u8>>) -> Fate {
        let mut files = self.files.clone();
        match damaged {
            Some(bytes) => drop(files.insert(name.to_owned(), bytes)),
            None => drop(files.remove(name)),
        }
        write(&self.job.place, &files);
        let journal = Disk::holding(self.journal.clone());
        let run = || -> Result<bool, Error> {
            let mut job = self.job.open(Journal::on_backend(journal.clone(), None)?)?;
            assert!(matches!(job.run()?, Outcome::Done { .. }));
            Ok(self.job.see(&job)? == self.seen)
        };
        let error = match catch_unwind(AssertUnwindSafe(run)) {
            Err(_) => return Fate::Panic,
            Ok(Ok(same)) => return if same { Fate::Harmless } else { Fate::Silent },
            Ok(Err(error)) => error,
        };
        assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked | Kind::Retry), "{:?} {error}", error.kind());
        let said = error.to_string();
        let is_named = said.contains("chunk");
        let words: String = said
            .split(" has hash")
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect();
        *self.words.entry(format!("{:?}: {words}; {}", error.kind(), error.advice())).or_default() += 1;
        // What is redone is redone from the source.
        let redo = || -> Result<bool, Error> {
            let mut job = self.job.open(Journal::on_backend(journal.clone(), None)?)?;
            let findings = job.verify(false, true)?;
            job.lift_halt(&findings)?;
            Ok(findings.is_sound() && matches!(job.run()?, Outcome::Done { .. }) && self.job.see(&job)? == self.seen)
        };
        match catch_unwind(AssertUnwindSafe(redo)) {
            Err(_) => Fate::Panic,
            Ok(redone) => {
                if let Err(error) = &redone {
                    let words: String = error.to_string().chars().take(90).collect();
                    *self.words.entry(format!("not redone: {:?}: {words}", error.kind())).or_default() += 1;
                }
                let repaired = redone.unwrap_or(false);
                if is_named { Fate::Chunk { repaired } } else { Fate::Found { repaired } }
            }
        }
    }
}

#[test]
fn a_fault_in_a_sorted_run_is_named_by_chunk_and_redone_or_does_no_harm() {
    let seed = seed(84);
    let dir = fresh();
    let job = |name: &str, at, tip| OnDisk::new(&dir.path().join(name), chain(tip), (at, tip));
    let earlier = Sweep::new(job("earlier", 3, 6)).runs();
    let mut sweep = Sweep::new(job("target", 4, 6));
    let runs = sweep.runs();
    assert!(runs.len() >= 4, "{:?}", runs.keys());
    let mut table = Table::default();
    bytes::sweep(&runs, &earlier, (300, 150), seed, &mut |name, kind, damaged| {
        let fate = sweep.inject(name, damaged);
        table.count("runs/", kind, fate, || format!("{kind} of {name}"));
    });
    eprintln!("{:#?}", sweep.words);
    table.judge("sorted runs");
    let all = table.sum(|_, _| true);
    assert!(all.harmless() * 10 < all.injected(), "{all:?}");
    assert_eq!(all.repaired(), all.found(), "{all:?}");
}
