//! A node's state that migrates itself while the node goes on committing.
//!
//! Owns the question which store is of record when a node starts, and the job beside the store. Commits go through
//! [`RootStore`] and know nothing of it; the switch is one commit that waits for a moment.
//!
//! store/v2 is of record if the journal says Done and store/v1 has not gone on since. The second half is for the one moment in which
//! the first is not known: where the write that records Done fails, the chain goes on with store/v1 rather than standing still, and
//! whoever opens the two finds store/v1 ahead.

mod chain;
mod job;
mod warming;

use crate::{
    error::Error,
    journal,
    machine::{Phase, State},
    migrator::{self, Outcome, Status},
    model::Version,
    plan::{Parts, Plan, Tuning},
    root_store::{Databases, Layout, Options, RootStore, RootmultiLayout, StoreError, V2Layout},
    target::{EngineTuning, Place},
};
use job::Job;
use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// Where a node's state lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The rootmulti layout in RocksDB (`application.db`).
    pub v1: PathBuf,
    /// The migration's target: `sc/`, `ss/`, `journal/`.
    pub v2: PathBuf,
}

/// How a node's state is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeping {
    /// What the store keeps in memory and on disk.
    pub store: Options,
    /// How the databases are opened.
    pub engine: EngineTuning,
}

/// A migration to begin, or to carry on.
#[derive(Clone, Debug)]
pub struct Begin {
    /// What is migrated.
    pub plan: Plan,
    /// How.
    pub tuning: Tuning,
    /// Whether to switch as soon as everything is applied; otherwise [`LiveStore::switch`] asks for it.
    pub switch: bool,
    /// The longest a commit waits for the switch. Before its record is begun, that is: a write to the journal, which is synced twice,
    /// is not cut short.
    pub max_pause: Duration,
    /// Most versions that are kept from being pruned for the migration; with more of them it is stopped, and begins anew when the
    /// store is opened next. None: as many as it needs.
    pub held_versions: Option<u64>,
}

impl Begin {
    /// With every default: the latest version, SC and SS, switching at once, a pause of a second at most; and one worker fewer than
    /// elsewhere, so that the node has a core.
    #[must_use]
    pub fn new() -> Begin {
        let tuning = Tuning::default();
        Begin {
            plan: Plan::new(),
            tuning: Tuning { workers: tuning.workers.saturating_sub(1).max(1), ..tuning },
            switch: true,
            max_pause: Duration::from_secs(1),
            held_versions: None,
        }
    }
}

impl Default for Begin {
    fn default() -> Begin {
        Begin::new()
    }
}

/// Why a node's state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The migration's job.
    #[error(transparent)]
    Job(#[from] Error),
}

/// A node's state, on whichever layout is of record, and the migration beside it. Everything a [`RootStore`] does, it does.
pub struct LiveStore {
    store: Arc<RootStore>,
    // After the store, which must not prune what the job still needs when it is carried on.
    job: Option<Job>,
    places: Places,
    databases: Arc<dyn Databases>,
    /// Bytes for the blocks of an engine.
    cache: usize,
}

impl Drop for LiveStore {
    fn drop(&mut self) {
        if let Some(job) = &mut self.job {
            job.suspend();
        }
    }
}

impl Deref for LiveStore {
    type Target = RootStore;

    fn deref(&self) -> &RootStore {
        &self.store
    }
}

impl LiveStore {
    /// Opens what is of record. A migration that was begun is carried on, as `begin` says or by its own plan with every other default;
    /// with `begin` one is begun where there is none.
    ///
    /// # Errors
    /// The store could not be opened, or it cannot be told which is of record. What goes wrong with a migration later is no error of
    /// the store.
    #[cfg(feature = "rocksdb")]
    pub fn open(places: &Places, keeping: Keeping, begin: Option<Begin>) -> Result<LiveStore, LiveError> {
        LiveStore::open_with(Arc::new(crate::target::rocks::RocksEngines), places, keeping, begin)
    }

    /// As `LiveStore::open`, in these databases; the journal lies in the target's directory all the same.
    ///
    /// # Errors
    /// As `LiveStore::open`.
    pub fn open_with(
        databases: Arc<dyn Databases>,
        places: &Places,
        keeping: Keeping,
        begin: Option<Begin>,
    ) -> Result<LiveStore, LiveError> {
        let (mut unfinished, cache) = (None, keeping.engine.cache);
        match migrator::found(&places.v2)? {
            Some((job, State { phase: Phase::Done { version, .. }, .. })) => {
                if let Some(store) = switched(databases.as_ref(), places, keeping, &job, version)? {
                    return Ok(LiveStore {
                        job: None,
                        store: Arc::new(store),
                        places: places.clone(),
                        databases,
                        cache,
                    });
                }
                migrator::forget(&places.v2)?;
            }
            // The chain was given back, and what is left on store/v2 is the operator's to look at and to wipe.
            None | Some((_, State { phase: Phase::Aborted, .. })) => {}
            Some((job, _)) => unfinished = Some(Begin { plan: job.plan, ..Begin::new() }),
        }
        let database = databases.database(&places.v1, keeping.engine).map_err(StoreError::from)?;
        let store = Arc::new(RootStore::new(Arc::new(RootmultiLayout::new(database)), keeping.store)?);
        let mut live = LiveStore { job: None, store, places: places.clone(), databases, cache };
        // A chain without a version has nothing to migrate yet.
        if let Some(begin) = begin.or(unfinished).filter(|_| live.latest().is_some()) {
            live.migrate(begin)?;
        }
        Ok(live)
    }

