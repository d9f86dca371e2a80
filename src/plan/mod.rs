//! Plans: what is migrated. A plan file or command line becomes a checked [`Plan`], which is fixed for the life of a job,
//! and a [`Tuning`], which is free to change between runs.

mod limits;
mod yielding;

use crate::model::{Hash, Version};
use serde::Deserialize;
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

pub use yielding::Yielding;

/// Leaves of a chunk unless the plan says otherwise.
pub const CHUNK_LEAVES: u64 = 8_192;

/// What is migrated. The journal keeps it; a run with another one is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which version the snapshot is taken of.
    pub at: At,
    /// Which parts of store/v2 are written.
    pub parts: Parts,
    /// Most leaves a chunk has.
    pub chunk_leaves: u64,
    /// The app hash an operator trusts for the snapshot version, from the header of the block after it.
    pub app_hash: Option<Hash>,
    /// Whether memory stores, which SDK 0.46 and older counted into the app hash, are left out: then the hash over the IAVL
    /// stores alone is what the target is compared with.
    pub leave_out_memory_stores: bool,
}

/// Which version the snapshot is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest version.
    Latest,
    /// The oldest version that is still whole: all retained history is migrated.
    Oldest,
    /// This version.
    Version(Version),
}

/// Which parts of store/v2 are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// State commitment and state storage.
    Both,
    /// State commitment only: trees and proofs, no flat pairs.
    Sc,
    /// State storage only: flat pairs, no trees; nothing can recompute roots from it.
    Ss,
}

impl Parts {
    /// Whether SC is written.
    #[must_use]
    pub fn sc(self) -> bool {
        self != Parts::Ss
    }

    /// Whether SS is written.
    #[must_use]
    pub fn ss(self) -> bool {
        self != Parts::Sc
    }
}

/// How a job is run; no part of what it produces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Chunks in work at the same time.
    pub workers: usize,
    /// Bytes of memory for buffers and caches together.
    pub memory: usize,
    /// Bytes of disk space to leave free; the run stops before it goes below.
    pub reserve: u64,
    /// Whether to switch when caught up; beside a running node, whether to stay until a switch is asked for.
    pub switch: bool,
    /// Whether to go on with what a running node commits meanwhile, instead of ending with its first checkpoint.
    pub follow: bool,
    /// The version at which a switch is asked for from the start, beside a running node.
    pub switch_at: Option<Version>,
    /// Least time between two checkpoints of a running node.
    pub every: Duration,
    /// Bytes on the disk that only checkpoints hold on to, at most; none: a quarter of what is free.
    pub checkpoints: Option<u64>,
    /// Bytes of records that are read and written in a second at most, before compression.
    pub bytes_per_second: Option<u64>,
    /// When to yield to a node.
    pub yielding: Yielding,
}

/// Least time between two checkpoints of a running node, unless the plan says otherwise: about a block.
const EVERY: Duration = Duration::from_secs(5);

/// Memory unless the plan or the machine says otherwise.
const MEMORY: usize = 192 << 20;
/// Least memory that is useful.
const LEAST_MEMORY: usize = 32 << 20;

/// The default where a process may have so many bytes: what it takes besides the budget must fit as well.
fn memory_within(limit: u64) -> usize {
    usize::try_from(limit / 8 * 3).unwrap_or(MEMORY).clamp(LEAST_MEMORY, MEMORY)
}

impl Default for Tuning {
    /// One worker per core this process may use, 192 MiB or three eighths of the memory it may use, 1 GiB of disk left
    /// free, switch when caught up, as fast as it goes unless a node suffers; a running node is followed, with a checkpoint every
    /// 5 seconds at most.
    fn default() -> Tuning {
        Tuning {
            workers: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            memory: limits::memory().map_or(MEMORY, memory_within),
            reserve: 1 << 30,
            switch: true,
            follow: true,
            switch_at: None,
            every: EVERY,
            checkpoints: None,
            bytes_per_second: None,
            yielding: Yielding::default(),
        }
    }
}

/// Where a job reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The `application.db` directory, or a state sync snapshot's (`<height>/<format>`).
    pub source: PathBuf,
    /// The target's directory.
    pub target: PathBuf,
    /// A directory of changeset files with the versions after the source's newest.
    pub changesets: Option<PathBuf>,
    /// The directory in which a checkpoint of the source is made and read: also if no process is seen to have the source open,
    /// as where the node runs in another container. None: in the target's directory, and only if one is.
    pub checkpoint: Option<PathBuf>,
}

/// Why a plan is not one.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The plan file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The plan file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The plan file is not TOML, or has a key or value that does not exist.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// The plan file.
        path: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// A value is out of range or does not fit another.
    #[error("{0}")]
    Value(String),
}

