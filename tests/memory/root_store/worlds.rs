//! What survives a crash of a root store in memory, on each layout, and what a chain that was committed to it must look like.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};
use storeshift::{
    iavl::{Claim, Node, NodeId, NodeKey, NodeMap, RootRecord, prove, tree::Tree},
    model::{Change, CommitInfo, Hash, StoreChanges, StoreInfo, StoreKey, Timestamp, Version},
    root_store::{
        ChangeSet, Layout, MemoryDatabase, Options, Order, RootStore, RootmultiLayout, StoreError, StoreUpgrades,
        V2Layout,
    },
    target::{MemoryCommitment, MemoryStorage, Outage},
};

/// The engines of a store, which outlive it.
#[derive(Clone)]
pub enum World {
    Rootmulti(MemoryDatabase),
    V2(MemoryCommitment, Option<MemoryStorage>),
}

impl World {
    pub fn all() -> [World; 3] {
        let sc = || MemoryCommitment::new(None, Outage::never());
        [
            World::Rootmulti(MemoryDatabase::new(None, Outage::never())),
            World::V2(sc(), Some(MemoryStorage::new(None, Outage::never()))),
            World::V2(sc(), None),
        ]
    }

    /// The layout on the engines, every write of which counts against the outage.
    pub fn layout(&self, outage: &Outage) -> Result<Arc<dyn Layout>, StoreError> {
        Ok(match self {
            World::Rootmulti(database) => {
                Arc::new(RootmultiLayout::new(Arc::new(MemoryDatabase::new(Some(database), outage.clone()))))
            }
            World::V2(sc, ss) => {
                let sc = MemoryCommitment::new(Some(sc), outage.clone());
                let ss = ss.as_ref().map(|ss| Box::new(MemoryStorage::new(Some(ss), outage.clone())) as Box<_>);
                Arc::new(V2Layout::open(Box::new(sc), ss)?)
            }
        })
    }

    /// A store on it.
    pub fn open(&self, outage: &Outage, options: Options) -> Result<RootStore, StoreError> {
        RootStore::new(self.layout(outage)?, options)
    }

    /// A copy whose later fate is its own.
    pub fn fork(&self) -> World {
        match self {
            World::Rootmulti(database) => {
                let copy = MemoryDatabase::new(None, Outage::never());
                copy.pairs().clone_from(&database.pairs());
                World::Rootmulti(copy)
            }
            World::V2(sc, ss) => {
                let copy = MemoryCommitment::new(None, Outage::never());
                copy.data().clone_from(&sc.data());
                World::V2(copy, ss.as_ref().map(fork_storage))
            }
        }
    }

    /// The node records of each store.
    fn records(&self) -> BTreeMap<StoreKey, BTreeMap<NodeKey, Vec<u8>>> {
        let mut records: BTreeMap<StoreKey, BTreeMap<NodeKey, Vec<u8>>> = BTreeMap::new();
        match self {
            World::Rootmulti(database) => {
                for (key, value) in database.pairs().iter() {
                    let Some(rest) = key.strip_prefix(b"s/k:") else { continue };
                    let slash = rest.iter().position(|byte| *byte == b'/').unwrap();
                    let store = StoreKey::from(std::str::from_utf8(&rest[..slash]).unwrap());
                    let at = NodeKey::from_bytes(&rest[slash + 1..]).unwrap();
                    records.entry(store).or_default().insert(at, value.clone());
                }
            }
            World::V2(sc, _) => {
                for ((store, at), record) in &sc.data().records {
                    records.entry(store.clone()).or_default().insert(*at, record.clone());
                }
            }
        }
        records
    }

    /// The versions that have a commit info.
    fn versions(&self) -> Vec<Version> {
        match self {
            World::Rootmulti(database) => {
                let of = |key: &Vec<u8>| std::str::from_utf8(key.strip_prefix(b"s/")?).ok()?.parse().ok().map(Version);
                let mut versions: Vec<Version> = database.pairs().keys().filter_map(of).collect();
                versions.sort();
                versions
            }
            World::V2(sc, _) => sc.data().infos.keys().copied().collect(),
        }
    }

