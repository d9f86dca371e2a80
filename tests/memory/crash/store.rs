//! A node's state on store/v2, after the migration: commits and pruning, and after a power cut every acknowledged version with all of
//! its pairs.

use super::{
    log::Op,
    recorder::{Recorder, Tree},
    story::{Recording, Tale, listing},
    twins::Twins,
};
use crate::{
    root_store::{
        blocks::block,
        worlds::{Chain, plain},
    },
    support::random::Random,
};
use std::{path::Path, sync::Arc};
use storeshift::{
    disk,
    model::Version,
    root_store::{RootStore, V2Layout},
    target::{EngineTuning, Engines as _, Place},
};

/// Versions before the recording, at its end, and at the end of those that are carried on.
const BEFORE: u64 = 6;
const BLOCKS: u64 = 24;
const END: u64 = 40;

pub struct Alone {
    chain: Chain,
}

impl Alone {
    pub fn new(seed: u64) -> Alone {
        let (mut random, mut chain) = (Random(seed), Chain::default());
        for _ in 0..END {
            let set = Arc::new(block(&mut random, &chain));
            chain.commit(set);
        }
        Alone { chain }
    }

    fn open(&self, dir: &Path, twins: &Twins) -> RootStore {
        let place = Place::new(&dir.join("v2"));
        for part in [place.sc(), place.ss()] {
            disk::make_directories(&part).unwrap();
        }
        let sc = twins.commitment(&place, EngineTuning::default()).unwrap();
        let ss = twins.storage(&place, EngineTuning::default()).unwrap();
        RootStore::new(Arc::new(V2Layout::open(sc, Some(ss)).unwrap()), plain()).unwrap()
    }

    fn commit(&self, store: &RootStore, recorder: Option<&Recorder>) {
        let version = store.latest().map_or(Version(1), |info| info.version.next());
        store.commit(self.chain.sets[&version].clone()).unwrap();
        if let Some(recorder) = recorder {
            recorder.note(Op::Told(format!("commit {version}")));
        }
        if version.0 > BEFORE && version.0.is_multiple_of(4) {
            store.prune_below(Version(version.0 - 3)).unwrap();
        }
    }

    pub fn record(&self, dir: &Path) -> Recording {
        let twins = Twins::holding(Vec::new(), None);
        let store = self.open(dir, &twins);
        (0..BEFORE).for_each(|_| self.commit(&store, None));
        drop(store);
        // SS is durable there when it is opened, and again only when pruning asks for it.
        drop(self.open(dir, &twins));
        let (base, engines) = (Tree::read(dir), twins.held().clone());
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(engines.clone(), Some(recorder.clone()));
        let store = self.open(dir, &twins);
        (BEFORE..BLOCKS).for_each(|_| self.commit(&store, Some(&recorder)));
        drop(store);
        drop(mounted);
        Recording { base, engines, ops: recorder.ops() }
    }
}

impl Tale for Alone {
    fn says(&self, dir: &Path) -> (Option<u64>, String) {
        (None, listing(dir, dir).join("\n"))
    }

    fn recover(&self, dir: &Path, twins: &Twins, told: &[String], recorder: Option<&Recorder>) {
        let committed = told.iter().filter_map(|told| told.strip_prefix("commit ")).next_back();
        let committed = committed.map_or(BEFORE, |version| version.parse().unwrap());
        let store = self.open(dir, twins);
        let span = store.span().unwrap();
        let there = span.latest.0;
        assert!(there == committed || there == committed + 1, "{committed} was committed, and {there} is there");
        if let Some(recorder) = recorder {
            // Whoever has seen a version goes on from it, acknowledged before the power cut or not.
            recorder.note(Op::Told(format!("commit {there}")));
        }
        self.chain.is_held_until(&store, span.oldest, span.latest);
        (0..5).for_each(|_| self.commit(&store, recorder));
        self.chain.is_held_until(&store, store.span().unwrap().oldest, Version(there + 5));
        drop(store);
        let again = self.open(dir, twins);
        self.chain.is_held_until(&again, again.span().unwrap().oldest, Version(there + 5));
    }
}
