//! The doctor: examines a store/v1 database, names all that is wrong with it, and says which versions can be migrated.
//!
//! `survey` walks over all records once; `trees` proves the newest version completely and `versions` what each older one has
//! of its own, both by `walk` where something is wrong; `leftovers` tells what no version needs. All of it ends in a
//! [`Report`]. Nothing is written, and no target is needed.

mod anchor;
mod below;
mod blame;
mod fast_index;
mod finding;
mod leftovers;
mod marks;
mod pool;
mod report;
mod roots;
mod survey;
mod trees;
mod versions;
mod walk;
mod watch;

use crate::{
    iavl::ReadError,
    model::{StoreKey, Version},
    plan::Tuning,
    progress::Stop,
    source::{Source, SourceError, is_memory_store},
};
use anchor::Anchor;
use marks::Marks;
use pool::in_order;
use std::collections::BTreeSet;
use trees::{Grown, Tree};
use versions::History;

pub use finding::{Finding, Findings, Kind, Severity};
pub use report::{Count, Excluded, Migratable, Range, Report, StoreReport};
pub use survey::{Survey, Tallies, Tally};
pub use watch::{Standing, Step, Watch};

/// What is examined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// This version is proven instead of the newest, and no other.
    pub at: Option<Version>,
    /// No older version is walked.
    pub latest_only: bool,
}

/// Why an examination came to no end. Damage is no reason: it is what is looked for.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// There is no such version.
    #[error("version {asked} was asked for, the newest version in the database is {latest}")]
    NoSuchVersion {
        /// The version that was asked for.
        asked: Version,
        /// The newest.
        latest: Version,
    },
}

/// What everybody works with.
struct Examination<'a> {
    source: &'a dyn Source,
    findings: &'a Findings,
    watch: &'a Watch,
    stop: &'a Stop,
    tuning: Tuning,
}

/// One store, as the survey found it.
struct Store {
    name: StoreKey,
    survey: Survey,
    marks: Option<Marks>,
}

impl Examination<'_> {
    fn workers(&self) -> usize {
        self.tuning.workers.max(1)
    }

    /// Bytes that one worker may hold of the subtrees it works on.
    fn gulp_bytes(&self) -> usize {
        self.tuning.memory / 4 / self.workers()
    }

    /// Bytes for the marks of all stores.
    fn marks_bytes(&self) -> u64 {
        self.tuning.memory as u64 / 8 * 3
    }

    fn heed_stop(&self) -> Result<(), Interrupted> {
        if self.stop.is_asked() { Err(Interrupted::Stopped) } else { Ok(()) }
    }
}

/// Bytes for the block cache of the source: older versions are walked node by node.
#[must_use]
pub fn source_cache(tuning: Tuning) -> usize {
    tuning.memory / 8
}

/// Examines a database.
///
/// # Errors
/// It could not be read for another reason than damage, it is no database of a node, or somebody asked to stop.
pub fn examine(
    source: &dyn Source,
    scope: Scope,
    tuning: Tuning,
    watch: &Watch,
    stop: &Stop,
) -> Result<Report, Interrupted> {
    let findings = Findings::default();
    let exam = Examination { source, findings: &findings, watch, stop, tuning };
    let anchor = Anchor::find(&exam, scope)?;
    let stores = survey_all(&exam, &anchor)?;
    let grown = prove_anchor(&exam, &anchor, &stores)?;
    let mut history = History::begin(&exam, &anchor, &grown);
    let with_history = !scope.latest_only && scope.at.is_none();
    if with_history {
        history.walk(&exam, &anchor, &stores)?;
    }
    leftovers::examine(&exam, &anchor, &stores, with_history && history.is_complete)?;
    history.conclude(&exam, &anchor, &stores);
    let stores = store_reports(&anchor, &stores, &grown);
    let history_is_known = with_history && history.is_complete;
    let (findings, counts) = findings.into_parts();
    let of = |wanted: Severity| counts.iter().filter(|((found, _), _)| *found == wanted).map(|(_, count)| count).sum();
    let (damages, notices): (u64, u64) = (of(Severity::Damage), of(Severity::Notice));
    let counts = counts.into_iter().map(|((severity, kind), count)| Count { kind, severity, count }).collect();
    let (migratable, whole, excluded) = history.into_ranges(&anchor);
    let mut report = Report {
        format: 1,
        sound: damages == 0,
        verdict: String::new(),
        engine: source.engine().to_owned(),
        latest: anchor.is_said.then_some(anchor.latest.0),
        proven: anchor.version().map(|version| version.0),
        app_hash: anchor.info.as_ref().map(|info| info.app_hash().to_string()),
        history: history_is_known,
        damages,
        notices,
        findings,
        counts,
        migratable,
        whole,
        excluded,
        stores,
    };
    report.verdict = verdict(&report);
    Ok(report)
}

