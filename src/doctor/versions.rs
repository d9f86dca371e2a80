//! Version by version, from the newest down: which are whole, which can be migrated, and why the others cannot.

use super::{
    Examination, Interrupted, Store,
    anchor::{Anchor, objections, trees_of},
    finding::{Finding, Kind},
    memory_stores,
    pool::in_order,
    report::{Excluded, Migratable, Range},
    roots::{self, State},
    trees::Grown,
    walk::Walker,
    watch::Step,
};
use crate::{
    iavl::{Access, NodeKey},
    model::{ChunkSet, CommitInfo, Hash, StoreKey, Version},
    source::SourceError,
};
use std::collections::BTreeMap;

/// How one version is.
#[derive(Clone, Debug)]
enum Verdict {
    Whole,
    /// Stores without a root of it, and how many have one.
    Absent(Vec<StoreKey>, usize),
    /// Why it cannot be migrated; damage was said.
    Unfit(String),
}

struct Judged {
    version: Version,
    memory: Vec<String>,
    verdict: Verdict,
}

/// What is known of all versions.
#[derive(Default)]
pub(super) struct History {
    whole: ChunkSet,
    with_memory: ChunkSet,
    memory: Option<(Version, Vec<String>)>,
    excluded: Vec<Excluded>,
    /// The oldest version that can be migrated so far, and whether that run goes on.
    oldest: Option<Version>,
    goes_on: bool,
    /// The lowest version that was looked at.
    lowest: Option<Version>,
    /// The version that ended the run.
    ended_by: Option<Version>,
    /// Versions above the last whole one that some stores lack.
    gap: Vec<(Version, Vec<StoreKey>, usize)>,
    /// Roots of versions that other stores lack, by store.
    pub leftover: BTreeMap<StoreKey, ChunkSet>,
    /// Whether all versions were looked at.
    pub is_complete: bool,
}

/// Versions that are walked together.
const BATCH: usize = 32;
/// Ranges of excluded versions that are kept.
const RANGES: usize = 1000;
/// Versions with missing roots that are named.
const NAMED: usize = 100;

impl History {
    /// Begins with the version that was proven completely.
    pub fn begin(exam: &Examination<'_>, anchor: &Anchor, grown: &[(StoreKey, Grown)]) -> History {
        let mut history = History { goes_on: anchor.is_said && anchor.is_usable, ..History::default() };
        if anchor.version() != Some(anchor.asked) {
            history.goes_on = false;
            history.ended_by = Some(anchor.asked);
            let reason = if anchor.is_said { "no commit info that can be read" } else { "s/latest cannot be read" };
            history.exclude(anchor.asked, reason.to_owned());
        }
        let (Some(version), Some(info)) = (anchor.version(), &anchor.info) else { return history };
        let damaged = grown.iter().find(|(_, grown)| !grown.is_sound).map(|(name, _)| name);
        let verdict = match damaged {
            Some(store) => Verdict::Unfit(format!("store {store} is damaged")),
            None if anchor.asked == version && !anchor.is_usable => {
                Verdict::Unfit("its commit info, or a store's name, stands in the way".to_owned())
            }
            None => Verdict::Whole,
        };
        history.take(exam, &[], Judged { version, memory: memory_stores(info), verdict });
        history
    }

    /// Walks over what each older version has of its own.
    pub fn walk(&mut self, exam: &Examination<'_>, anchor: &Anchor, stores: &[Store]) -> Result<(), Interrupted> {
        let Some(top) = anchor.version() else { return Ok(()) };
        let versions = below(stores, top);
        let total: u64 = versions.iter().map(|(start, end)| end - start).sum();
        if stores.iter().any(|store| store.marks.is_none()) {
            let needed: u64 = stores.iter().map(|store| store.survey.layout_bytes).sum();
            let words = format!(
                "{total} older versions were not examined: remembering which nodes were met takes {} MiB, more than three eighths \
                 of the memory budget; give --memory-mib {}",
                needed.div_ceil(1 << 20),
                needed.saturating_mul(8).div_ceil(3 << 20) + 1
            );
            exam.findings.add(Finding::new(Kind::NotExamined, words));
            return Ok(());
        }
        exam.watch.begin(Step::Walking, total);
        let names: Vec<StoreKey> = anchor.stores().into_iter().map(|(name, _)| name).collect();
        for batch in batches(versions) {
            let judged = judge_all(exam, stores, batch, &names)?;
            exam.watch.advance(Step::Walking, judged.len() as u64);
            judged.into_iter().for_each(|judged| self.take(exam, stores, judged));
        }
        self.is_complete = true;
        Ok(())
    }