    /// Nothing is there but what the retained versions need, and all of that.
    pub fn has_nothing_left_over(&self, chain: &Chain, oldest: Version) {
        let retained: Vec<Version> = chain.states.range(oldest..).map(|(version, _)| *version).collect();
        assert_eq!(self.versions(), retained);
        for (store, records) in self.records() {
            let mut needed = BTreeSet::new();
            for version in &retained {
                let dropped_here = chain.dropped.get(version).is_some_and(|dropped| dropped.contains(&store));
                let has = chain.infos[version].store(&store).is_some();
                if !has {
                    if dropped_here && matches!(self, World::Rootmulti(_)) && *version > oldest {
                        needed.insert(NodeKey::root_of(*version));
                    }
                    continue;
                }
                let own = NodeKey::root_of(*version);
                needed.insert(own);
                match RootRecord::decode(&records[&own]).unwrap() {
                    RootRecord::Empty => {}
                    RootRecord::Node => reach(&records, own, &mut needed),
                    RootRecord::Reference(to) => reach(&records, to, &mut needed),
                }
            }
            assert_eq!(records.keys().copied().collect::<BTreeSet<_>>(), needed, "store {store} from {oldest}");
        }
    }
}

pub fn fork_storage(ss: &MemoryStorage) -> MemoryStorage {
    let copy = MemoryStorage::new(None, Outage::never());
    copy.data().clone_from(&ss.data());
    copy
}