/// The report on a database that cannot even be opened, because its files are damaged.
#[must_use]
pub fn unopened(error: &SourceError) -> Report {
    let finding = Finding::new(Kind::Unreadable, error.to_string());
    Report {
        format: 1,
        sound: false,
        verdict: "DAMAGED: the database cannot be opened".to_owned(),
        engine: String::new(),
        latest: None,
        proven: None,
        app_hash: None,
        history: false,
        damages: 1,
        notices: 0,
        counts: vec![Count { kind: finding.kind, severity: finding.severity, count: 1 }],
        findings: vec![finding],
        migratable: Vec::new(),
        whole: Vec::new(),
        excluded: Vec::new(),
        stores: Vec::new(),
    }
}

/// Walks over all records of all stores, those that the commit info names and those that are on disk.
fn survey_all(exam: &Examination<'_>, anchor: &Anchor) -> Result<Vec<Store>, Interrupted> {
    let mut names: BTreeSet<StoreKey> = match exam.source.stores_on_disk() {
        Ok(names) => names.into_iter().collect(),
        Err(error) if error.is_corruption() => {
            exam.findings.add(Finding::new(Kind::Unreadable, error.to_string()));
            BTreeSet::new()
        }
        Err(error) => return Err(error.into()),
    };
    let known: Vec<StoreKey> = anchor.stores().into_iter().map(|(name, _)| name).collect();
    // A name with a slash in it looks like a shorter one on disk.
    names.retain(|name| {
        let longer = format!("{name}/");
        known.contains(name) || !known.iter().any(|known| known.as_str().starts_with(&longer))
    });
    names.extend(known);
    let names: Vec<StoreKey> = names.into_iter().collect();
    exam.watch.begin(Step::Scanning, names.iter().map(|name| exam.source.approximate_bytes(name)).sum());
    let mut stores = Vec::with_capacity(names.len());
    let most = exam.marks_bytes();
    in_order(
        exam.workers(),
        names.into_iter(),
        || (),
        |(), name| {
            let survey = survey::survey(exam.source, &name, anchor.latest, most, exam.findings, exam.watch, exam.stop)?;
            Ok(Store { name, survey: survey.ok_or(Interrupted::Stopped)?, marks: None })
        },
        |store| stores.push(store),
    )?;
    // Either all stores have marks or none: a version is all stores.
    let needed: u64 = stores.iter().map(|store: &Store| store.survey.layout_bytes).sum();
    if stores.iter().all(|store| store.survey.layout.is_some()) && needed <= most {
        for store in &mut stores {
            store.marks = store.survey.layout.take().map(Marks::new);
        }
    }
    Ok(stores)
}

