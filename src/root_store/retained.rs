//! Which versions can be read, and who is reading them: what pruning may take away.
//!
//! A reader pins its version before it reads, and pruning gives a version up before it removes anything of it; both under one
//! lock that is held for moments, so neither waits for the other's work.

use super::{Span, StoreError};
use crate::model::{CommitInfo, Version};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The versions of one layout.
#[derive(Debug)]
pub(super) struct Retained {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of nothing to begin with.
    oldest: Version,
    latest: Option<Arc<CommitInfo>>,
    /// How many hold each version.
    held: BTreeMap<Version, usize>,
}

impl State {
    fn span(&self) -> Option<Span> {
        let latest = self.latest.as_ref()?.version;
        Some(Span { oldest: self.oldest.min(latest), latest })
    }

    fn expendable(&self, goal: Version) -> Option<Version> {
        let Span { oldest, latest } = self.span()?;
        let held = self.held.first_key_value().map_or(latest, |(version, _)| *version);
        (oldest < goal.min(held).min(latest)).then_some(oldest)
    }
}

/// Keeps a version, and all later ones, from being pruned while it lives.
#[derive(Debug)]
#[must_use = "it holds nothing once it is dropped"]
pub struct Hold {
    of: Arc<Retained>,
    version: Version,
}

impl Hold {
    /// The version held.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.of.state();
        if let Some(count) = state.held.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.version);
            }
        }
    }
}

impl Retained {
    pub fn new(oldest: Version, latest: Option<Arc<CommitInfo>>) -> Arc<Retained> {
        Arc::new(Retained { state: Mutex::new(State { oldest, latest, held: BTreeMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn span(&self) -> Option<Span> {
        self.state().span()
    }

    pub fn latest(&self) -> Option<Arc<CommitInfo>> {
        self.state().latest.clone()
    }

    /// The oldest version that somebody holds.
    pub fn held(&self) -> Option<Version> {
        self.state().held.first_key_value().map(|(version, _)| *version)
    }

    /// A new version can be read.
    pub fn committed(&self, info: Arc<CommitInfo>) {
        let mut state = self.state();
        if state.latest.is_none() {
            state.oldest = info.version;
        }
        state.latest = Some(info);
    }

    /// Holds a version.
    pub fn hold(self: &Arc<Retained>, version: Version) -> Result<Hold, StoreError> {
        let mut state = self.state();
        let there = state.span();
        if !there.is_some_and(|span| (span.oldest..=span.latest).contains(&version)) {
            return Err(StoreError::NoVersion { asked: version, there });
        }
        *state.held.entry(version).or_default() += 1;
        drop(state);
        Ok(Hold { of: self.clone(), version })
    }

    /// The oldest version, if it may go: it is below `goal`, not held and not the newest.
    pub fn expendable(&self, goal: Version) -> Option<Version> {
        self.state().expendable(goal)
    }

    /// Gives up a version that may go: from here on nobody reads it. False if somebody came to hold it meanwhile.
    pub fn give_up(&self, version: Version) -> bool {
        let mut state = self.state();
        if state.expendable(version.next()) != Some(version) {
            return false;
        }
        state.oldest = version.next();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: u64) -> Arc<CommitInfo> {
        Arc::new(CommitInfo { version: Version(version), stores: Vec::new(), timestamp: None })
    }

    #[test]
    fn what_is_held_is_not_given_up_and_what_is_given_up_is_not_held() {
        let retained = Retained::new(Version(3), None);
        assert!(matches!(retained.hold(Version(3)), Err(StoreError::NoVersion { there: None, .. })));
        assert_eq!(retained.expendable(Version(9)), None);
        (3..=6).for_each(|version| retained.committed(info(version)));
        assert!(!retained.give_up(Version(4)), "one after the other");
        let (hold, again) = (retained.hold(Version(4)).unwrap(), retained.hold(Version(4)).unwrap());
        assert_eq!(retained.expendable(Version(9)), Some(Version(3)));
        assert!(retained.give_up(Version(3)));
        assert!(!retained.give_up(Version(4)));
        drop(hold);
        assert_eq!((retained.held(), retained.expendable(Version(9))), (Some(Version(4)), None));
        drop(again);
        assert_eq!((retained.expendable(Version(4)), retained.expendable(Version(5))), (None, Some(Version(4))));
        assert!(retained.give_up(Version(4)));
        let error = retained.hold(Version(4)).unwrap_err();
        assert!(error.to_string().contains("there are versions 5 to 6"), "{error}");
        assert!(retained.hold(Version(7)).is_err());
        assert!(retained.give_up(Version(5)) && !retained.give_up(Version(6)), "the newest version stays");
    }
}
