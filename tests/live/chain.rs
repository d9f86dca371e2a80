//! A chain's blocks, and what its state has to be after each of them: a store that never migrates, and a map.

use super::judge::Judged;
use std::{collections::BTreeMap, sync::Arc};
use storeshift::{
    model::{Change, Hash, StoreChanges, StoreKey, Version},
    plan::Tuning,
    root_store::{ChangeSet, MemoryDatabase, Options, RootStore, RootmultiLayout, StoreUpgrades},
    target::Outage,
};

/// Small buffers and a little disk.
pub fn tuning() -> Tuning {
    Tuning { workers: 2, memory: 32 << 20, reserve: 0, ..Tuning::default() }
}

type State = BTreeMap<(StoreKey, Vec<u8>), Vec<u8>>;

/// The same chain without any migration.
pub struct Model {
    random: u64,
    twin: RootStore,
    stores: Vec<StoreKey>,
    state: State,
    hashes: BTreeMap<Version, Hash>,
    history: BTreeMap<Version, State>,
}

impl Model {
    pub fn new(seed: u64) -> Model {
        let layout = Arc::new(RootmultiLayout::new(Arc::new(MemoryDatabase::new(None, Outage::never()))));
        let twin = RootStore::new(layout, Options::default()).unwrap();
        let stores = ["bank", "staking", "wasm"].map(StoreKey::from).to_vec();
        Model {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            twin,
            stores,
            state: State::new(),
            hashes: BTreeMap::new(),
            history: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// The next block: updates, inserts, removals, values that stay the same, and nothing at times.
    fn block(&mut self) -> ChangeSet {
        let mut changes = ChangeSet::default();
        if self.hashes.is_empty() {
            changes.upgrades = StoreUpgrades { added: self.stores.clone(), ..StoreUpgrades::default() };
        }
        for store in self.stores.clone() {
            let mut block = BTreeMap::new();
            let count = if self.hashes.is_empty() { 150 } else { self.below(12) };
            for _ in 0..count {
                let key = format!("key{:04}", self.below(400)).into_bytes();
                let value = format!("{}", self.below(50)).into_bytes();
                let remove = self.below(4) == 0 && self.state.contains_key(&(store.clone(), key.clone()));
                block.insert(key, (!remove).then_some(value));
            }
            for (key, value) in &block {
                match value {
                    Some(value) => self.state.insert((store.clone(), key.clone()), value.clone()),
                    None => self.state.remove(&(store.clone(), key.clone())),
                };
            }
            let pairs = block.into_iter().map(|(key, value)| Change { key, value }).collect();
            changes.stores.push(StoreChanges { store, changes: pairs });
        }
        changes
    }

    /// Has the store commit the next block, and compares its app hash.
    pub fn commit(&mut self, store: &RootStore) {
        let block = Arc::new(self.block());
        let expected = self.twin.commit(block.clone()).unwrap();
        let found = store.commit(block).unwrap();
        assert_eq!((found.version, found.app_hash()), (expected.version, expected.app_hash()));
        self.hashes.insert(found.version, found.app_hash());
        self.history.insert(found.version, self.state.clone());
    }

    /// The newest version that was committed.
    pub fn latest(&self) -> Version {
        self.hashes.last_key_value().map_or(Version(0), |(version, _)| *version)
    }

    pub fn commits(&mut self, store: &RootStore, count: usize) {
        (0..count).for_each(|_| self.commit(store));
    }

    /// Compares every pair of every version that the store says it has.
    pub fn check(&self, store: &RootStore) {
        let span = store.span().unwrap();
        assert_eq!(Some(&span.latest), self.hashes.last_key_value().map(|(version, _)| version));
        let mut judge = Judged::default();
        for (version, state) in self.history.range(span.oldest..=span.latest) {
            let view = match store.at(*version) {
                Ok(view) => view,
                Err(error) => {
                    // Pruned since it was asked, and nothing else.
                    assert!(store.span().unwrap().oldest > *version, "{version}: {error}");
                    continue;
                }
            };
            assert_eq!(view.commit_info().app_hash(), self.hashes[version]);
            for name in &self.stores {
                let all = view.iter(name).unwrap();
                let found: Vec<_> = all.map(Result::unwrap).collect();
                let of_store = state.iter().filter(|((store, _), _)| store == name);
                let wanted: Vec<_> = of_store.map(|((_, key), value)| (key.clone(), value.clone())).collect();
                assert_eq!(found, wanted, "{name} at {version}");
                // An empty tree has no proof that anybody accepts, nor has an empty value.
                let Some((key, value)) = wanted.first() else { continue };
                for (key, value) in [(key.clone(), Some(value.as_slice())), (b"key".to_vec(), None)] {
                    let proof = view.prove(name, &key).unwrap();
                    judge.check_chain(&proof, name, &view.commit_info().app_hash(), &key, value);
                }
            }
        }
    }
}
