//! The blocks of a chain, the same for everybody who asks for a height; and the chain that never migrates, which says what has to
//! come of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use storeshift::{
    model::{Change, Hash, StoreChanges, StoreKey, Version},
    root_store::{ChangeSet, MemoryDatabase, Options, RootStore, RootmultiLayout, StoreUpgrades},
    target::Outage,
};

/// What a chain is like.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    pub seed: u64,
    /// Stores, of equal size.
    pub stores: u64,
    /// Keys there are to choose from, in all stores; two of three are there.
    pub keys: u64,
    /// Blocks that fill the state.
    pub genesis: u64,
    /// Pairs that a block after them changes, in all stores.
    pub changes: u64,
}

/// A stream of numbers that follows from a few words.
pub fn stream(words: &[u64]) -> impl FnMut() -> u64 + use<> {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(&word.to_le_bytes());
    }
    let mut stream = hasher.finalize_xof();
    move || {
        let mut drawn = [0; 8];
        stream.fill(&mut drawn);
        u64::from_le_bytes(drawn)
    }
}

impl Chain {
    pub fn names(&self) -> Vec<StoreKey> {
        (0..self.stores).map(|store| StoreKey::from(format!("store{store:02}").as_str())).collect()
    }

    /// The block of a height, from 1 on: updates, inserts and removals.
    pub fn block(&self, height: u64) -> ChangeSet {
        let mut block = ChangeSet::default();
        if height == 1 {
            block.upgrades = StoreUpgrades { added: self.names(), ..StoreUpgrades::default() };
        }
        let of_store = self.keys / self.stores;
        for (number, store) in self.names().into_iter().enumerate() {
            let mut draw = stream(&[self.seed, number as u64, height]);
            let mut pairs = BTreeMap::new();
            let keys: BTreeSet<u64> = if height <= self.genesis {
                // Each filling block has its share of the keys, scattered over the whole range.
                (height - 1..of_store).step_by(self.genesis as usize).filter(|_| draw() % 3 < 2).collect()
            } else {
                // As in a chain, most of it is about few accounts.
                let few = of_store / 32 + 1;
                (0..self.changes / self.stores).map(|_| draw() % if draw() % 4 < 3 { few } else { of_store }).collect()
            };
            for key in keys {
                let removed = height > self.genesis && draw().is_multiple_of(6);
                let value = (!removed).then(|| value(&mut draw));
                pairs.insert(format!("account/{key:010}").into_bytes(), value);
            }
            let changes = pairs.into_iter().map(|(key, value)| Change { key, value }).collect();
            block.stores.push(StoreChanges { store, changes });
        }
        block
    }
}

/// 16 to 143 bytes.
fn value(draw: &mut impl FnMut() -> u64) -> Vec<u8> {
    let length = 16 + draw() % 128;
    let mut value = Vec::with_capacity(length as usize + 8);
    while (value.len() as u64) < length {
        value.extend_from_slice(&draw().to_le_bytes());
    }
    value.truncate(length as usize);
    value
}

/// What all pairs of a version come to.
pub fn digest(store: &RootStore, chain: &Chain, height: u64) -> Result<String, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let view = store.at(Version(height)).map_err(|error| words(&error))?;
    let mut hasher = blake3::Hasher::new();
    for name in chain.names() {
        for pair in view.iter(&name).map_err(|error| words(&error))? {
            let (key, value) = pair.map_err(|error| words(&error))?;
            for part in [name.as_str().as_bytes(), &key, &value] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The same chain, in memory and without any migration.
pub struct Twin {
    chain: Chain,
    store: RootStore,
    hashes: BTreeMap<u64, Hash>,
    digests: BTreeMap<u64, String>,
}

impl Twin {
    pub fn new(chain: Chain) -> Twin {
        let layout = Arc::new(RootmultiLayout::new(Arc::new(MemoryDatabase::new(None, Outage::never()))));
        let store = RootStore::new(layout, Options::default()).expect("a store in memory");
        Twin { chain, store, hashes: BTreeMap::new(), digests: BTreeMap::new() }
    }

    /// The app hash of a height.
    pub fn app_hash(&mut self, height: u64) -> Hash {
        while (self.hashes.len() as u64) < height {
            let next = self.hashes.len() as u64 + 1;
            let info = self.store.commit(self.chain.block(next)).expect("a commit in memory");
            self.hashes.insert(next, info.app_hash());
        }
        self.hashes[&height]
    }

    /// What all pairs of a height come to.
    pub fn digest(&mut self, height: u64) -> String {
        self.app_hash(height);
        let made = || digest(&self.store, &self.chain, height).expect("a view in memory");
        self.digests.entry(height).or_insert_with(made).clone()
    }
}
