//! Versions that come as changes: applied to SC's own trees in the order store/v1 applied them, several versions at a time,
//! and compared with their app hashes before anything of them is written.
//!
//! Owns the trees from one stretch to the next, and how long a stretch is. A version whose app hash does not come out is
//! never written; the ones before it in its stretch are.

use super::{
    super::{PhaseError, Work, in_parallel},
    stretch::conclude,
    written::{Lacking, lacking, push_committed, target_root, write_records},
};
use crate::{
    iavl::{Access, tree::Tree, tree::TreeError},
    model::{Changeset, CommitInfo, Hash, StoreInfo, StoreKey, Version},
    progress::raise,
    source::{Changes, SourceError},
    target::{Commitment, RecordRun, Storage, Target, drop_pairs, write_real_changes},
};
use std::collections::BTreeMap;

/// What a change takes in memory until it is written: the nodes of its path, as nodes and as records.
const CHANGE_BYTES: u64 = 4096;
/// What a store takes for each version.
const ROOT_BYTES: u64 = 64;
/// Most versions of a stretch.
const VERSIONS: usize = 4096;
/// Nodes of all trees kept in memory from one stretch to the next.
const RESIDENT: usize = 100_000;

/// Applies stretches of versions.
pub(super) struct Replays<'a> {
    work: Work<'a>,
    changes: &'a dyn Changes,
    target: &'a Target,
    trees: BTreeMap<StoreKey, Tree>,
}

/// What a stretch makes of one store.
struct Grown {
    store: StoreKey,
    tree: Tree,
    /// The root's hash at each version.
    roots: Vec<Hash>,
    records: RecordRun,
}

impl<'a> Replays<'a> {
    pub fn new(work: Work<'a>, changes: &'a dyn Changes, target: &'a Target) -> Replays<'a> {
        Replays { work, changes, target, trees: BTreeMap::new() }
    }

    fn sc(&self) -> Result<&'a dyn Commitment, PhaseError> {
        let none = "changesets need SC: without its trees no app hash can be compared";
        self.target.sc.as_deref().ok_or_else(|| PhaseError::Refused(none.to_owned()))
    }

    /// Applies some versions after `from`, up to `to` at most, and returns the last one; it is durable everywhere.
    pub fn apply(&mut self, from: Version, to: Version) -> Result<Version, PhaseError> {
        let gone = || PhaseError::Gone { version: from, what: "SC's commit info".to_owned() };
        let trees = self.sc()?;
        let before = trees.commit_info(from)?.ok_or_else(gone)?;
        let Lacking { sc, ss, end } = lacking(self.target, from, to)?;
        let sets = self.read(&before, from, end)?;
        let names = self.names(&before, &sets)?;
        let (mut grown, infos) = self.grow(from, &sets, names)?;
        if let Some(good) = self.compare(&infos)? {
            // What comes before the first version that is wrong is right, and worth keeping.
            return self.apply(from, good);
        }
        if sc.is_none() {
            self.compare_ahead(trees, &infos)?;
        }
        let counts = self.write(sc, ss, &sets, &mut grown)?;
        if let (Some(ss), Some(at)) = (ss, infos.first().map(|info| info.version)) {
            for store in self.changes.upgrades(at).dropped {
                drop_pairs(ss, &store, at)?;
            }
        }
        let last = conclude(&infos, sc, ss).map(|last| last.unwrap_or(from))?;
        // Only now can everything be read from SC that is dropped from memory.
        let keep = RESIDENT / grown.len().max(1);
        for mut grown in grown {
            grown.tree.forget(keep);
            self.trees.insert(grown.store, grown.tree);
        }
        raise(&self.work.progress.changes, counts);
        raise(&self.work.progress.versions, sets.len() as u64);
        Ok(last)
    }