/// Proves all trees of the anchor. One for each of its stores; none if its root is not there.
fn prove_anchor(
    exam: &Examination<'_>,
    anchor: &Anchor,
    stores: &[Store],
) -> Result<Vec<(StoreKey, Grown)>, Interrupted> {
    let Some(version) = anchor.version() else { return Ok(Vec::new()) };
    let mut grown = Vec::new();
    let mut trees = Vec::new();
    let mut surveyed = Vec::new();
    for (name, expected) in anchor.stores() {
        let Some(store) = stores.iter().find(|store| store.name == name) else { continue };
        let say = |kind, words: String| {
            let finding = Finding::new(kind, words).store(&name).version(version);
            exam.findings.add(finding.node(crate::iavl::NodeKey::root_of(version).into()));
        };
        let mut empty = Grown { is_sound: false, keys: None, ..Grown::default() };
        match (roots::look_up(exam, store, version, exam.findings)?, expected) {
            (roots::Root::Bad, _) => {}
            (roots::Root::Absent, _) if store.survey.tallies.all().records == 0 && store.survey.is_whole => {
                let words =
                    format!("the commit info of version {version} names the store, and it has no record at all");
                exam.findings.add(Finding::new(Kind::MissingStore, words).store(&name).version(version));
            }
            (roots::Root::Absent, _) => {
                say(Kind::MissingRoot, format!("there is no root record of version {version}"));
            }
            (roots::Root::Empty, Some(expected)) if expected != crate::model::Hash::EMPTY => {
                say(Kind::RootDiffers, format!("the tree is empty, and the commit info says {expected}"));
            }
            (roots::Root::Empty, _) => (empty.is_sound, empty.keys) = (true, Some(0)),
            (roots::Root::Node(root, claimed), expected) => {
                let is_indexed = store.survey.tallies.f.records > 0 && version == anchor.latest;
                let expected = expected.unwrap_or(claimed);
                trees.push(Tree {
                    store: &store.name,
                    root,
                    claimed,
                    expected,
                    marks: store.marks.as_ref(),
                    is_indexed,
                });
                surveyed.push(store);
                continue;
            }
        }
        grown.push((name, empty));
    }
    let proven = trees::prove(exam, version, &trees)?;
    for ((tree, store), found) in trees.iter().zip(surveyed).zip(proven) {
        if tree.is_indexed {
            fast_index::conclude(tree.store, version, &store.survey, found.index.clone(), exam.findings);
        }
        grown.push((tree.store.clone(), found));
    }
    Ok(grown)
}

fn store_reports(anchor: &Anchor, stores: &[Store], grown: &[(StoreKey, Grown)]) -> Vec<StoreReport> {
    let reports = stores.iter().map(|store| {
        let grown = grown.iter().find(|(name, _)| *name == store.name).map(|(_, grown)| grown);
        let versions = store.survey.versions(anchor.latest);
        StoreReport {
            name: store.name.as_str().to_owned(),
            live: grown.is_some(),
            sound: grown.is_some_and(|grown| grown.is_sound),
            keys: grown.and_then(|grown| grown.keys),
            first_version: versions.map(|(first, ..)| first.0),
            last_version: versions.map(|(_, last, _)| last.0),
            versions: versions.map_or(0, |(.., count)| count),
            storage_version: store.survey.storage_version.clone(),
            records: store.survey.tallies,
        }
    });
    reports.collect()
}

/// All in one sentence.
fn verdict(report: &Report) -> String {
    let count = |count: u64, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let newest = match report.proven {
        None => "no version has a commit info that can be read".to_owned(),
        Some(proven) => {
            let is_whole = report.whole.iter().any(|range| (range.first..=range.last).contains(&proven));
            let whole = if is_whole { "is whole" } else { "is not whole" };
            let which = if report.latest == Some(proven) { "the newest version" } else { "version" };
            format!("{which} {proven} {whole}")
        }
    };
    match report.damages {
        0 => format!("Sound: {newest}, and there is no damage{}", scope_words(report)),
        damages => format!("DAMAGED: {}; {newest}", count(damages, "damage")),
    }
}

fn scope_words(report: &Report) -> &'static str {
    if report.history { " in any retained version" } else { " in it; older versions were not examined" }
}

/// Memory stores of a commit info.
fn memory_stores(info: &crate::model::CommitInfo) -> Vec<String> {
    let memory = info.stores.iter().filter(|store| is_memory_store(store));
    memory.map(|store| store.name.as_str().to_owned()).collect()
}
