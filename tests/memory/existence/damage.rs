//! Proofs that were tampered with do not verify, and trees that were give no proof.

use super::judge::{holds, parts, queries, read};
use crate::{
    proofs::tree::{KINDS, Kind, Made, grow_kind, places, prove_all, record_of},
    support::random::{Random, seed},
};
use ics23::{CommitmentProof, ExistenceProof, commitment_proof::Proof};
use storeshift::{
    iavl::{Claim, NodeMap, ProveError, ics23::prove_key},
    model::Hash,
};

/// Every byte string of an existence proof.
fn strings(proof: &mut ExistenceProof) -> Vec<&mut Vec<u8>> {
    let leaf = proof.leaf.as_mut().unwrap();
    let path = proof.path.iter_mut().flat_map(|op| [&mut op.prefix, &mut op.suffix]);
    [&mut proof.key, &mut proof.value, &mut leaf.prefix].into_iter().chain(path).collect()
}

fn part(proof: &mut CommitmentProof, at: usize) -> &mut ExistenceProof {
    match proof.proof.as_mut().unwrap() {
        Proof::Exist(proof) => proof,
        Proof::Nonexist(proof) => proof.left.iter_mut().chain(&mut proof.right).nth(at).unwrap(),
        _ => unreachable!(),
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn tree(kind: Kind, random: &mut Random) -> (NodeMap, Claim, Pairs) {
    loop {
        let (nodes, claim) = grow_kind(kind, random, 6, 9, 25);
        let Some(claim) = claim else { continue };
        let (kept, proof) = prove_all(&nodes, claim, 1 << 20);
        proof.unwrap();
        let leaves = kept.into_iter().filter(|node| node.height == 0);
        return (nodes, claim, leaves.map(|node| (node.key, node.value)).collect());
    }
}

#[test]
fn with_any_byte_of_key_value_path_or_root_changed_a_proof_does_not_verify() {
    let mut random = Random(seed(29));
    let mut changed = 0;
    for kind in KINDS {
        let (mut nodes, claim, pairs) = tree(kind, &mut random);
        for (key, value) in queries(&pairs) {
            let proof = read(&prove_key(&mut nodes, Some(claim), &key).unwrap());
            if parts(&proof).iter().any(|part| part.value.is_empty()) {
                continue; // never verifies
            }
            assert!(holds(&proof, &claim.hash, &key, value));
            for at in 0..32 {
                let mut root = claim.hash;
                root.0[at] ^= 1 << random.below(8);
                assert!(!holds(&proof, &root, &key, value));
            }
            for which in 0..parts(&proof).len() {
                let lengths: Vec<usize> =
                    strings(part(&mut proof.clone(), which)).iter().map(|bytes| bytes.len()).collect();
                for (string, length) in lengths.into_iter().enumerate() {
                    for at in 0..length {
                        let mut proof = proof.clone();
                        strings(part(&mut proof, which))[string][at] ^= 1 << random.below(8);
                        assert!(!holds(&proof, &claim.hash, &key, value), "byte {at} of string {string}");
                        changed += 1;
                    }
                }
            }
            match value {
                Some(value) => {
                    assert!(!holds(&proof, &claim.hash, &key, Some(&[value, &[0]].concat())));
                    assert!(!holds(&proof, &claim.hash, &[&*key, &[0]].concat(), Some(value)));
                    assert!(!holds(&proof, &claim.hash, &key, None));
                }
                None => {
                    let neighbours: Vec<Vec<u8>> = parts(&proof).iter().map(|part| part.key.clone()).collect();
                    assert!(neighbours.iter().all(|key| !holds(&proof, &claim.hash, key, None)));
                    assert!(!holds(&proof, &claim.hash, &key, Some(b"value")));
                }
            }
        }
    }
    assert!(changed > 10_000, "{changed}");
}

#[test]
fn a_tree_that_is_damaged_anywhere_gives_the_proof_that_it_gave_before_or_none() {
    let mut random = Random(seed(31));
    let (mut none, mut missing, mut astray) = (0, 0, 0);
    for kind in KINDS.repeat(3) {
        let (nodes, claim, pairs) = tree(kind, &mut random);
        let whole: Vec<_> = queries(&pairs)
            .into_iter()
            .map(|(key, _)| (prove_key(&mut nodes.clone(), Some(claim), &key).unwrap(), key))
            .collect();
        for at in places(&nodes) {
            let mut damaged = nodes.clone();
            let record = record_of(&mut damaged, at);
            match random.below(4) {
                0 => record.truncate(record.len() - 1),
                1 => {
                    // An inner key, if it is an inner node: what no hash covers.
                    let byte = 3 + random.below(3) as usize;
                    record[byte] ^= 1 << random.below(8);
                }
                _ => {
                    let byte = random.below(record.len() as u64) as usize;
                    record[byte] ^= 1 << random.below(8);
                }
            }
            for (proof, key) in &whole {
                match prove_key(&mut damaged, Some(claim), key) {
                    Ok(found) => assert_eq!(found, *proof, "{at}"),
                    Err(ProveError::Shape { what, .. }) if what.contains("the wrong way") => astray += 1,
                    Err(_) => none += 1,
                }
            }
            let mut damaged = nodes.clone();
            damaged.records.retain(|key, _| at != *key);
            damaged.legacy.retain(|hash, _| at != storeshift::iavl::NodeId::Legacy(*hash));
            for (proof, key) in &whole {
                match prove_key(&mut damaged, Some(claim), key) {
                    Ok(found) => assert_eq!(found, *proof, "{at}"),
                    Err(ProveError::Missing(which)) => {
                        assert_eq!(which, at);
                        missing += 1;
                    }
                    Err(error) => panic!("{at}: {error}"),
                }
            }
        }
    }
    println!("{none} none, {astray} astray, {missing} missing");
    assert!(none > 1000 && astray > 10 && missing > 1000, "{none} {astray} {missing}");
}

#[test]
fn a_wrong_inner_key_never_makes_a_key_that_is_there_look_absent() {
    let mut made = Made::of(&["a", "b", "c", "d"]);
    let Made::Inner { key, .. } = &mut made else { unreachable!() };
    *key = b"d".to_vec(); // "c" is right of it
    for kind in KINDS {
        let (mut nodes, claim) = made.records_as(kind);
        let error = prove_key(&mut nodes, Some(claim), b"c").unwrap_err();
        assert!(matches!(error, ProveError::Shape { at, .. } if at == claim.at), "{error}");
        for key in [b"a", b"b", b"d"] {
            assert!(prove_key(&mut nodes, Some(claim), key).unwrap().value().is_some());
        }
    }
}

#[test]
fn no_proof_is_given_for_another_root_than_the_trees() {
    for made in [Made::of(&["a"]), Made::of(&["a", "b", "c"])] {
        for kind in KINDS {
            let (mut nodes, claim) = made.records_as(kind);
            let other = Claim { hash: Hash::EMPTY, ..claim };
            for key in [b"a", b"x"] {
                let error = prove_key(&mut nodes, Some(other), key).unwrap_err();
                assert!(matches!(error, ProveError::HashMismatch { .. }), "{error}");
            }
        }
    }
}
