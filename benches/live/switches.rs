//! Many switches of small chains, some of them killed while they are made.

use super::{
    blocks::{Twin, stream},
    kill::{Kill, STAGES},
    knobs::Knobs,
    node,
    trial::{Switched, trial},
};
use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

/// Chains that never migrate, by seed.
pub type Twins = BTreeMap<u64, Twin>;

/// So many chains in a row are the same one.
const SAME: u64 = 100;

/// One switch, in a directory of its own that is removed if all is well.
pub fn switch(work: &Path, knobs: &Knobs, number: u64, twins: &mut Twins) -> Result<Switched, String> {
    let words = |error: std::io::Error| error.to_string();
    let seed = knobs.seed * 1000 + number / SAME;
    let dir = work.join(format!("switch-{number}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(words)?;
    }
    fs::create_dir_all(&dir).map_err(words)?;
    let mut draw = stream(&[knobs.seed, 0x5717c4, number]);
    // At a stage, or at a moment after it: a switch takes about as long as this.
    let kill = (draw() % 100 < knobs.kills).then(|| {
        let stage = STAGES[(draw() % STAGES.len() as u64) as usize];
        let longest = if stage == STAGES[0] { 30_000 } else { 1500 };
        let after = if draw().is_multiple_of(2) && stage != STAGES[0] { 0 } else { draw() % longest };
        Kill { stage: stage.to_owned(), after: Duration::from_micros(after) }
    });
    let program = std::env::current_exe().map_err(words)?;
    let command = |kill: Option<&Kill>| {
        let mut command = Command::new(&program);
        command.arg("node").arg(&dir).arg(seed.to_string()).args(kill.map(Kill::text));
        command
    };
    let twin = twins.entry(seed).or_insert_with(|| Twin::new(node::chain(seed)));
    let switched = trial(&dir, &command, twin, kill.as_ref())
        .map_err(|error| format!("switch {number} ({}, {kill:?}): {error}", dir.display()))?;
    fs::remove_dir_all(&dir).map_err(words)?;
    Ok(switched)
}
