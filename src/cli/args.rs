//! Arguments as typed, and how they become a plan.

use crate::{
    model::{Hash, Version},
    plan::{self, At, Parts, Paths, Plan, PlanError, Tuning, Yielding},
};
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::path::PathBuf;

/// Moves a Cosmos SDK chain's state from store/v1 to store/v2, proven and resumable
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A first migration:
  storeshift plan --source ~/.app/data/application.db --target ~/.app/data/v2
  storeshift run  --source ~/.app/data/application.db --target ~/.app/data/v2

Stop it any way you like, even with kill -9: the same command again continues.
The source is opened strictly read only. A node may go on running: what is
migrated then is a checkpoint of its database, made of hard links.

Exit codes:
  0  done, or nothing to do
  1  a bug in storeshift
  2  wrong options or plan
  3  stopped cleanly, or the environment failed: run again to continue
  4  blocked: somebody must act first (locked, plan changed, refused)
  5  data disagrees: damage, or a mismatch with store/v1

Environment:
  STORESHIFT_LOG  log filter, e.g. info or storeshift=debug (default: warn)";

const DOCTOR_HELP: &str = "\
What it does:
  1. walks over every record once: what there is of each kind, which versions have roots
  2. proves every tree of the newest version, as `run` does; where one does not prove, it
     walks on beside the damage, so that all of it is named and not just the first
  3. walks what each older version has of its own, down to the oldest, so that it is known
     of every retained version whether it is whole

How to read it:
  damage   a retained version cannot be read as it was committed. It names the node, its
           parent, the store, the newest version that has it, and how many keys are below
  notice   worth knowing, in no migration's way: what crashes, pruning and upgrades leave

The stock export of such a tree ends early without an error: one missing node gives a
smaller tree that looks valid. `doctor` and `run` never take it for one.

Stop the node first, or give a copy. Nothing is written, not even a lock.

Examples:
  storeshift doctor --source ~/.app/data/application.db
  storeshift doctor --source application.db --latest-only   # fast; says nothing of history
  storeshift doctor --source application.db --at 1200000 --json

Exit codes: 0 no damage (there may be notices), 5 damage, others as for every command.";

const SWITCH_HELP: &str = "\
What it does:
  1. asks the running `storeshift run` to make ready: everything applied, the target's files
     in their final form; the node goes on meanwhile
  2. says how long the chain will stand still, and when to stop the node
  3. once the node has let go of its database: one more checkpoint, its versions applied and
     proven, every app hash compared, and the flip. The database's lock is held meanwhile

It ends as done; or as undone, the node may be started again and is followed as before; or,
where the target disagrees with store/v1, halted, and the node may be started again.

Examples:
  storeshift switch --target ~/.app/data/v2                      # wherever the node is stopped
  storeshift switch --target ~/.app/data/v2 --at-height 1200000  # with halt-height in app.toml
  storeshift switch --target ~/.app/data/v2 --max-pause 10 --within 600
  storeshift switch --target ~/.app/data/v2 --cancel";

#[derive(Debug, ClapArgs)]
pub struct SwitchArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Switch at this version and no other: nothing beyond it is applied, and the node has to stop there
    #[arg(long, value_name = "VERSION")]
    pub at_height: Option<u64>,
    /// Do not begin while the chain is expected to stand still for longer than this
    #[arg(long, value_name = "SECONDS")]
    pub max_pause: Option<f64>,
    /// Give up if the switch has not begun by then
    #[arg(long, value_name = "SECONDS")]
    pub within: Option<u64>,
    /// Ask and return, instead of waiting for the end
    #[arg(long)]
    pub no_wait: bool,
    /// Take the request back
    #[arg(long, conflicts_with_all = ["at_height", "max_pause", "within", "no_wait"])]
    pub cancel: bool,
}

