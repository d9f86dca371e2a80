//! Every bit of every record of targets in memory, and seeded damage of other shapes: `verify` finds it and names it, `--repair`
//! redoes one chunk, and whatever is not found is without effect on what any reader reads.

mod fault;
mod half;
mod judge;
mod view;

use crate::{
    support::{
        job::{World, tiny},
        random::{Random, seed},
        stores::{Block, Chain, source},
    },
    table::{Fate, Scale, Table},
};
use fault::Fault;
pub use half::halves;
use judge::Judge;
use storeshift::{
    model::Version,
    plan::{At, Plan},
    source::MemoryEngine,
};

/// A chain of two stores, of which one version has two chunks or more in each, and some versions after it: sets, changes,
/// removals, a version without changes.
fn chain() -> Chain {
    let mut chain = Chain::with_stores(&["acc", "bank"]);
    let key = |store: &str, i: u64| format!("{store}-{i:02}").into_bytes();
    for version in 1..=4u64 {
        let of = |store: &'static str| {
            let keys = (0..9).filter(|i| version == 1 || (i + version) % 3 == 0);
            let pairs = keys.map(|i| (key(store, i), Some(format!("value {i} of {version}").into_bytes()))).collect();
            (store, pairs)
        };
        let block: Block = vec![of("acc"), of("bank")];
        chain.commit(&block);
    }
    for version in 5..=8u64 {
        let mut block: Block = Vec::new();
        if version != 7 {
            let set = |i| (key("bank", i), Some(format!("value {i} of {version}").into_bytes()));
            let mut pairs = vec![set(version - 4), (key("bank", version), None), set(version + 6)];
            pairs.sort();
            block.push(("bank", pairs));
        }
        if version == 6 {
            block.push(("acc", vec![(key("acc", 3), None), (key("acc", 5), Some(b"other".to_vec()))]));
        }
        chain.commit(&block);
    }
    chain
}

/// That chain's database when it stood at a version.
pub fn chain_up_to(tip: u64) -> MemoryEngine {
    let mut engine = chain().engine;
    engine.pairs.insert(b"s/latest".to_vec(), vec![8, tip as u8]);
    engine
}

/// A target of the snapshot at a version, with the versions after it; not begun yet.
pub fn finished(at: u64, tip: u64) -> World {
    let plan = Plan { at: At::Version(Version(at)), chunk_leaves: 4, ..Plan::new() };
    World::new(source(chain_up_to(tip)), plan, tiny(1))
}

pub fn done(world: World) -> World {
    let mut migrator = world.open(&storeshift::target::Outage::never()).unwrap();
    migrator.run().unwrap();
    drop(migrator);
    world
}

/// Every bit, and then so many random faults.
fn sweep(name: &str, world: &World, bits: u64, random: (u64, u64), default_seed: u64) -> Table {
    let (scale, seed) = (Scale::asked(), seed(default_seed));
    let mut table = Table::default();
    let mut judge = Judge::new(world);
    let faults = fault::every_bit(world);
    let stride = scale.stride(faults.len(), bits);
    // Another part of them with another seed.
    for fault in faults.iter().skip(seed as usize % stride).step_by(stride) {
        judge.inject(fault, &mut table);
    }
    let mut random_numbers = Random(seed);
    for _ in 0..scale.random(random.0, random.1) {
        let fault = Fault::random(world, &mut random_numbers);
        judge.inject(&fault, &mut table);
    }
    table.judge(name);
    table
}

#[test]
fn no_fault_in_a_record_of_a_restored_target_goes_unnoticed() {
    let world = done(finished(4, 4));
    let table = sweep("records of a restored target", &world, 20_000, (5_000, 500_000), 71);
    let flips = table.sum(|place, kind| place == "SC record" && kind == "bit");
    assert!(flips.injected() > 1_000 && flips.harmless() == 0, "{flips:?}");
}

#[test]
fn no_fault_in_a_record_of_a_target_with_later_versions_goes_unnoticed() {
    let world = done(finished(4, 8));
    sweep("records of a target with versions after the snapshot", &world, 10_000, (3_000, 500_000), 72);
}
