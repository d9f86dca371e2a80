//! Chains that are given back to store/v1 after both databases, or another one, have gone on since the switch: what would be lost is
//! told, and nothing is given back that is not the chain's.

use super::switched::{ENGINE, Switched, copy};
use crate::{
    error::Error,
    machine::Phase,
    migrator::{self, Returned},
    model::Version,
    plan::Paths,
    target::{Engines as _, Place, rocks::RocksEngines},
};
use std::fs;

impl Switched {
    fn back(&self, paths: &Paths, consented: u64) -> Result<Returned, Error> {
        migrator::back(paths, consented, self.tuning())
    }

    #[track_caller]
    fn is_refused(&self, paths: &Paths, consented: u64, words: &str) {
        let error = self.back(paths, consented).unwrap_err();
        assert!(matches!(&error, Error::Blocked { what, .. } if what.contains(words)), "{error}");
        let state = migrator::found(&self.target()).unwrap().unwrap().1;
        assert!(matches!(state.phase, Phase::Done { finished: false, .. }), "{state:?}");
    }
}

#[test]
fn versions_that_only_store_v2_has_are_lost_with_consent_to_as_many_and_not_without() {
    let switched = Switched::new();
    switched.v2_goes_on(&["one", "two"]);
    switched.is_refused(&switched.paths(), 0, "store/v2 has 2 versions that store/v1 has not");
    switched.is_refused(&switched.paths(), 1, "they would be lost");
    let returned = switched.back(&switched.paths(), 2).unwrap();
    assert_eq!(returned, Returned { switched: switched.version, tip: switched.version, lost: 2 });
    assert!(matches!(migrator::found(&switched.target()).unwrap().unwrap().1.phase, Phase::Aborted));
}

#[test]
fn two_databases_that_went_on_differently_are_told_apart_and_alike_nothing_is_lost() {
    let alike = Switched::new();
    alike.v2_goes_on(&["one", "two"]);
    alike.v1_goes_on(&["one", "two"]);
    let tip = Version(alike.version.0 + 2);
    assert_eq!(alike.back(&alike.paths(), 0).unwrap(), Returned { switched: alike.version, tip, lost: 0 });
    let different = Switched::new();
    different.v2_goes_on(&["one"]);
    different.v1_goes_on(&["another"]);
    different.is_refused(&different.paths(), 10, "they went different ways since the switch");
}

#[test]
fn the_chain_is_not_given_back_to_a_database_of_another_chain_nor_from_a_target_that_has_lost_a_part() {
    let switched = Switched::new();
    let other = switched.dir.path().canonicalize().unwrap().join("other.db");
    copy("tiny", &other);
    switched.is_refused(&Paths { source: other, ..switched.paths() }, 10, "is not the database that was switched");
    // An engine that does not stand where the switch was.
    let place = Place::new(&switched.target());
    let sc = RocksEngines.commitment(&place, ENGINE).unwrap();
    let mut info = sc.commit_info(switched.version).unwrap().unwrap();
    info.version = Version(switched.version.0 - 1);
    sc.write_info(&info).unwrap();
    sc.sync().unwrap();
    drop(sc);
    switched.is_refused(&switched.paths(), 10, "does not have version");
    fs::remove_dir_all(place.ss()).unwrap();
    switched.is_refused(&switched.paths(), 10, "does not have version");
    assert!(!place.ss().exists(), "looking made it");
}