#[derive(Debug, ClapArgs)]
pub struct BackArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// The store/v1 database that was migrated (with --plan: the plan's)
    #[arg(long, value_name = "DIR", conflicts_with = "plan")]
    pub source: Option<PathBuf>,
    /// Consent to losing so many versions, which store/v2 has and store/v1 has not
    #[arg(long, value_name = "VERSIONS", default_value_t = 0)]
    pub lose: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a migration would do: stores, keys, bytes, disk space, time. Writes nothing
    Plan(PlanArgs),
    /// Examine a store/v1 database: name all damage, and say which versions can be migrated. Writes nothing
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Migrate, or continue a migration, until it is done
    Run(RunArgs),
    /// Show how far a migration is, also while it runs
    Status(StatusArgs),
    /// Ask for the switch beside a running node: now, or at a height; or take that back
    #[command(after_help = SWITCH_HELP)]
    Switch(SwitchArgs),
    /// After the switch: give the chain back to store/v1
    Back(BackArgs),
    /// After the switch: it stays; from then on there is no way back, and the store/v1 database may be removed
    Finish(TargetArgs),
    /// Pause a migration, now or from its next run on; what is in work is finished first. `touch TARGET/PAUSE` does so too
    Pause(TargetArgs),
    /// Let a paused migration go on
    Resume(TargetArgs),
    /// Limit bytes per second and workers of a migration, also while it runs; without options show the limits
    #[command(after_help = super::control::LIMIT_HELP)]
    Limit(super::control::LimitArgs),
    /// Prove a finished target again, chunk by chunk; name what is damaged, and repair it
    Verify(VerifyArgs),
    /// Give a migration up: wipe the target and its journal. The source is as it was
    Abort(TargetArgs),
    /// Show everything a migration has recorded
    Journal(JournalArgs),
}

