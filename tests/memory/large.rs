//! Stores of large values: they are cut into chunks of few leaves, and come out as they would have anyhow.

use crate::support::{
    job::{World, tiny},
    random::{Random, seed},
    stores::{Block, Chain},
};
use std::sync::Arc;
use storeshift::{
    Kind, Outcome,
    iavl::Access,
    plan::{Parts, Plan, Tuning},
    source::{Engine, MemoryEngine, PointReader, Rootmulti, Scan, SourceError},
    target::Outage,
};

/// An engine that says to have so many bytes in every range.
struct Says(MemoryEngine, u64);

impl Engine for Says {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.get(key)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        self.0.reader(access)
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        self.0.scan(from, until)
    }

    fn approximate_bytes(&self, _: &[u8], _: &[u8]) -> u64 {
        self.1
    }
}

/// `large` has values of kilobytes, some of many; `small` has only a few bytes each.
fn chain(random: &mut Random) -> Chain {
    let mut chain = Chain::with_stores(&["empty", "large", "small"]);
    for version in 1..=3u64 {
        let mut block = Block::new();
        for (store, least, most) in [("large", 2_200, 3_000), ("small", 1, 40)] {
            let keys = (0..LEAVES).filter(|key| version == 1 || key % 7 == version);
            let pairs = keys.map(|key| {
                let length =
                    if store == "large" && key > LEAVES - 4 { 60_000 } else { least + random.below(most - least) };
                let value = (0..length).map(|_| random.next() as u8).collect();
                (format!("key-{key:03}").into_bytes(), Some(value))
            });
            block.push((store, pairs.collect()));
        }
        chain.commit(&block);
    }
    chain
}

const LEAVES: u64 = 300;

fn world(engine: impl Engine + 'static, parts: Parts, tuning: Tuning) -> World {
    let plan = Plan { parts, ..Plan::new() };
    World::new(Arc::new(Rootmulti::new(engine)), plan, tuning)
}

/// Runs to the end and verifies; the number of chunks.
fn run(world: &World) -> u64 {
    let mut migrator = world.open(&Outage::never()).unwrap();
    assert!(matches!(migrator.run().unwrap(), Outcome::Done { .. }));
    let findings = migrator.verify(true, false).unwrap();
    assert!(findings.damaged.is_empty() && findings.wrong.is_empty(), "{findings:?}");
    findings.chunks
}

fn assert_same(found: &World, wanted: &World, how: &str) {
    assert!(*found.sc.data() == *wanted.sc.data(), "SC differs: {how}");
    assert!(*found.ss.data() == *wanted.ss.data(), "SS differs: {how}");
}

#[test]
fn a_store_of_large_values_is_cut_finer_and_its_target_is_the_same() {
    let engine = chain(&mut Random(seed(71))).engine;
    let roomy = Tuning { memory: 256 << 10, ..tiny(2) };
    for parts in [Parts::Both, Parts::Sc, Parts::Ss] {
        let usual = world(engine.clone(), parts, tiny(1));
        assert_eq!(run(&usual), 2, "with little on disk a chunk for each store that has anything");
        // Four leaves are about a MiB of 64, one is more than that of 8 TiB.
        for (on_disk, tuning, most) in [(64 << 20, tiny(2), 4), (64 << 20, roomy, 4), (8 << 40, roomy, 1)] {
            let finer = world(Says(engine.clone(), on_disk), parts, tuning);
            let chunks = run(&finer);
            assert!((LEAVES / most + 1..=LEAVES + 1).contains(&chunks), "{chunks} chunks");
            assert_same(&finer, &usual, &format!("{parts}, {on_disk} bytes, {tuning:?}"));
        }
    }
}

#[test]
fn a_run_over_large_values_cut_off_anywhere_goes_on_where_it_was() {
    let engine = chain(&mut Random(seed(72))).engine;
    let wanted = world(engine.clone(), Parts::Both, tiny(1));
    run(&wanted);
    let born = world(Says(engine, 64 << 20), Parts::Both, Tuning { memory: 256 << 10, ..tiny(1) });
    let (outage, copy) = (Outage::never(), born.fork());
    let mut migrator = copy.open(&outage).unwrap();
    migrator.run().unwrap();
    // Those of closing are not of interest.
    let (writes, mut taken_up) = (outage.seen(), 0);
    drop(migrator);
    for point in 0..writes {
        let world = born.fork();
        if let Ok(mut migrator) = world.open(&Outage::after(point)) {
            let error = migrator.run().unwrap_err();
            assert_eq!(error.kind(), Kind::Retry, "{error}");
        }
        let mut migrator = world.open(&Outage::never()).unwrap();
        let open = migrator.counts().pairs_total - migrator.counts().pairs_restored;
        taken_up += u64::from((1..2 * LEAVES).contains(&open));
        migrator.run().unwrap();
        if migrator.counts().pairs_total > 0 && open > 0 {
            assert_eq!(migrator.counts().pairs_read, open, "what is recorded is not redone: cut off at {point}");
        }
        assert_same(&world, &wanted, &format!("cut off at write {point} of {writes}"));
    }
    println!("{taken_up} of {writes} times some chunks were there and some were not");
    assert!(taken_up > 10);
}

#[test]
fn many_old_versions_of_small_values_do_not_make_chunks_small() {
    let engine = chain(&mut Random(seed(73))).engine;
    // Kilobytes on disk for each leaf; only a look at the leaves tells that they are history.
    let finer = world(Says(engine, 1 << 30), Parts::Both, tiny(1));
    run(&finer);
    let migrator = finer.open(&Outage::never()).unwrap();
    let journal = migrator.recorder().journal();
    let chunks = journal.chunks(0, journal.manifest().unwrap().chunks()).unwrap();
    assert!(chunks.iter().filter(|chunk| chunk.store == 1).count() > 60);
    assert_eq!(chunks.iter().filter(|chunk| chunk.store == 2).count(), 1);
}
