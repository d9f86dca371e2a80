//! Targets on which a node has run since, and whose snapshot it has pruned: sound where the newest version is, and not otherwise.

use super::switched::{ENGINE, Switched};
use crate::{
    error::Error,
    migrator::verify::Findings,
    model::{Change, Version},
    target::{Engines as _, Place, rocks::RocksEngines},
};

fn verified(switched: &Switched, source: bool) -> Findings {
    switched.job().verify(source, false).unwrap()
}

#[test]
fn what_is_left_after_the_snapshot_was_pruned_is_sound_and_said_to_be_what_is_left() {
    let switched = Switched::new();
    switched.v2_goes_on(&["one", "two"]);
    // The snapshot is still there.
    let findings = verified(&switched, true);
    assert!(findings.is_sound() && findings.retained.is_none() && findings.chunks > 0, "{findings:?}");
    switched.v2_prunes(&["three", "four"]);
    let newest = Version(switched.version.0 + 4);
    for source in [false, true] {
        let findings = verified(&switched, source);
        assert!(findings.is_sound(), "{findings:?}");
        assert_eq!((findings.retained, findings.tip), (Some((newest, newest)), Some(newest)));
        assert_eq!((findings.chunks, findings.compared), (0, 0));
    }
    // Nothing can be redone, and nothing is.
    assert!(switched.job().verify(true, true).unwrap().repaired.is_empty());
}

#[test]
fn app_hashes_of_what_is_left_are_compared_with_a_source_that_has_gone_on_too() {
    let switched = Switched::new();
    switched.v2_prunes(&["one", "two"]);
    switched.v1_goes_on(&["one", "another"]);
    let findings = verified(&switched, true);
    assert!(
        matches!(&findings.wrong[..], [crate::model::Verdict::AppHash { version, .. }] if version.0 == switched.version.0 + 2)
    );
    let switched = Switched::new();
    switched.v2_prunes(&["one", "two"]);
    switched.v1_goes_on(&["one", "two"]);
    let findings = verified(&switched, true);
    assert!(findings.is_sound() && findings.compared == 1, "{findings:?}");
}

#[test]
fn a_source_that_was_pruned_since_is_refused_with_what_to_do_and_the_target_is_proven_without_it() {
    let switched = Switched::new();
    switched.v1_prunes(&["one", "two"]);
    let error = switched.job().verify(true, true).unwrap_err();
    assert!(matches!(&error, Error::Blocked { advice, .. } if advice.contains("without --source")), "{error}");
    let findings = verified(&switched, false);
    assert!(findings.is_sound() && findings.chunks > 0, "{findings:?}");
}

#[test]
fn a_pair_or_a_node_that_is_wrong_in_the_newest_version_is_found_though_the_snapshot_was_pruned() {
    for engine in ["SC", "SS"] {
        let switched = Switched::new();
        switched.v2_prunes(&["one", "two"]);
        let (place, store) = (Place::new(&switched.target()), switched.store.as_str().into());
        let newest = Version(switched.version.0 + 2);
        if engine == "SS" {
            let ss = RocksEngines.storage(&place, ENGINE).unwrap();
            let change = Change { key: b"since the switch".to_vec(), value: Some(b"wrong".to_vec()) };
            ss.write_changes(&store, newest, &mut [&change].into_iter().map(Change::borrow)).unwrap();
            ss.sync().unwrap();
        } else {
            let sc = RocksEngines.commitment(&place, ENGINE).unwrap();
            let mut walk = sc.records(&store).unwrap();
            walk.seek(crate::iavl::NodeKey::new(Version(0), 0));
            let (at, record) = walk.next().unwrap().unwrap();
            let gone = [(store.clone(), at, None::<Vec<u8>>)];
            assert!(!record.is_empty());
            drop(walk);
            sc.prune(&gone, Version(0)).unwrap();
            sc.sync().unwrap();
        }
        let findings = verified(&switched, false);
        assert!(!findings.is_sound() && findings.retained.is_some(), "{engine}: {findings:?}");
    }
}
