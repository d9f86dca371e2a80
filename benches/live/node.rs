//! A node with a small state that is begun, migrates itself, and says every commit before it makes the next one. It may be killed at
//! any moment, and goes on where it is when it is started again.

use super::{
    blocks::{Chain, digest},
    kill::{Kill, STAGES},
    pace::Pace,
};
use std::{io::Write, path::Path, time::Duration};
use storeshift::{
    live::{Begin, Keeping, LiveStore, Places},
    plan::{Tuning, Yielding},
    root_store::{Options, Pruning},
};
use tracing_subscriber::layer::SubscriberExt;

/// From one block to the next, at first.
const PACE: Duration = Duration::from_millis(15);
/// After so many blocks it takes as long again: on a machine that others keep busy a migration, which gives way to them, cannot follow a chain
/// of that pace, and a chain that cannot be followed is not switched.
const PATIENCE: u64 = 500;
/// The migration begins with this height.
const BEGIN: u64 = 6;
/// Blocks on store/v2 after the switch.
const AFTER: u64 = 8;
/// A chain that is not switched by then is not switched at all.
const LAST: u64 = 5_000;

/// A state that is migrated in a moment.
pub fn chain(seed: u64) -> Chain {
    Chain { seed, stores: 4, keys: 3000, genesis: 2, changes: 100 }
}

pub fn places(dir: &Path) -> Places {
    Places { v1: dir.join("application.db"), v2: dir.join("v2") }
}

/// The node alone: what it says goes to `out`, a line each.
///
/// `open HEIGHT HASH`, `commit HEIGHT HASH v1|v2 MICROSECONDS`, `asked`, and `pairs HEIGHT DIGEST` at the end.
///
/// Of a `kill` it sends itself `SIGKILL`: at a stage of the switch, or so long after it.
pub fn node(dir: &Path, seed: u64, kill: Option<Kill>, out: &mut dyn Write) -> Result<(), String> {
    let killer = kill.as_ref().map(Kill::wait);
    if let Some(killer) = &killer {
        let killer = tracing_subscriber::registry().with(killer.clone());
        tracing::subscriber::set_global_default(killer).map_err(|error| error.to_string())?;
    }
    let chain = chain(seed);
    let pruning = Pruning::Keep { recent: 20, interval: 5 };
    let keeping = Keeping { store: Options { pruning, ..Options::default() }, ..Keeping::default() };
    let mut say = |line: String| {
        let said = writeln!(out, "{line}").and_then(|()| out.flush());
        said.map_err(|error| error.to_string())
    };
    let mut store = LiveStore::open(&places(dir), keeping, None).map_err(|error| error.to_string())?;
    if let Some(latest) = store.latest() {
        say(format!("open {} {}", latest.version, latest.app_hash()))?;
    }
    let mut pace = Pace::new(PACE);
    let (mut begun, mut asked, mut after) = (store.is_migrating(), store.is_migrating(), 0);
    loop {
        let committed = pace.commit(&store, &chain)?;
        let every = PACE * u32::try_from(1 + committed.height / PATIENCE).unwrap_or(u32::MAX);
        if committed.late > every || committed.height % PATIENCE == 0 {
            // It does not make up for what it is late: a chain that never rests is not switched.
            pace = Pace::new(every);
        }
        let layout = if committed.is_v2 { "v2" } else { "v1" };
        say(format!("commit {} {} {layout} {}", committed.height, committed.hash, committed.latency.as_micros()))?;
        if committed.is_v2 {
            after += 1;
            if after < AFTER {
                continue;
            }
            for height in [committed.height - AFTER / 2, committed.height] {
                say(format!("pairs {height} {}", digest(&store, &chain, height)?))?;
            }
            return Ok(());
        }
        if !begun && committed.height >= BEGIN {
            begun = true;
            let tuning = Tuning { memory: 32 << 20, reserve: 0, yielding: Yielding::Off, ..Tuning::default() };
            let begin = Begin { switch: false, tuning, ..Begin::new() };
            store.migrate(begin).map_err(|error| error.to_string())?;
        } else if begun && !store.is_migrating() && store.source().is_some() {
            return Err(format!("the migration ended without a switch: {:?}", store.wait()));
        } else if begun && !asked && store.status().is_some_and(|status| status.phase == "Syncing") {
            asked = true;
            say("asked".to_owned())?;
            killer.iter().for_each(|killer| killer.reached(STAGES[0]));
            store.switch(true);
        } else if committed.height > LAST {
            return Err(format!("not switched at height {LAST}: {:?}", store.status()));
        }
    }
}