    /// The changes of as many versions as fit the memory, at least one. A version that begins or drops stores is alone.
    fn read(&self, before: &CommitInfo, from: Version, end: Version) -> Result<Vec<Changeset>, PhaseError> {
        let budget = self.work.tuning.stretches() as u64;
        let mut sets: Vec<Changeset> = Vec::new();
        let mut held = 0u64;
        for version in (from.0 + 1..=end.0).map(Version) {
            let is_upgrade = !self.changes.upgrades(version).is_empty();
            let bytes = self.changes.bytes(version).saturating_mul(2);
            if !sets.is_empty() && (is_upgrade || held.saturating_add(bytes) > budget) {
                break;
            }
            let set = self.changes.read(version)?;
            let count: usize = set.stores.iter().map(|store| store.changes.len()).sum();
            held = held.saturating_add(bytes + count as u64 * CHANGE_BYTES + before.stores.len() as u64 * ROOT_BYTES);
            sets.push(set);
            if is_upgrade || held > budget || sets.len() == VERSIONS {
                break;
            }
        }
        Ok(sets)
    }

    /// The stores of the stretch, after its upgrade if it is one.
    fn names(&self, before: &CommitInfo, sets: &[Changeset]) -> Result<Vec<StoreKey>, PhaseError> {
        let mut names: Vec<StoreKey> = before.stores.iter().map(|store| store.name.clone()).collect();
        let Some(first) = sets.first().map(|set| set.version) else { return Ok(names) };
        let upgrades = self.changes.upgrades(first);
        for store in upgrades.dropped {
            let known = names.iter().position(|name| *name == store);
            names.remove(known.ok_or_else(|| self.unfit(first, format!("drops store {store}, which is not there")))?);
        }
        for store in upgrades.begun {
            if before.store(&store).is_some() {
                return Err(self.unfit(first, format!("begins store {store}, which is there already")));
            }
            names.push(store);
        }
        crate::model::check_store_keys(&names)?;
        names.sort();
        for set in sets {
            if let Some(stranger) = set.stores.iter().find(|store| names.binary_search(&store.store).is_err()) {
                let what = format!("changes store {}, which is not there; begin it in app_hashes", stranger.store);
                return Err(self.unfit(set.version, what));
            }
        }
        Ok(names)
    }

    fn unfit(&self, version: Version, what: String) -> PhaseError {
        SourceError::Damaged { path: self.changes.place(version), what: format!("version {version} {what}") }.into()
    }

    /// Applies the changes to the trees in memory.
    fn grow(
        &mut self,
        from: Version,
        sets: &[Changeset],
        names: Vec<StoreKey>,
    ) -> Result<(Vec<Grown>, Vec<CommitInfo>), PhaseError> {
        let mut trees = Vec::with_capacity(names.len());
        for store in names {
            let tree = match self.trees.remove(&store).filter(|tree| tree.version() == from) {
                Some(tree) => tree,
                None => self.load(&store, from, sets)?,
            };
            trees.push((store, tree));
        }
        // What is left belongs to stores that were dropped.
        self.trees.clear();
        let mut grown: Vec<Grown> = Vec::with_capacity(trees.len());
        let (work, sc) = (self.work, self.sc()?);
        in_parallel(
            work,
            trees,
            |(): &mut (), (store, tree), report| {
                report(grow_store(work, sc, store, tree, sets)?);
                Ok(())
            },
            |one| {
                grown.push(one);
                Ok(())
            },
        )?;
        grown.sort_by(|a, b| a.store.cmp(&b.store));
        let info = |(number, set): (usize, &Changeset)| {
            let store = |grown: &Grown| StoreInfo {
                name: grown.store.clone(),
                version: set.version,
                root: Some(grown.roots.get(number).copied().unwrap_or(Hash::EMPTY)),
            };
            CommitInfo { version: set.version, stores: grown.iter().map(store).collect(), timestamp: None }
        };
        let infos = sets.iter().enumerate().map(info).collect();
        Ok((grown, infos))
    }

