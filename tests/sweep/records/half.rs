//! Faults in targets that are half restored, and in ones that are whole and not yet proven: the run that goes on halts at one chunk,
//! or ends with the target of the run that nobody disturbed.

use super::{Fate, Scale, Table, done, fault, fault::Fault, finished, view::view};
use crate::support::{
    job::World,
    random::{Random, seed},
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use storeshift::{
    Error, Kind,
    machine::Phase,
    model::{Verdict, Version},
    target::Outage,
};

/// Targets of runs that ended in the middle of restoring: each is further on than the one before.
pub fn halves() -> Vec<World> {
    let mut halves: Vec<World> = Vec::new();
    for writes in 0.. {
        let world = finished(4, 4);
        let ended = world.open(&Outage::after(writes)).and_then(|mut migrator| migrator.run().map(drop));
        if ended.is_ok() {
            return halves;
        }
        let state = world.state();
        let Phase::Restoring { restored, .. } = &state.phase else { continue };
        if restored.count() > 0 && halves.last().is_none_or(|last| last.state() != state) {
            halves.push(world);
        }
    }
    halves
}

fn fate(world: &World, wanted: &World) -> Fate {
    let run = |world: &World| world.open(&Outage::never()).and_then(|mut migrator| migrator.run().map(drop));
    let equal = |world: &World| {
        let stores = |world: &World| {
            let mut data = world.ss.data().clone();
            data.pairs.retain(|(store, ..), _| matches!(store.as_str(), "acc" | "bank"));
            data
        };
        let trees = |world: &World| {
            let mut data = world.sc.data().clone();
            data.records.retain(|(store, _), _| matches!(store.as_str(), "acc" | "bank"));
            data.infos.retain(|version, _| version.0 == 4);
            data
        };
        stores(world) == stores(wanted) && trees(world) == trees(wanted)
    };
    match run(world) {
        Ok(()) if equal(world) => Fate::Harmless,
        Ok(()) => {
            let findings = world.open(&Outage::never()).and_then(|migrator| migrator.verify(false, false));
            // A record more that no reader comes to is without effect here as it is in a finished target.
            let same = || view(world, Version(4), Version(4)) == view(wanted, Version(4), Version(4));
            match findings.is_ok_and(|findings| findings.is_sound()) {
                true if same() => Fate::Harmless,
                true => Fate::Silent,
                false => Fate::Found { repaired: false },
            }
        }
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Disagrees | Kind::Blocked), "{error}");
            let repaired = || -> Result<bool, Error> {
                let mut migrator = world.open(&Outage::never())?;
                let findings = migrator.verify(false, true)?;
                migrator.lift_halt(&findings)?;
                drop(migrator);
                run(world)?;
                Ok(equal(world))
            };
            let repaired = repaired().unwrap_or(false);
            match error {
                Error::Halted(Verdict::Chunk { .. }) => Fate::Chunk { repaired },
                _ => Fate::Found { repaired },
            }
        }
    }
}

#[test]
fn a_run_that_goes_on_with_a_damaged_target_halts_at_the_damage_or_ends_as_if_there_were_none() {
    let (scale, seed) = (Scale::asked(), seed(73));
    let wanted = done(finished(4, 4));
    let mut table = Table::default();
    let halves = halves();
    assert!(halves.len() > 5);
    let mut random = Random(seed);
    for half in &halves {
        let faults = fault::every_bit(half);
        let stride = scale.stride(faults.len(), 100);
        let bits = faults.into_iter().skip(seed as usize % stride).step_by(stride);
        let others: Vec<Fault> = (0..scale.random(50, 5_000)).map(|_| Fault::random(half, &mut random)).collect();
        for fault in bits.chain(others) {
            let world = half.fork();
            if fault.damage(&world) {
                let fate = catch_unwind(AssertUnwindSafe(|| fate(&world, &wanted))).unwrap_or(Fate::Panic);
                table.count(fault.place(), fault.kind(), fate, || format!("{:?}: {fault}", half.state().phase));
            }
        }
    }
    table.judge("records of half-restored targets, and the run that goes on");
}