    /// Takes the next older version.
    fn take(&mut self, exam: &Examination<'_>, stores: &[Store], judged: Judged) {
        let Judged { version, memory, verdict } = judged;
        if let Some(above) = self.lowest
            && version.next() < above
        {
            self.exclude_range(version.next(), Version(above.0 - 1), "not retained".to_owned());
            self.end_run(version.next());
        }
        if !memory.is_empty() {
            self.with_memory.insert(version.0);
            self.memory.get_or_insert((version, memory));
        }
        match verdict {
            Verdict::Whole => {
                self.close_gap(exam, stores, version);
                self.whole.insert(version.0);
                if self.goes_on {
                    self.oldest = Some(version);
                } else {
                    let reason = match self.ended_by {
                        Some(by) => {
                            format!("whole, but version {by}, which would have to be applied later, is not")
                        }
                        None => "whole, but it cannot be migrated for the reason above".to_owned(),
                    };
                    self.exclude(version, reason);
                }
            }
            Verdict::Absent(lacking, having) => {
                for store in stores.iter().filter(|store| store.survey.has_root(version)) {
                    self.leftover.entry(store.name.clone()).or_default().insert(version.0);
                }
                self.end_run(version);
                self.exclude(version, "pruned: not all stores have a root of it any more".to_owned());
                if self.gap.len() < NAMED {
                    self.gap.push((version, lacking, having));
                }
            }
            Verdict::Unfit(reason) => {
                self.end_run(version);
                self.exclude(version, reason);
            }
        }
        self.lowest = Some(version);
    }

    fn end_run(&mut self, version: Version) {
        if self.goes_on {
            self.goes_on = false;
            self.ended_by = Some(version);
        }
    }

    /// A whole version below others that some stores lack: pruning goes from the oldest up, so that is a hole.
    fn close_gap(&mut self, exam: &Examination<'_>, stores: &[Store], whole: Version) {
        let is_legacy = stores.iter().any(|store| store.survey.legacy_roots.contains(whole.0));
        for (version, lacking, having) in std::mem::take(&mut self.gap) {
            if having == 0 || is_legacy {
                continue;
            }
            for store in lacking {
                let words = format!(
                    "there is no root record of version {version}, while version {whole} below it is whole in all stores, and \
                     {having} stores have this one"
                );
                let finding = Finding::new(Kind::MissingRoot, words).store(&store).version(version);
                exam.findings.add(finding.node(NodeKey::root_of(version).into()));
            }
        }
    }

    fn exclude(&mut self, version: Version, reason: String) {
        self.exclude_range(version, version, reason);
    }

    fn exclude_range(&mut self, first: Version, last: Version, reason: String) {
        let is_full = self.excluded.len() >= RANGES;
        match self.excluded.last_mut() {
            Some(before) if before.reason == reason && before.first == last.0 + 1 => before.first = first.0,
            _ if is_full => {}
            _ => self.excluded.push(Excluded { first: first.0, last: last.0, reason }),
        }
    }

    /// Says what all versions together show.
    pub fn conclude(&mut self, exam: &Examination<'_>, anchor: &Anchor, stores: &[Store]) {
        if let Some((version, names)) = self.memory.take() {
            let count = self.with_memory.count();
            let words = format!(
                "{count} versions, the newest of them {version}, count memory stores into the app hash, as SDK 0.46 and older \
                 did ({}); no store/v2 has those: run with --leave-out-memory-stores to migrate them",
                names.join(", ")
            );
            exam.findings.add(Finding::new(Kind::MemoryStores, words).version(version).counted(count, None));
        }
        if !self.is_complete {
            return;
        }
        self.tell_of_holes(exam);
        let live = anchor.stores();
        self.leftover.retain(|name, _| live.iter().any(|(live, _)| live == name));
        super::leftovers::roots(exam, stores, &live, &self.leftover);
        if let Some(lowest) = self.lowest.filter(|lowest| lowest.0 > 1) {
            let last = Version(lowest.0 - 1);
            self.exclude_range(Version(1), last, "pruned, or before the chain's first version".to_owned());
        }
    }

