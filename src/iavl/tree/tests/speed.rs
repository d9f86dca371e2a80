//! A measurement, run by `make bench`, and by hand:
//! `cargo test --release --no-default-features --lib speed -- --ignored --nocapture`.

use super::histories::put;
use crate::{
    iavl::{
        Claim, NodeMap,
        diff::{OldTree, diff},
        tree::Tree,
    },
    model::{Change, Version},
};
use std::time::{Duration, Instant};

/// A line that the benchmark suite looks for: the time for one of many.
fn measured(name: &str, time: Duration, count: usize) {
    println!("measured\t{name}\t{:.0}\tns", time.as_nanos() as f64 / count as f64);
}

#[test]
#[ignore = "a measurement"]
fn speed_of_20_thousand_ascending_changes_on_a_million_keys() {
    let key = |n: u64| [b"balances/".as_slice(), &n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat();
    let mut map = NodeMap::default();
    let mut tree = Tree::load(None, Version(0));
    let mut sets: Vec<_> = (0..1_000_000).map(|n| Change { key: key(n), value: Some(vec![1; 60]) }).collect();
    sets.sort_by(|a, b| a.key.cmp(&b.key));
    let start = Instant::now();
    tree.apply(&mut map, &sets).unwrap();
    let mut before = tree.commit(&mut map, Version(1)).unwrap();
    measured("tree: an ascending set and its commit, from nothing to 1 M keys", start.elapsed(), sets.len());
    put(&mut map, &before);
    drop(tree);
    for keep in [0, 50_000, 400_000, 10_000_000] {
        let mut tree = Tree::load(before.root, before.records[0].0.version);
        for round in 0..4u64 {
            let old = tree.version();
            let version = old.next();
            let mut changes: Vec<_> = (0..20_000u64)
                .map(|n| Change {
                    key: key((n * 49 + round * 7) % 1_100_000),
                    value: (n % 10 != 0).then(|| vec![2; 60]),
                })
                .collect();
            changes.sort_by(|a, b| a.key.cmp(&b.key));
            let start = Instant::now();
            tree.apply(&mut map, &changes).unwrap();
            let applied = start.elapsed();
            let committed = tree.commit(&mut map, version).unwrap();
            let done = start.elapsed();
            put(&mut map, &committed);
            let start = Instant::now();
            tree.forget(keep);
            let forgot = start.elapsed();
            let start = Instant::now();
            let mut found = 0;
            let new = committed.root.map(|key| Claim { at: key.into(), hash: committed.hash });
            let old = before.root.map(|root| OldTree { root: root.into(), version: old });
            diff(&mut map, old, new, &mut |_, _| {
                found += 1;
                true
            })
            .unwrap();
            let compared = start.elapsed();
            println!("keep {keep}: {} records, {} resident", committed.records.len(), tree.resident());
            let kept = format!("of 20 k on 1 M keys, {keep} nodes kept");
            measured(&format!("tree: a change {kept}: applied"), applied, changes.len());
            measured(&format!("tree: a change {kept}: committed"), done - applied, changes.len());
            measured(&format!("tree: a change {kept}: forgotten"), forgot, changes.len());
            measured(&format!("tree: a change {kept}: found by the difference"), compared, found);
            before = committed;
        }
    }
}
