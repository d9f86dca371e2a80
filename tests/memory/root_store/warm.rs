//! Trees that are read before a store goes on with another layout: what they spare, and what happens where they are wrong.

use super::{
    blocks::block,
    worlds::{Chain, World, plain},
};
use crate::support::random::Random;
use std::sync::Arc;
use storeshift::{
    iavl::{Node, NodeId, NodeKey},
    model::Version,
    root_store::{ChangeSet, Comparing, Options, RootStore, StoreError, WarmTrees},
    target::{MemoryCommitment, Outage},
};

/// A chain on store/v1, and what its migration would have made of it: the same versions on store/v2.
struct Pair {
    random: Random,
    chain: Chain,
    old: RootStore,
    new: RootStore,
    world: World,
}

impl Pair {
    fn after(seed: u64, blocks: u64, memory: usize) -> Pair {
        let [old, world, _] = World::all();
        let options = Options { memory, ..plain() };
        let open = |world: &World| world.open(&Outage::never(), options).unwrap();
        let (old, new) = (open(&old), open(&world));
        let mut pair = Pair { random: Random(seed), chain: Chain::default(), old, new, world };
        (0..blocks).for_each(|_| drop(pair.commit()));
        pair
    }

    fn sc(&self) -> &MemoryCommitment {
        let World::V2(sc, _) = &self.world else { panic!("the second world is store/v2") };
        sc
    }

    /// A block without upgrades on both.
    fn commit(&mut self) -> Arc<ChangeSet> {
        let set = loop {
            let set = block(&mut self.random, &self.chain);
            if self.chain.latest() == Version(0) || set.upgrades.is_empty() {
                break Arc::new(set);
            }
        };
        self.chain.commit(set.clone());
        self.old.commit(set.clone()).unwrap();
        self.new.commit(set.clone()).unwrap();
        set
    }

    fn recent(&self) -> Vec<Arc<ChangeSet>> {
        self.chain.sets.values().cloned().collect()
    }

    fn warm(&self) -> WarmTrees {
        self.old.warm(self.sc(), self.chain.latest(), &self.recent(), &|| true).unwrap()
    }

    /// Goes on with store/v2.
    fn switch(&self, warm: Option<WarmTrees>) {
        let layout = self.world.layout(&Outage::never()).unwrap();
        let mut asked = 0;
        let former = self.old.switch_to(layout, true, None, warm).unwrap();
        former.dissolve(1, &mut || {
            asked += 1;
            asked < 5
        });
        assert!(asked <= 5, "what is left is dropped at once");
    }

    /// Some blocks more on what the old store stands on now; the chain is as it must be.
    fn goes_on(mut self) {
        for _ in 0..6 {
            let set = Arc::new(block(&mut self.random, &self.chain));
            self.chain.commit(set.clone());
            self.old.commit(set).unwrap();
            let latest = self.chain.latest();
            assert_eq!(self.old.latest().unwrap().app_hash(), self.chain.infos[&latest].app_hash());
        }
        self.chain.is_held_by(&self.old, Version(1));
    }
}

#[test]
fn a_chain_that_goes_on_with_warm_trees_is_the_same_one() {
    for seed in 0..30 {
        for memory in [1, 20 * 320, 1 << 20] {
            let mut pair = Pair::after(seed, 12, memory);
            let mut warm = pair.warm();
            for _ in 0..seed % 4 {
                let set = pair.commit();
                let comparing = if seed % 2 == 0 { Comparing::Roots } else { Comparing::Records };
                warm.follow(pair.sc(), &set, comparing).unwrap();
            }
            assert_eq!(warm.version(), pair.chain.latest());
            pair.switch(Some(warm));
            pair.goes_on();
        }
    }
}

#[test]
fn what_is_warm_is_not_read_again_by_the_commits_after_the_switch() {
    for seed in 0..20 {
        let mut pair = Pair::after(seed, 12, 1 << 20);
        let mut warm = pair.warm();
        let set = pair.commit();
        warm.follow(pair.sc(), &set, Comparing::Records).unwrap();
        pair.switch(Some(warm));
        // There is room for all nodes, so none is needed any more.
        pair.sc().data().records.clear();
        let set = loop {
            let set = block(&mut pair.random, &pair.chain);
            if set.upgrades.is_empty() {
                break Arc::new(set);
            }
        };
        let version = pair.chain.commit(set.clone());
        assert_eq!(pair.old.commit(set).unwrap().app_hash(), pair.chain.infos[&version].app_hash());
    }
}

