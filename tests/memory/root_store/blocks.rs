//! Blocks of a chain, drawn from a seed: pairs, removals, stores that come, go and are renamed.

use super::worlds::Chain;
use crate::support::random::Random;
use std::collections::BTreeMap;
use storeshift::{
    model::{Change, StoreChanges, StoreKey, Timestamp, Version},
    root_store::{ChangeSet, StoreUpgrades},
};

/// A block for a chain, with upgrades now and then. The first one adds the stores.
pub fn block(random: &mut Random, chain: &Chain) -> ChangeSet {
    let mut stores: Vec<StoreKey> =
        chain.states.last_key_value().map_or(Vec::new(), |(_, state)| state.keys().cloned().collect());
    let version = chain.latest().next();
    let mut upgrades = StoreUpgrades::default();
    if version == Version(1) {
        upgrades.added = ["acc", "bank", "gov"].map(StoreKey::from).to_vec();
    } else if random.below(6) == 0 {
        let new = StoreKey::from(format!("z{version}"));
        let old = stores[random.below(stores.len() as u64) as usize].clone();
        match random.below(3) {
            0 => upgrades.added.push(new),
            1 if stores.len() > 1 => upgrades.deleted.push(old),
            _ => upgrades.renamed.push((old, new)),
        }
    }
    stores.retain(|store| !upgrades.deleted.contains(store) && upgrades.renamed.iter().all(|(from, _)| from != store));
    stores.extend(upgrades.added.iter().chain(upgrades.renamed.iter().map(|(_, to)| to)).cloned());
    let mut changes = Vec::new();
    for store in stores {
        // Some stores are left alone, some are emptied.
        let kind = random.below(8);
        let mut of_store: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        if kind > 1 {
            for _ in 0..random.below(12) {
                let key = vec![b'k', random.below(24) as u8];
                of_store
                    .insert(key, (random.below(3) > 0).then(|| vec![random.below(3) as u8; random.below(3) as usize]));
            }
        } else if kind == 1 {
            let there = chain.states.last_key_value().and_then(|(_, state)| state.get(&store));
            of_store.extend(there.into_iter().flat_map(|pairs| pairs.keys().map(|key| (key.clone(), None))));
        }
        if !of_store.is_empty() {
            let mut of_store: Vec<Change> = of_store.into_iter().map(|(key, value)| Change { key, value }).collect();
            if random.below(5) == 0 {
                // Not a chain's order, and some keys twice: a store applies what it is given.
                of_store.reverse();
                of_store.extend(of_store.clone().into_iter().take(2).map(|change| Change { value: None, ..change }));
            }
            changes.push(StoreChanges { store, changes: of_store });
        }
    }
    let time = Some(Timestamp { seconds: version.0 as i64, nanos: 7 });
    ChangeSet { stores: changes, upgrades, time }
}