    fn tell_of_holes(&self, exam: &Examination<'_>) {
        let ranges = self.whole.ranges();
        let holes: Vec<String> = ranges
            .windows(2)
            .filter_map(|pair| match pair {
                [(_, end), (start, _)] => {
                    let is_hole = |version| {
                        let excluded = self.excluded.iter().find(|range| (range.first..=range.last).contains(&version));
                        excluded.is_none_or(|range| range.reason == "not retained")
                    };
                    let last = start - 1;
                    let shown = if *end == last { last.to_string() } else { format!("{end} to {last}") };
                    (*end..*start).all(is_hole).then_some(shown)
                }
                _ => None,
            })
            .collect();
        if let Some(newest) = holes.last() {
            let words = format!(
                "{} times versions are missing between whole ones (the newest time {newest}): IAVL up to 0.20 could delete \
                 versions in the middle; those below cannot be migrated",
                holes.len()
            );
            exam.findings.add(Finding::new(Kind::VersionHoles, words).counted(holes.len() as u64, None));
        }
    }

    /// The versions that can be migrated, those that are whole, those that are excluded.
    pub fn into_ranges(self, anchor: &Anchor) -> (Vec<Migratable>, Vec<Range>, Vec<Excluded>) {
        let whole = self.whole.ranges().iter().map(|(start, end)| Range { first: *start, last: end - 1 }).collect();
        let mut migratable = Vec::new();
        if let Some(oldest) = self.oldest {
            let latest = anchor.asked;
            let memory = self.with_memory.ranges().last().map(|(_, end)| end - 1).filter(|last| *last >= oldest.0);
            // Versions with memory stores have to be left without them; those after the last one need not.
            let plain = memory.map_or(oldest.0, |last| last + 1);
            if plain <= latest.0 {
                migratable.push(Migratable { first: plain, last: latest.0, leave_out_memory_stores: false });
            }
            if let Some(last) = memory {
                let (first, leave_out_memory_stores) = (oldest.0, true);
                migratable.push(Migratable { first, last: last.min(latest.0), leave_out_memory_stores });
            }
        }
        (migratable, whole, self.excluded)
    }
}

/// A store, and its trees: their places among the versions, and the roots they must have.
type Walk<'a> = (&'a Store, Vec<(usize, Version, Hash)>);

/// Judges versions, newest first: first what their commit infos say, then tree by tree, each store's from the newest down, so
/// that what is damaged in several is told of the newest, whoever is faster.
fn judge_all(
    exam: &Examination<'_>,
    stores: &[Store],
    versions: Vec<Version>,
    names: &[StoreKey],
) -> Result<Vec<Judged>, Interrupted> {
    let judge = |(): &mut (), version| judge_info(exam, stores, version, names);
    let mut judged: Vec<(Judged, Option<CommitInfo>)> = Vec::with_capacity(versions.len());
    in_order(exam.workers(), versions.into_iter(), || (), judge, |one| judged.push(one))?;
    let walks = stores.iter().map(|store| {
        let trees = judged.iter().enumerate().filter_map(|(nth, (_, info))| {
            let info = info.as_ref()?;
            Some((nth, info.version, info.store(&store.name)?.root?))
        });
        (store, trees.collect::<Vec<_>>())
    });
    let walks: Vec<Walk<'_>> = walks.filter(|(_, trees)| !trees.is_empty()).collect();
    let walk = |(): &mut (), (store, trees): Walk<'_>| {
        let nodes = exam.source.nodes(&store.name, Access::Points);
        let mut walker = Walker::new(&store.name, nodes, store.marks.as_ref(), exam.findings, exam.stop);
        let mut unfit = Vec::new();
        for (nth, version, expected) in trees {
            exam.heed_stop()?;
            let reason = match roots::examine(exam, store, &mut walker, version, expected)? {
                State::Whole => continue,
                State::Absent => "is unreadable",
                State::Damaged => "is damaged",
                State::Ghost => "was pruned; what is left of it is a ghost root",
                State::Overwritten => "has the root of another version: IAVL 1.x wrote over it",
            };
            unfit.push((nth, format!("store {} {reason}", store.name)));
        }
        Ok(unfit)
    };
    let mut unfit = Vec::new();
    in_order(exam.workers(), walks.into_iter(), || (), walk, |found| unfit.extend(found))?;
    let mut judged: Vec<Judged> = judged.into_iter().map(|(judged, _)| judged).collect();
    for (nth, reason) in unfit {
        if let Some(judged) = judged.get_mut(nth)
            && matches!(judged.verdict, Verdict::Whole)
        {
            judged.verdict = Verdict::Unfit(reason);
        }
    }
    Ok(judged)
}