fn reach(records: &BTreeMap<NodeKey, Vec<u8>>, at: NodeKey, found: &mut BTreeSet<NodeKey>) {
    let at = if records.contains_key(&at) { at } else { NodeKey::new(at.version, 0) };
    found.insert(at);
    if let Node::Inner { left, right, .. } = Node::decode(&records[&at]).unwrap() {
        [left, right].into_iter().for_each(|child| reach(records, child.key().unwrap(), found));
    }
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type State = BTreeMap<StoreKey, Pairs>;

/// A chain as it must be: every version's pairs, and its app hash computed a second way, with trees that are never forgotten,
/// pruned or written anywhere.
#[derive(Default)]
pub struct Chain {
    pub states: BTreeMap<Version, State>,
    pub infos: BTreeMap<Version, CommitInfo>,
    pub sets: BTreeMap<Version, Arc<ChangeSet>>,
    pub dropped: BTreeMap<Version, Vec<StoreKey>>,
    trees: BTreeMap<StoreKey, Tree>,
}

impl Chain {
    pub fn latest(&self) -> Version {
        self.states.last_key_value().map_or(Version(0), |(version, _)| *version)
    }

    /// Adds a version.
    pub fn commit(&mut self, set: Arc<ChangeSet>) -> Version {
        let version = self.latest().next();
        let mut state = self.states.last_key_value().map_or_else(State::new, |(_, state)| state.clone());
        let mut nodes = NodeMap::default();
        let begin = || Tree::load(None, Version(version.0 - 1));
        let StoreUpgrades { added, deleted, renamed } = &set.upgrades;
        for store in added {
            state.insert(store.clone(), Pairs::new());
            self.trees.insert(store.clone(), begin());
        }
        for store in deleted {
            state.remove(store);
            self.trees.remove(store);
            self.dropped.entry(version).or_default().push(store.clone());
        }
        for (from, to) in renamed {
            let pairs = state.remove(from).unwrap();
            self.trees.remove(from);
            self.dropped.entry(version).or_default().push(from.clone());
            let mut tree = begin();
            for (key, value) in &pairs {
                tree.apply(&mut nodes, &[Change { key: key.clone(), value: Some(value.clone()) }]).unwrap();
            }
            self.trees.insert(to.clone(), tree);
            state.insert(to.clone(), pairs);
        }
        for StoreChanges { store, changes } in &set.stores {
            self.trees.get_mut(store).unwrap().apply(&mut nodes, changes).unwrap();
            let pairs = state.get_mut(store).unwrap();
            for Change { key, value } in changes {
                match value {
                    Some(value) => pairs.insert(key.clone(), value.clone()),
                    None => pairs.remove(key),
                };
            }
        }
        let root = |(store, tree): (&StoreKey, &mut Tree)| {
            let root = Some(tree.commit(&mut nodes, version).unwrap().hash);
            StoreInfo { name: store.clone(), version, root }
        };
        let stores = self.trees.iter_mut().map(root).collect();
        self.infos.insert(version, CommitInfo { version, stores, timestamp: set.time });
        self.states.insert(version, state);
        self.sets.insert(version, set);
        version
    }

    /// Whether a store has what it must have, of every version that can be read, and refuses the others.
    pub fn is_held_by(&self, store: &RootStore, oldest: Version) {
        self.is_held_until(store, oldest, self.latest());
    }

    /// As [`Chain::is_held_by`], for a store that stands at an earlier version than the chain.
    pub fn is_held_until(&self, store: &RootStore, oldest: Version, latest: Version) {
        let span = store.span().unwrap();
        assert_eq!((span.oldest, span.latest), (oldest, latest));
        for version in [oldest.0 - 1, latest.0 + 1] {
            let error = store.at(Version(version)).err().unwrap();
            assert!(error.to_string().contains(&format!("there are {span}")), "{error}");
        }
        for (version, state) in self.states.range(oldest..=latest) {
            let view = store.at(*version).unwrap();
            let info = &self.infos[version];
            assert_eq!(view.commit_info().app_hash(), info.app_hash(), "version {version}");
            assert_eq!(view.commit_info().stores, info.stores);
            // Whether it comes from memory or from disk.
            assert_eq!(view.commit_info().timestamp, info.timestamp.or(Some(Timestamp::ZERO)));
            for (name, pairs) in state {
                self.is_store(&view, name, pairs);
            }
            let gone = StoreKey::from("never");
            assert!(matches!(view.get(&gone, b"k"), Err(StoreError::NoStore { .. })));
        }
    }

    fn is_store(&self, view: &storeshift::root_store::View, name: &StoreKey, pairs: &Pairs) {
        let all = |order| view.range(name, .., order).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        let mut expected: Vec<_> = pairs.clone().into_iter().collect();
        assert_eq!(all(Order::Ascending), expected, "{name} at {}", view.version());
        expected.reverse();
        assert_eq!(all(Order::Descending), expected);
        // One in the middle, its neighbours, and what lies between bounds of each kind.
        if let Some((key, value)) = expected.get(expected.len() / 2) {
            assert_eq!(view.get(name, key).unwrap().as_ref(), Some(value));
            assert_eq!(view.get(name, &[key, &[0][..]].concat()).unwrap(), None);
            let (from, to) = (key.as_slice(), expected[0].0.as_slice());
            for range in [
                (Bound::Included(from), Bound::Included(to)),
                (Bound::Excluded(from), Bound::Excluded(to)),
                (Bound::Unbounded, Bound::Excluded(from)),
                (Bound::Excluded(to), Bound::Unbounded),
            ] {
                let within =
                    |pair: &&(Vec<u8>, Vec<u8>)| std::ops::RangeBounds::<&[u8]>::contains(&range, &pair.0.as_slice());
                let mut expected: Vec<_> = expected.iter().filter(within).cloned().collect();
                for order in [Order::Descending, Order::Ascending] {
                    let found: Vec<_> = view.range(name, range, order).unwrap().map(Result::unwrap).collect();
                    assert_eq!(found, expected, "{range:?} {order:?}");
                    expected.reverse();
                }
            }
        }
        let mut tree = view.tree(name).unwrap();
        let mut found = Pairs::new();
        match tree.root {
            None => assert_eq!(tree.hash, Hash::EMPTY),
            Some(at) => {
                let proof = prove(&mut tree.nodes, Claim { at, hash: tree.hash }, usize::MAX, &mut |node| {
                    if node.children.is_none() {
                        found.insert(node.key.to_vec(), node.value.to_vec());
                    }
                    true
                });
                proof.unwrap();
                assert!(matches!(at, NodeId::Current(_)));
            }
        }
        assert_eq!(&found, pairs);
    }
}

/// Options of a store that prunes when it is told to, and forgets most of its trees.
pub fn plain() -> Options {
    Options { memory: 20 * 320, threads: 1, ..Options::default() }
}
