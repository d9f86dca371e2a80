//! The record of an event, for people: what the machine needs of it is in the state. Frozen with journal format 1, as all records.

use crate::{
    machine::{Event, State},
    model::Hash,
};
use serde::{Deserialize, Serialize};

/// An event with its time; `detail` is for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event1 {
    /// Unix milliseconds when it was recorded.
    pub at_ms: u64,
    /// The event's name.
    pub name: String,
    /// What it says, in words.
    pub detail: String,
    /// The phase after it.
    pub phase: String,
}

impl Event1 {
    /// An event as it is recorded.
    pub fn new(at_ms: u64, event: &Event, after: &State) -> Event1 {
        let list = |ids: &[u64]| match (ids.iter().min(), ids.iter().max()) {
            (Some(first), Some(last)) if first < last => format!("{} chunks, {first} to {last}", ids.len()),
            (Some(only), _) => format!("chunk {only}"),
            _ => String::new(),
        };
        let app_hash =
            |hash: Option<Hash>| hash.map_or("pairs only, there are no roots".to_owned(), |h| format!("app hash {h}"));
        let detail = match event {
            Event::Snapshotted { chunks } => format!("{chunks} chunks"),
            Event::Restored { chunks } | Event::Proven { chunks } => list(chunks),
            Event::Concluded(verified) | Event::Checked(verified) => app_hash(verified.app_hash()),
            Event::Applied { to } => format!("up to version {to}"),
            Event::Fenced { version } => format!("at version {version}"),
            Event::Halted(verdict) => verdict.to_string(),
            Event::Repaired { reopened: Some(chunk) } => format!("chunk {chunk} is open again"),
            Event::SwitchUndone { why } => why.clone(),
            Event::Renewed { height, why, .. } => {
                format!("epoch {}: another snapshot, at version {height}, because {why}", after.epoch)
            }
            Event::Joined | Event::SwitchStarted | Event::Flipped | Event::Aborted => String::new(),
            Event::Repaired { reopened: None } | Event::Returned | Event::Finished => String::new(),
        };
        Event1 { at_ms, name: event.name().to_owned(), detail, phase: after.phase.name().to_owned() }
    }
}