/// What the commit info of a version says; it comes along if the trees are to be walked.
fn judge_info(
    exam: &Examination<'_>,
    stores: &[Store],
    version: Version,
    names: &[StoreKey],
) -> Result<(Judged, Option<CommitInfo>), Interrupted> {
    exam.heed_stop()?;
    let info = match exam.source.commit_info(version) {
        Ok(Some(info)) => info,
        Ok(None) => return Ok((without_info(exam, stores, version, names, None), None)),
        Err(error) if error.is_corruption() => {
            return Ok((without_info(exam, stores, version, names, Some(error)), None));
        }
        Err(error) => return Err(error.into()),
    };
    let memory = memory_stores(&info);
    let trees = trees_of(&info);
    let lacks = |name: &StoreKey| {
        let store = stores.iter().find(|store| store.name == *name);
        store.is_none_or(|store| !store.survey.has_root(version) && store.survey.is_whole)
    };
    let lacking: Vec<StoreKey> = trees.iter().map(|(name, _)| name).filter(|name| lacks(name)).cloned().collect();
    if !lacking.is_empty() {
        let verdict = Verdict::Absent(lacking.clone(), trees.len() - lacking.len());
        return Ok((Judged { version, memory, verdict }, None));
    }
    if let Some((store, words)) = objections(&info).into_iter().next() {
        exam.findings.add(Finding::new(Kind::BadCommitInfo, words.clone()).store(&store).version(version));
        let verdict = Verdict::Unfit(format!("store {store}: {words}"));
        return Ok((Judged { version, memory, verdict }, None));
    }
    Ok((Judged { version, memory, verdict: Verdict::Whole }, Some(info)))
}

/// A version whose commit info is missing or damaged; that is damage where its trees are there.
fn without_info(
    exam: &Examination<'_>,
    stores: &[Store],
    version: Version,
    names: &[StoreKey],
    error: Option<SourceError>,
) -> Judged {
    let has_root = |name: &&StoreKey| stores.iter().any(|store| store.name == **name && store.survey.has_root(version));
    let having = names.iter().filter(has_root).count();
    let verdict = if having < names.len() {
        Verdict::Absent(names.iter().filter(|name| !has_root(name)).cloned().collect(), having)
    } else {
        let (kind, words) = match error {
            None => (
                Kind::MissingCommitInfo,
                format!("there is no commit info of version {version}, although all stores have a root of it"),
            ),
            Some(error @ SourceError::Record { .. }) => (Kind::BadCommitInfo, error.to_string()),
            Some(error) => (Kind::Unreadable, error.to_string()),
        };
        exam.findings.add(Finding::new(kind, words).version(version));
        Verdict::Unfit("no commit info that can be read".to_owned())
    };
    Judged { version, memory: Vec::new(), verdict }
}

/// All versions below one that have a root in any store, as ranges, ends excluded.
fn below(stores: &[Store], top: Version) -> Vec<(u64, u64)> {
    let ranges = stores.iter().flat_map(|store| store.survey.roots.ranges());
    let mut ranges: Vec<(u64, u64)> =
        ranges.map(|(start, end)| (*start, (*end).min(top.0))).filter(|(start, end)| start < end).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// The versions of ascending ranges, newest first, so many at a time.
fn batches(versions: Vec<(u64, u64)>) -> impl Iterator<Item = Vec<Version>> {
    let mut all = versions.into_iter().rev().flat_map(|(start, end)| (start..end).rev().map(Version));
    std::iter::from_fn(move || {
        let batch: Vec<Version> = all.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then_some(batch)
    })
}