    /// A store's tree as SC has it. A store that begins has none, whatever SC has of an earlier one of its name.
    fn load(&self, store: &StoreKey, at: Version, sets: &[Changeset]) -> Result<Tree, PhaseError> {
        let begins = sets.first().is_some_and(|set| self.changes.upgrades(set.version).begun.contains(store));
        if begins {
            return Ok(Tree::load(None, at));
        }
        let root = target_root(self.sc()?, store, at)?;
        Ok(Tree::load(root, at))
    }

    /// Compares app hashes. If only a later version than the first is wrong, the one before it.
    fn compare(&self, infos: &[CommitInfo]) -> Result<Option<Version>, PhaseError> {
        for (number, info) in infos.iter().enumerate() {
            let (found, expected) = (info.app_hash(), self.changes.app_hash(info.version));
            if expected == Some(found) {
                continue;
            }
            if number > 0 {
                return Ok(Some(Version(info.version.0.saturating_sub(1))));
            }
            let expected = expected.map_or("none".to_owned(), |hash| hash.to_string());
            let what = format!(
                "leads to app hash {found}, but its app hash is {expected}: its changes are not all there or not the chain's, a \
                 store was renamed, or the app hash is not that of this version"
            );
            return Err(self.unfit(info.version, what));
        }
        Ok(None)
    }

    /// What SC has already must be what would be written.
    fn compare_ahead(&self, sc: &dyn Commitment, infos: &[CommitInfo]) -> Result<(), PhaseError> {
        for info in infos {
            let (version, expected) = (info.version, info.app_hash());
            let found = sc.commit_info(version)?.map(|info| info.app_hash());
            if let Some(found) = found.filter(|found| *found != expected) {
                return Err(PhaseError::Verdict(crate::model::Verdict::AppHash { version, expected, found }));
            }
        }
        Ok(())
    }

    /// Writes records and pairs, and returns how many changes there were.
    fn write(
        &self,
        sc: Option<&dyn Commitment>,
        ss: Option<&dyn Storage>,
        sets: &[Changeset],
        grown: &mut [Grown],
    ) -> Result<u64, PhaseError> {
        let mut count = 0;
        in_parallel(
            self.work,
            grown.iter_mut().collect(),
            |(): &mut (), grown: &mut Grown, report| {
                if let Some(sc) = sc {
                    let bytes = grown.records.size();
                    self.work.spend_changes(true, ss.is_some(), bytes as u64);
                    write_records(sc, &grown.store, &mut grown.records.sorted(), bytes)?;
                }
                let mut changes = 0;
                for set in sets {
                    let Some(of_store) = set.stores.iter().find(|store| store.store == grown.store) else { continue };
                    changes += of_store.changes.len() as u64;
                    if let Some(ss) = ss {
                        write_real_changes(ss, &grown.store, set.version, &of_store.changes)?;
                    }
                }
                report(changes);
                Ok(())
            },
            |changes| {
                count += changes;
                Ok(())
            },
        )?;
        Ok(count)
    }
}

fn grow_store(
    work: Work<'_>,
    sc: &dyn Commitment,
    store: StoreKey,
    mut tree: Tree,
    sets: &[Changeset],
) -> Result<Grown, PhaseError> {
    let mut nodes = sc.nodes(&store, Access::Points)?;
    let mut records = RecordRun::default();
    let mut roots = Vec::with_capacity(sets.len());
    for set in sets {
        work.turn()?;
        let broken =
            |why: TreeError| PhaseError::Tree { store: store.clone(), version: set.version, why: Box::new(why) };
        if let Some(of_store) = set.stores.iter().find(|of| of.store == store) {
            tree.apply(&mut nodes, &of_store.changes).map_err(broken)?;
        }
        let committed = tree.commit(&mut nodes, set.version).map_err(broken)?;
        roots.push(committed.hash);
        push_committed(&mut records, committed.records)?;
    }
    drop(nodes);
    Ok(Grown { store, tree, roots, records })
}
