//! What readers of a target in memory see: from the watermarks and commit infos down to every node and every pair at every version
//! from the snapshot on. Two targets with the same view are the same to whoever reads them.

use crate::support::job::World;
use std::collections::{BTreeMap, BTreeSet};
use storeshift::{
    iavl::{Access, Node, NodeId, NodeKey, NodeReader as _, RootRecord},
    model::{CommitInfo, StoreKey, Version},
    target::{Commitment as _, Storage as _},
};

type Pairs = BTreeMap<(StoreKey, Vec<u8>), Vec<(Version, Option<Vec<u8>>)>>;

#[derive(Debug, Default, PartialEq)]
pub struct View {
    latest: (Option<Version>, Option<Version>),
    infos: BTreeMap<Version, Option<CommitInfo>>,
    nodes: BTreeMap<(StoreKey, Version, NodeKey), Option<Vec<u8>>>,
    pairs: Pairs,
}

pub fn view(world: &World, from: Version, tip: Version) -> View {
    let mut view = View { latest: (world.sc.latest().unwrap(), world.ss.latest().unwrap()), ..View::default() };
    for version in (from.0..=tip.0).map(Version) {
        let info = world.sc.commit_info(version).unwrap_or_default();
        for store in info.iter().flat_map(|info| &info.stores) {
            walk(world, &store.name, version, NodeKey::root_of(version), &mut view);
        }
        view.infos.insert(version, info);
    }
    // A key's history: what it is at the snapshot, and every entry after it that changes anything.
    let stores: BTreeSet<StoreKey> =
        view.infos.values().flatten().flat_map(|info| &info.stores).map(|store| store.name.clone()).collect();
    let data = world.ss.data();
    for ((store, key, at), value) in data.pairs.iter().filter(|((store, ..), _)| stores.contains(store)) {
        let history = view.pairs.entry((store.clone(), key.clone())).or_default();
        if *at <= from {
            history.clear();
        }
        if value.is_some() || history.last().is_some_and(|(_, before)| before.is_some()) {
            history.push((*at, value.clone()));
        }
    }
    view.pairs.retain(|_, history| !history.is_empty());
    view
}

fn walk(world: &World, store: &StoreKey, version: Version, at: NodeKey, view: &mut View) {
    let place = (store.clone(), version, at);
    if view.nodes.contains_key(&place) {
        return;
    }
    let mut record = Vec::new();
    let found = world.sc.nodes(store, Access::Points).unwrap().read(at, &mut record).unwrap();
    let root = if at == NodeKey::root_of(version) { RootRecord::decode(&record) } else { Some(RootRecord::Node) };
    // Early IAVL wrote a reference to (version, 1) without the nonce: cut there, it leads where it led.
    let meant = if let Some(RootRecord::Reference(to)) = root { to.to_bytes().to_vec() } else { record.clone() };
    view.nodes.insert(place, found.then_some(meant));
    match root {
        Some(RootRecord::Reference(to)) => walk(world, store, version, to, view),
        Some(RootRecord::Node) => {
            if let Ok(Node::Inner { left, right, .. }) = Node::decode(&record) {
                for child in [left, right] {
                    if let NodeId::Current(child) = child {
                        walk(world, store, version, child, view);
                    }
                }
            }
        }
        Some(RootRecord::Empty) | None => {}
    }
}