    /// Begins a migration beside the store, or carries one on. Returns at once; commits go on.
    ///
    /// # Errors
    /// The store is on store/v2 already, a migration is at work, or its journal could not be read.
    pub fn migrate(&mut self, begin: Begin) -> Result<(), Error> {
        let blocked = |what: &str| Error::Blocked { what: what.to_owned(), advice: "Nothing was changed.".to_owned() };
        if self.store.source().is_none() {
            return Err(blocked("the store is on store/v2 already"));
        }
        if self.job.as_ref().is_some_and(|job| job.standing(|standing| standing.end.is_none())) {
            return Err(blocked("a migration is at work already"));
        }
        self.job = None;
        self.job = Some(Job::start(&self.store, self.databases.clone(), &self.places, begin, self.cache)?);
        Ok(())
    }

    /// Asks for the switch as soon as everything is applied, or takes that back.
    pub fn switch(&self, wanted: bool) {
        if let Some(job) = &self.job {
            job.shared.switch.store(wanted, Ordering::SeqCst);
        }
    }

    /// How the migration stands, if there is one; what `storeshift status` shows of it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.job.as_ref()?.standing(|standing| standing.status.clone())
    }

    /// What went wrong last with the migration, if it is tried again.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.job.as_ref()?.standing(|standing| standing.trouble.clone())
    }

    /// Whether a migration is at work.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.standing(|standing| standing.end.is_none()))
    }

    /// Waits until the migration has ended: the version of the switch, or why there was none. None if there is no migration.
    #[must_use]
    pub fn wait(&self) -> Option<Result<Outcome, String>> {
        let end = |end: &Result<Outcome, Error>| {
            end.as_ref().map_err(|error| format!("{error}. {}", error.advice())).cloned()
        };
        self.job.as_ref()?.wait(|standing| standing.end.as_ref().map(end))
    }

    /// Ends the migration after the work in flight; it can be carried on. The store goes on.
    pub fn stop_migrating(&mut self) {
        self.job = None;
    }
}

/// The store after a switch; none if store/v1 went on since, because the switch was not known to be recorded.
fn switched(
    databases: &dyn Databases,
    places: &Places,
    keeping: Keeping,
    job: &journal::Job,
    version: Version,
) -> Result<Option<RootStore>, LiveError> {
    let place = Place::new(&places.v2);
    let lost = |part: &Path| Error::Blocked {
        what: format!("store/v2 is of record since version {version}, and {} does not have it", part.display()),
        advice: "Nothing was changed. Put store/v2 back as it was.".to_owned(),
    };
    // Opening would make it, and the chain would begin again at nothing.
    if let Some(part) = migrator::missing_part(&place, job)? {
        return Err(lost(&part).into());
    }
    let v2 = v2_layout(databases, &place, job.plan.parts, keeping.engine)?;
    let older = v1_layout(databases, &places.v1, keeping.engine)?;
    let stands_at = |layout: &dyn Layout| Ok::<_, StoreError>(layout.latest()?.unwrap_or_default());
    if stands_at(&v2)? < version {
        return Err(lost(place.root()).into());
    }
    if let Some(older) = &older {
        let (old, new) = (stands_at(older)?, stands_at(&v2)?);
        if old > version && new == version {
            tracing::warn!("the switch at version {version} was never known to be recorded: store/v1 went on to {old}");
            return Ok(None);
        }
        if old > version {
            return Err(Error::Blocked {
                what: format!(
                    "since the switch at version {version} both stores went on: store/v1 to {old}, store/v2 to {new}; a node was \
                     started on store/v1 by mistake"
                ),
                advice: "store/v2 is of record. Move the store/v1 database out of the way, and open the store again.".to_owned(),
            }
            .into());
        }
    }
    let store = RootStore::new(Arc::new(v2), keeping.store)?;
    if let Some(older) = older {
        store.keep_older(Arc::new(older))?;
    }
    Ok(Some(store))
}

fn v2_layout(
    databases: &dyn Databases,
    place: &Place,
    parts: Parts,
    engine: EngineTuning,
) -> Result<V2Layout, StoreError> {
    place.clear_staging()?;
    let sc = databases.commitment(place, engine)?;
    let ss = parts.ss().then(|| databases.storage(place, engine)).transpose()?;
    V2Layout::open(sc, ss)
}

/// store/v1, if it is still there. It is opened for writing, so that no node is started on it by mistake, and nothing is written.
fn v1_layout(
    databases: &dyn Databases,
    path: &Path,
    engine: EngineTuning,
) -> Result<Option<RootmultiLayout>, StoreError> {
    if !databases.is_there(path) {
        return Ok(None);
    }
    Ok(Some(RootmultiLayout::new(databases.database(path, engine)?)))
}