#[derive(Debug, ClapArgs)]
pub struct What {
    /// The application.db directory of the node (store/v1, on goleveldb, PebbleDB or RocksDB), or a state sync snapshot,
    /// data/snapshots/HEIGHT/FORMAT
    #[arg(long, value_name = "DIR", required_unless_present = "plan", conflicts_with = "plan")]
    source: Option<PathBuf>,
    /// A directory of changeset files with the versions after the source's newest
    #[arg(long, value_name = "DIR", conflicts_with = "plan")]
    changesets: Option<PathBuf>,
    /// The directory to migrate into; gets sc/, ss/ and journal/
    #[arg(long, value_name = "DIR", required_unless_present = "plan", conflicts_with = "plan")]
    target: Option<PathBuf>,
    /// Read everything from a plan file instead (see migrations/ for commented ones)
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Which version: latest, oldest (all retained history), or a number
    #[arg(long, value_name = "VERSION", conflicts_with = "plan")]
    at: Option<String>,
    /// What to write: sc+ss, sc (trees and proofs only) or ss (flat pairs only)
    #[arg(long, value_name = "PARTS", conflicts_with = "plan")]
    parts: Option<String>,
    /// The app hash you trust for that version, from the header of the block after it; refuse if it differs. A snapshot
    /// has none of its own and needs it
    #[arg(long, value_name = "HEX", conflicts_with = "plan")]
    app_hash: Option<String>,
    /// Leave out memory stores, which SDK 0.46 and older counted into the app hash and no store/v2 has: the hash over the
    /// IAVL stores alone is proven instead
    #[arg(long, conflicts_with = "plan")]
    leave_out_memory_stores: bool,
    /// Most pairs of a chunk [default: 8192]
    #[arg(long, value_name = "N", conflicts_with = "plan")]
    chunk_leaves: Option<u64>,
    /// Chunks in work at the same time [default: one per core, 8 at most]
    #[arg(long, value_name = "N", help_heading = "Tuning, free to change between runs")]
    workers: Option<usize>,
    /// Memory for buffers and caches, in MiB [default: 192, less where the process may have less than 512]
    #[arg(long, value_name = "MIB", help_heading = "Tuning, free to change between runs")]
    memory_mib: Option<usize>,
    /// Disk space to leave free, in MiB; the run stops before it goes below [default: 1024]
    #[arg(long, value_name = "MIB", help_heading = "Tuning, free to change between runs")]
    reserve_mib: Option<u64>,
    /// Make the checkpoint of a running node's database in this directory, best on the database's disk; also if no lock is seen
    /// [default: in the target]
    #[arg(long, value_name = "DIR", help_heading = "Tuning, free to change between runs")]
    checkpoint: Option<PathBuf>,
    /// Bytes that are read and written in a second at most, in MiB; 0 is no limit. `limit` changes it while it runs [default: 0]
    #[arg(long, value_name = "MIB", help_heading = "Tuning, free to change between runs")]
    mib_per_second: Option<u64>,
    /// When to yield to a node on this machine: auto (beside a running node), strict (what cannot be measured counts as
    /// pressure) or off [default: auto]
    #[arg(long = "yield", value_name = "WHEN", help_heading = "Tuning, free to change between runs")]
    yielding: Option<String>,
    /// Stop when everything is applied; do not switch to store/v2 yet
    #[arg(long, help_heading = "Tuning, free to change between runs")]
    no_switch: bool,
    /// Beside a running node: migrate one checkpoint of it and end there, instead of following the node until the switch
    #[arg(long, help_heading = "Beside a running node, free to change between runs")]
    once: bool,
    /// Ask for the switch at this version from the start; as `storeshift switch --at-height` does later
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["once", "no_switch"], help_heading = "Beside a running node, free to change between runs")]
    switch_at: Option<u64>,
    /// Least time between two checkpoints [default: 5]
    #[arg(long, value_name = "SECONDS", help_heading = "Beside a running node, free to change between runs")]
    every: Option<f64>,
    /// Disk space that only checkpoints may hold on to, in MiB; the run stops before it is exceeded for long [default: a quarter of
    /// what is free]
    #[arg(long, value_name = "MIB", help_heading = "Beside a running node, free to change between runs")]
    checkpoints_mib: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct PlanArgs {
    #[command(flatten)]
    pub what: What,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// The application.db directory of the node (store/v1)
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,
    /// Prove this version instead of the newest, and no other
    #[arg(long, value_name = "VERSION")]
    pub at: Option<u64>,
    /// Prove the newest version only, and do not walk older ones
    #[arg(long, conflicts_with = "at")]
    pub latest_only: bool,
    /// A node has the database open: examine a checkpoint, made of hard links in this directory (on the database's disk) and
    /// removed afterwards
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Print JSON; names are stable
    #[arg(long)]
    pub json: bool,
    /// Stores or chunks in work at the same time [default: one per core, 8 at most]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory for buffers, caches and marks, in MiB [default: 192, less where the process may have less than 512]
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<usize>,
}

impl DoctorArgs {
    /// The tuning these arguments mean.
    pub fn tuning(&self) -> Result<Tuning, PlanError> {
        let mut tuning = Tuning::default();
        if let Some(workers) = self.workers {
            tuning.workers = workers;
        }
        if let Some(mib) = self.memory_mib {
            tuning.memory = mib.saturating_mul(1 << 20);
        }
        tuning.check()?;
        Ok(tuning)
    }
}

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    #[command(flatten)]
    pub what: What,
}

