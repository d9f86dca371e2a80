//! Every bit of a journal that has something written in it, a sample of the empty ones, and seeded damage: it is refused, or says
//! exactly what it said.

use crate::{
    bytes::{self, Others, fresh},
    records,
    support::{
        disk::Disk,
        job::World,
        random::{Random, seed},
    },
    table::{Fate, Scale, Table},
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use storeshift::{
    Error, Kind,
    iavl::SpineNode,
    journal::{Job, Journal, JournalError},
    machine::{Phase, State},
    model::{Chunk, Manifest, Restored},
    target::Outage,
};

/// Everything a journal says.
#[derive(Debug, PartialEq)]
struct Says {
    job: Job,
    state: State,
    manifest: Option<Manifest>,
    chunks: Vec<Chunk>,
    spines: Vec<Vec<SpineNode>>,
    restored: Vec<Option<Restored>>,
    events: Vec<(String, String)>,
    verified: u64,
}

fn read(bytes: Vec<u8>) -> Result<Says, JournalError> {
    let journal = if bytes.is_empty() {
        let dir = fresh();
        // In memory nothing at all is a journal to be made; a file that is there and empty is none.
        std::fs::write(dir.path().join("journal.redb"), bytes).unwrap();
        Journal::open(dir.path())?
    } else {
        Journal::on_backend(Disk::holding(bytes), None)?
    };
    let state = journal.state()?;
    let begun = !matches!(state.phase, Phase::Snapshotting { .. });
    let manifest = begun.then(|| journal.manifest()).transpose()?;
    let (stores, count) = manifest.as_ref().map_or((0, 0), |manifest| (manifest.stores.len(), manifest.chunks()));
    Ok(Says {
        job: journal.job()?,
        state,
        manifest,
        chunks: journal.chunks(0, count)?,
        spines: (0..stores as u32).map(|store| journal.spine(store)).collect::<Result<_, _>>()?,
        restored: (0..count).map(|chunk| journal.restored(chunk)).collect::<Result<_, _>>()?,
        events: journal.events()?.into_iter().map(|event| (event.name, event.detail)).collect(),
        verified: journal.verified()?.count(),
    })
}

fn fate(damaged: Vec<u8>, said: &Says) -> Fate {
    match read(damaged) {
        Ok(says) if says == *said => Fate::Harmless,
        Ok(_) => Fate::Silent,
        Err(error) => {
            let error = Error::from(error);
            assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked), "{error}");
            Fate::Found { repaired: false }
        }
    }
}

fn sweep(name: &str, world: &World, earlier: &World, default_seed: u64) {
    let (scale, seed) = (Scale::asked(), seed(default_seed));
    let (whole, earlier) = (world.journal.content().bytes.clone(), earlier.journal.content().bytes.clone());
    let said = read(whole.clone()).unwrap();
    // Pages with anything in them; of the others a sample, unless all is to be done.
    const PAGE: usize = 4096;
    let (mut written, mut empty) = (Vec::new(), Vec::new());
    for (page, content) in whole.chunks(PAGE).enumerate() {
        let bits = page * PAGE * 8..(page * PAGE + content.len()) * 8;
        if content.iter().all(|byte| *byte == 0) { empty.extend(bits) } else { written.extend(bits) }
    }
    let mut table = Table::default();
    let mut inject = |place: &str, kind, damaged: Vec<u8>, what: &dyn Fn() -> String| {
        if damaged != whole {
            let fate = catch_unwind(AssertUnwindSafe(|| fate(damaged, &said))).unwrap_or(Fate::Panic);
            table.count(place, kind, fate, what);
        }
    };
    for (place, bits, sample, all) in [("written page", written, 3_000, u64::MAX), ("empty page", empty, 200, 20_000)] {
        let stride = scale.stride(bits.len(), sample).max(bits.len() / all.min(bits.len() as u64 + 1) as usize).max(1);
        for bit in bits.into_iter().skip(seed as usize % stride).step_by(stride) {
            inject(place, "bit", bytes::flipped(&whole, bit), &|| format!("bit {bit}"));
        }
    }
    let mut random = Random(seed);
    for trial in 0..scale.random(2_000, 200_000) {
        let others = Others { earlier: Some(&earlier), beside: &earlier };
        let (kind, damaged) = bytes::random(&whole, &others, &mut random);
        // An older journal as a whole is one that is right; the target is ahead of it then, as after a crash.
        if kind == "stale" && damaged == earlier {
            continue;
        }
        inject("file", kind, damaged, &|| format!("{kind}, trial {trial}"));
    }
    println!("{} bytes", whole.len());
    table.judge(name);
}

#[test]
fn a_damaged_journal_of_a_finished_job_is_refused_or_right() {
    let world = records::done(records::finished(4, 8));
    let halves = records::halves();
    sweep("journal of a finished job", &world, &halves[0], 74);
}

#[test]
fn a_damaged_journal_of_a_job_that_is_restoring_is_refused_or_right() {
    let halves = records::halves();
    let world = &halves[halves.len() / 2];
    assert!(matches!(world.state().phase, Phase::Restoring { .. }));
    world.open(&Outage::never()).unwrap();
    sweep("journal of a job that is restoring", world, &halves[0], 75);
}