/// A plan file as written; every key but source and target has a default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    source: PathBuf,
    target: PathBuf,
    changesets: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
    at: Option<AtFile>,
    parts: Option<String>,
    chunk_leaves: Option<u64>,
    app_hash: Option<String>,
    leave_out_memory_stores: Option<bool>,
    switch: Option<bool>,
    follow: Option<bool>,
    switch_at: Option<u64>,
    #[serde(default)]
    tuning: TuningFile,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AtFile {
    Number(u64),
    Word(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TuningFile {
    workers: Option<usize>,
    memory_mib: Option<usize>,
    reserve_mib: Option<u64>,
    every_seconds: Option<f64>,
    checkpoints_mib: Option<u64>,
    mib_per_second: Option<u64>,
    r#yield: Option<String>,
}

/// Reads a plan file. Relative paths in it are relative to the file.
///
/// # Errors
/// [`PlanError`], naming the file and the place in it.
pub fn read(path: &Path) -> Result<(Paths, Plan, Tuning), PlanError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| PlanError::Unreadable { path: path.to_owned(), source })?;
    let malformed = |what: String| PlanError::Malformed { path: path.to_owned(), what };
    let file: PlanFile = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let value = |error: PlanError| malformed(error.to_string());
    let base = path.parent().unwrap_or(Path::new(""));
    let paths = Paths {
        source: base.join(file.source),
        target: base.join(file.target),
        changesets: file.changesets.map(|path| base.join(path)),
        checkpoint: file.checkpoint.map(|path| base.join(path)),
    };
    let at = match file.at {
        None => At::Latest,
        Some(AtFile::Number(version)) => version.to_string().parse().map_err(value)?,
        Some(AtFile::Word(word)) => word.parse().map_err(value)?,
    };
    let plan = Plan {
        at,
        parts: file.parts.as_deref().unwrap_or("sc+ss").parse().map_err(value)?,
        chunk_leaves: file.chunk_leaves.unwrap_or(CHUNK_LEAVES),
        app_hash: file
            .app_hash
            .map(|text| text.parse().map_err(|error| malformed(format!("app_hash: {error}"))))
            .transpose()?,
        leave_out_memory_stores: file.leave_out_memory_stores.unwrap_or(false),
    };
    let defaults = Tuning::default();
    let tuning = Tuning {
        workers: file.tuning.workers.unwrap_or(defaults.workers),
        memory: file.tuning.memory_mib.map_or(defaults.memory, |mib| mib.saturating_mul(1 << 20)),
        reserve: file.tuning.reserve_mib.map_or(defaults.reserve, |mib| mib.saturating_mul(1 << 20)),
        switch: file.switch.unwrap_or(defaults.switch),
        follow: file.follow.unwrap_or(defaults.follow),
        switch_at: file.switch_at.map(Version),
        every: file.tuning.every_seconds.map_or(Ok(defaults.every), seconds).map_err(value)?,
        checkpoints: file.tuning.checkpoints_mib.map(|mib| mib.saturating_mul(1 << 20)),
        bytes_per_second: file.tuning.mib_per_second.and_then(mib_per_second),
        yielding: file.tuning.r#yield.map_or(Ok(defaults.yielding), |word| word.parse()).map_err(value)?,
    };
    plan.check().map_err(value)?;
    tuning.check().map_err(value)?;
    Ok((paths, plan, tuning))
}

/// A time between two checkpoints, from seconds.
///
/// # Errors
/// [`PlanError::Value`] if it is no such time.
pub fn seconds(seconds: f64) -> Result<Duration, PlanError> {
    let wrong = || PlanError::Value(format!("every is {seconds} seconds, it must be 0 to 86400"));
    if !(0.0..=86400.0).contains(&seconds) {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// A limit as it is given, in MiB per second; 0 is no limit.
#[must_use]
pub fn mib_per_second(mib: u64) -> Option<u64> {
    (mib > 0).then(|| mib.saturating_mul(1 << 20))
}

impl Plan {
    /// The plan with every default: the latest version, SC and SS.
    #[must_use]
    pub fn new() -> Plan {
        Plan {
            at: At::Latest,
            parts: Parts::Both,
            chunk_leaves: CHUNK_LEAVES,
            app_hash: None,
            leave_out_memory_stores: false,
        }
    }

    /// Checks that values are in range.
    ///
    /// # Errors
    /// [`PlanError::Value`].
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=1 << 22).contains(&self.chunk_leaves) {
            return Err(PlanError::Value(format!("chunk_leaves is {}, it must be 1 to 4194304", self.chunk_leaves)));
        }
        if self.at == At::Version(Version(0)) {
            return Err(PlanError::Value("version 0 has no state: the first version of a chain is 1 or later".into()));
        }
        Ok(())
    }

    /// What differs between the plan a job was born with and this one, a line each; nothing if they are equal.
    #[must_use]
    pub fn differences(&self, asked: &Plan) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |name: &str, began: String, now: String| {
            if began != now {
                lines.push(format!("{name}: the job was begun with {began}, now it is {now}"));
            }
        };
        let hash = |hash: Option<Hash>| hash.map_or("none".to_owned(), |hash| hash.to_string());
        compare("at", self.at.to_string(), asked.at.to_string());
        compare("parts", self.parts.to_string(), asked.parts.to_string());
        compare("chunk_leaves", self.chunk_leaves.to_string(), asked.chunk_leaves.to_string());
        compare("app_hash", hash(self.app_hash), hash(asked.app_hash));
        let word = |plan: &Plan| plan.leave_out_memory_stores.to_string();
        compare("leave_out_memory_stores", word(self), word(asked));
        lines
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new()
    }
}