#[derive(Debug, ClapArgs)]
pub struct TargetArgs {
    /// The target directory of the migration
    #[arg(long, value_name = "DIR", required_unless_present = "plan", conflicts_with = "plan")]
    target: Option<PathBuf>,
    /// The plan file of the migration
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct StatusArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print JSON; field names are stable
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct JournalArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print JSON, one event a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Compare with the source too (with --plan: the plan's)
    #[arg(long, value_name = "DIR", conflicts_with = "plan")]
    source: Option<PathBuf>,
    /// The changeset files of the migration, if it had any (with --plan: the plan's)
    #[arg(long, value_name = "DIR", requires = "source", conflicts_with = "plan")]
    changesets: Option<PathBuf>,
    /// With --plan: do not touch the source
    #[arg(long, requires = "plan")]
    without_source: bool,
    /// Redo damaged chunks from the source
    #[arg(long)]
    pub repair: bool,
}

impl What {
    /// Paths, plan and tuning these arguments mean.
    pub fn resolve(self) -> Result<(Paths, Plan, Tuning), PlanError> {
        let (mut paths, plan, mut tuning) = match (self.plan, self.source, self.target) {
            (Some(file), _, _) => plan::read(&file)?,
            (None, Some(source), Some(target)) => {
                let mut plan = Plan::new();
                if let Some(at) = self.at {
                    plan.at = at.parse::<At>()?;
                }
                if let Some(parts) = self.parts {
                    plan.parts = parts.parse::<Parts>()?;
                }
                if let Some(hash) = self.app_hash {
                    let value = |error| PlanError::Value(format!("--app-hash: {error}"));
                    plan.app_hash = Some(hash.parse::<Hash>().map_err(value)?);
                }
                if let Some(leaves) = self.chunk_leaves {
                    plan.chunk_leaves = leaves;
                }
                plan.leave_out_memory_stores = self.leave_out_memory_stores;
                (Paths { source, target, changesets: self.changesets, checkpoint: None }, plan, Tuning::default())
            }
            _ => return Err(PlanError::Value("give --source and --target, or --plan".to_owned())),
        };
        if let Some(directory) = self.checkpoint {
            paths.checkpoint = Some(directory);
        }
        if let Some(workers) = self.workers {
            tuning.workers = workers;
        }
        if let Some(mib) = self.memory_mib {
            tuning.memory = mib.saturating_mul(1 << 20);
        }
        if let Some(mib) = self.reserve_mib {
            tuning.reserve = mib.saturating_mul(1 << 20);
        }
        if let Some(mib) = self.mib_per_second {
            tuning.bytes_per_second = plan::mib_per_second(mib);
        }
        if let Some(word) = self.yielding {
            tuning.yielding = word.parse::<Yielding>()?;
        }
        if self.no_switch {
            tuning.switch = false;
        }
        if self.once {
            tuning.follow = false;
        }
        if let Some(version) = self.switch_at {
            tuning.switch_at = Some(Version(version));
        }
        if let Some(seconds) = self.every {
            tuning.every = plan::seconds(seconds)?;
        }
        if let Some(mib) = self.checkpoints_mib {
            tuning.checkpoints = Some(mib.saturating_mul(1 << 20));
        }
        plan.check()?;
        tuning.check()?;
        Ok((paths, plan, tuning))
    }
}

impl TargetArgs {
    /// The target directory these arguments mean, and all paths if a plan file names them.
    pub fn resolve(&self) -> Result<(PathBuf, Option<Paths>, Tuning), PlanError> {
        match (&self.target, &self.plan) {
            (Some(target), _) => Ok((target.clone(), None, Tuning::default())),
            (None, Some(file)) => {
                let (paths, _, tuning) = plan::read(file)?;
                Ok((paths.target.clone(), Some(paths), tuning))
            }
            (None, None) => Err(PlanError::Value("give --target or --plan".to_owned())),
        }
    }
}

impl VerifyArgs {
    /// Target, what to compare it with if that is wanted, and tuning.
    pub fn resolve(&self) -> Result<(PathBuf, Option<Paths>, Tuning), PlanError> {
        let (target, planned, tuning) = self.target.resolve()?;
        let given = self.source.clone().map(|source| Paths {
            source,
            target: target.clone(),
            changesets: self.changesets.clone(),
            checkpoint: None,
        });
        let source = given.or(planned).filter(|_| !self.without_source);
        if self.repair && source.is_none() {
            return Err(PlanError::Value(
                "--repair redoes chunks from the source: give --source, or --plan without --without-source".to_owned(),
            ));
        }
        Ok((target, source, tuning))
    }
}