#[test]
fn the_same_commits_without_warm_trees_do_read() {
    let mut pair = Pair::after(3, 12, 1 << 20);
    pair.switch(None);
    pair.sc().data().records.clear();
    assert!((0..8).any(|_| pair.old.commit(block(&mut pair.random, &pair.chain)).is_err()));
}

#[test]
fn trees_of_another_version_are_not_gone_on_with() {
    for seed in 0..20 {
        let mut pair = Pair::after(seed, 12, 1 << 20);
        let warm = pair.warm();
        pair.commit();
        pair.switch(Some(warm));
        pair.goes_on();
    }
}

#[test]
fn reading_ends_where_it_is_told_to_and_what_there_is_by_then_is_as_good() {
    for reads in 0..40u32 {
        let pair = Pair::after(7, 12, 1 << 20);
        let left = std::cell::Cell::new(reads);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        let warm = pair.old.warm(pair.sc(), pair.chain.latest(), &pair.recent(), &go_on).unwrap();
        pair.switch(Some(warm));
        pair.goes_on();
    }
}

/// Another node in a place of the version's nodes: `nth` of those that the records of the version have.
fn exchange(sc: &MemoryCommitment, version: Version, nth: usize) -> Option<NodeKey> {
    let mut data = sc.data();
    let of_version = |at: &NodeKey| at.version == version;
    let (store, at) = data.records.keys().filter(|(_, at)| of_version(at)).nth(nth)?.clone();
    let record = data.records.get_mut(&(store, at)).unwrap();
    let other = match Node::decode(record).ok()? {
        // Hash and all that it covers stay as they are: only where the child is told to be is another place.
        Node::Inner { height, size, key, hash, left, right: NodeId::Current(right) } => {
            let right = NodeId::Current(NodeKey { nonce: right.nonce + 1000, ..right });
            let mut other = Vec::new();
            Node::Inner { height, size, key, hash, left, right }.encode(&mut other);
            other
        }
        _ => return None,
    };
    *record = other;
    Some(at)
}

#[test]
fn trees_whose_engine_has_something_else_are_given_up() {
    let (mut found, mut roots) = (0, 0);
    for seed in 0..10 {
        for nth in 0..12 {
            let mut pair = Pair::after(seed, 12, 1 << 20);
            let (mut warm, mut again) = (pair.warm(), pair.warm());
            let set = pair.commit();
            let Some(at) = exchange(pair.sc(), pair.chain.latest(), nth) else { continue };
            let error = warm.follow(pair.sc(), &set, Comparing::Records).unwrap_err();
            assert!(error.to_string().contains(&at.to_string()), "{error}");
            found += 1;
            if at.nonce == 1 {
                roots += 1;
                assert!(again.follow(pair.sc(), &set, Comparing::Roots).is_err());
            }
        }
    }
    assert!(found > 20 && roots > 5, "{found} {roots}");
}

#[test]
fn trees_do_not_follow_other_changes_than_the_version_has_nor_upgrades_nor_gaps() {
    let mut pair = Pair::after(5, 12, 1 << 20);
    let of = |pair: &Pair| (pair.warm(), pair.warm(), pair.warm());
    let (mut other, mut upgrade, mut gap) = of(&pair);
    let before = pair.chain.sets[&Version(9)].clone();
    let set = pair.commit();
    assert!(matches!(other.follow(pair.sc(), &before, Comparing::Roots), Err(StoreError::Damaged(_))));
    let mut begins = ChangeSet::clone(&set);
    begins.upgrades.added.push("new".into());
    assert!(matches!(upgrade.follow(pair.sc(), &begins, Comparing::Roots), Err(StoreError::Damaged(_))));
    let later = pair.commit();
    assert!(gap.follow(pair.sc(), &later, Comparing::Roots).is_err());
}