/// How the memory is shared out. Most of it holds subtrees: the more of a store fits, the fewer sorted runs it has, and the
/// less has to be merged when it is brought into its final shape.
impl Tuning {
    /// Bytes for the subtrees that all workers together have in work.
    #[must_use]
    pub fn gulps(&self) -> usize {
        self.memory / 16 * 11
    }

    /// Bytes for the source's block cache. Gulps read past it; only what is looked up here and there goes through it.
    #[must_use]
    pub fn source_cache(&self) -> usize {
        self.memory / 32
    }

    /// Bytes for the block cache of one engine of the target.
    #[must_use]
    pub fn engine_cache(&self) -> usize {
        self.memory / 16
    }

    /// Bytes for what trees grow by while versions are applied. Less than [`Tuning::gulps`]: the engines' write buffers are
    /// in use then.
    #[must_use]
    pub fn stretches(&self) -> usize {
        self.memory / 2
    }

    /// Checks that values are in range.
    ///
    /// # Errors
    /// [`PlanError::Value`].
    pub fn check(&self) -> Result<(), PlanError> {
        if !(1..=64).contains(&self.workers) {
            return Err(PlanError::Value(format!("workers is {}, it must be 1 to 64", self.workers)));
        }
        if self.memory < LEAST_MEMORY {
            return Err(PlanError::Value("memory_mib is below 32, which is too little for any useful buffer".into()));
        }
        Ok(())
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Latest => f.write_str("latest"),
            At::Oldest => f.write_str("oldest"),
            At::Version(version) => version.fmt(f),
        }
    }
}

impl FromStr for At {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<At, PlanError> {
        match text {
            "latest" => Ok(At::Latest),
            "oldest" => Ok(At::Oldest),
            number => match number.parse() {
                Ok(version) if version <= Version::MAX.0 => Ok(At::Version(Version(version))),
                _ => Err(PlanError::Value(format!("at is {text:?}, it must be \"latest\", \"oldest\" or a version"))),
            },
        }
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Parts::Both => "sc+ss",
            Parts::Sc => "sc",
            Parts::Ss => "ss",
        })
    }
}

impl FromStr for Parts {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Parts, PlanError> {
        match text {
            "sc+ss" => Ok(Parts::Both),
            "sc" => Ok(Parts::Sc),
            "ss" => Ok(Parts::Ss),
            _ => Err(PlanError::Value(format!("parts is {text:?}, it must be \"sc+ss\", \"sc\" or \"ss\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Paths, Plan, Tuning), PlanError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        std::fs::write(&path, text).unwrap();
        read(&path).map(|(paths, plan, tuning)| {
            let cut = |path: &Path| path.strip_prefix(dir.path()).map(Path::to_owned).unwrap_or(path.to_owned());
            let changesets = paths.changesets.as_deref().map(cut);
            let (source, target) = (cut(&paths.source), cut(&paths.target));
            (Paths { source, target, changesets, checkpoint: paths.checkpoint }, plan, tuning)
        })
    }

    #[test]
    fn a_plan_of_two_paths_has_every_default() {
        let (paths, plan, tuning) = parse("source = \"a\"\ntarget = \"/b\"").unwrap();
        assert_eq!(paths, Paths { source: "a".into(), target: "/b".into(), ..Paths::default() });
        assert_eq!(plan, Plan::new());
        assert_eq!(tuning, Tuning::default());
        let (paths, _, _) = parse("source = \"a\"\ntarget = \"/b\"\nchangesets = \"c\"").unwrap();
        assert_eq!(paths.changesets, Some("c".into()));
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused_with_their_name() {
        for (text, name) in [
            ("chunk_leafs = 3", "chunk_leafs"),
            ("chunk_leaves = 0", "chunk_leaves"),
            ("at = \"newest\"", "newest"),
            ("at = 0", "version 0"),
            ("parts = \"cs\"", "cs"),
            ("app_hash = \"12\"", "app_hash"),
            ("[tuning]\nworkers = 0", "workers"),
            ("[tuning]\nyield = \"never\"", "never"),
        ] {
            let error = parse(&format!("source = \"a\"\ntarget = \"b\"\n{text}")).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn the_default_memory_fits_what_a_process_may_have() {
        assert_eq!(memory_within(u64::MAX), 192 << 20);
        assert_eq!(memory_within(512 << 20), 192 << 20);
        assert_eq!(memory_within(256 << 20), 96 << 20);
        assert_eq!(memory_within(1 << 20), 32 << 20);
    }

    #[test]
    fn every_changed_value_of_a_plan_is_listed() {
        let plan = Plan::new();
        let (at, app_hash) = (At::Oldest, Some(Hash::EMPTY));
        let other = Plan { at, parts: Parts::Ss, chunk_leaves: 5, app_hash, leave_out_memory_stores: true };
        assert_eq!(plan.differences(&plan), Vec::<String>::new());
        assert_eq!(plan.differences(&other).len(), 5);
    }
}
