//! Injects one fault after the other into a finished target and takes it out again, and judges what `verify` made of it.

use super::{
    Fate, Table,
    fault::Fault,
    view::{View, view},
};
use crate::support::job::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use storeshift::{
    Kind, Migrator,
    migrator::verify::Findings,
    model::{StoreKey, Version},
    target::Outage,
};

pub struct Judge {
    world: World,
    sound: World,
    seen: View,
    bounds: (Version, Version),
    migrator: Migrator,
}

impl Judge {
    pub fn new(sound: &World) -> Judge {
        let world = sound.fork();
        let migrator = world.open(&Outage::never()).unwrap();
        let phase = world.state().phase;
        let bounds = (phase.height().unwrap(), phase.applied().unwrap());
        let judge = Judge { seen: view(&world, bounds.0, bounds.1), world, sound: sound.fork(), bounds, migrator };
        assert!(judge.migrator.verify(true, false).unwrap().is_sound(), "without a fault there is none");
        judge
    }

    pub fn inject(&mut self, fault: &Fault, table: &mut Table) {
        if !fault.damage(&self.world) {
            return;
        }
        let fate = catch_unwind(AssertUnwindSafe(|| self.fate())).unwrap_or(Fate::Panic);
        table.count(fault.place(), fault.kind(), fate, || fault.to_string());
        self.world.sc.data().clone_from(&self.sound.sc.data());
        self.world.ss.data().clone_from(&self.sound.ss.data());
    }

    fn fate(&self) -> Fate {
        match self.verify(false, false) {
            None => Fate::Found { repaired: false },
            Some(findings) if findings.is_sound() => match self.verify(true, false) {
                Some(findings) if findings.is_sound() => {
                    let same = view(&self.world, self.bounds.0, self.bounds.1) == self.seen;
                    if same { Fate::Harmless } else { Fate::Silent }
                }
                _ => Fate::BySource,
            },
            Some(findings) => {
                let repaired =
                    self.verify(false, true).is_some_and(|findings| findings.is_sound()) && self.is_as_it_was();
                let is_one = findings.damaged.len() == 1;
                if is_one { Fate::Chunk { repaired } } else { Fate::Found { repaired } }
            }
        }
    }

    /// None is an error, which must be one that says that the target is damaged.
    fn verify(&self, source: bool, repair: bool) -> Option<Findings> {
        match self.migrator.verify(source, repair) {
            Ok(findings) => Some(findings),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Disagrees, "{error}");
                None
            }
        }
    }

    /// Byte for byte, but for removals of what never was, and what lies under names of no store and no version.
    fn is_as_it_was(&self) -> bool {
        let (mut pairs, mut trees) = (self.world.ss.data().clone(), self.world.sc.data().clone());
        let (sound_pairs, sound_trees) = (self.sound.ss.data(), self.sound.sc.data());
        let is_store = |store: &StoreKey| sound_trees.records.keys().any(|(name, _)| name == store);
        pairs.pairs.retain(|at, value| is_store(&at.0) && (value.is_some() || sound_pairs.pairs.contains_key(at)));
        trees.records.retain(|(store, _), _| is_store(store));
        trees.infos.retain(|version, _| sound_trees.infos.contains_key(version));
        trees == *sound_trees && pairs == *sound_pairs
    }
}
