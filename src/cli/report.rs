//! Words for people and JSON for machines. With `diagnosis` the only place that prints.

use super::control::Asked;
use crate::{
    error::Error,
    journal::{EventRecord, Job, SwitchRequest},
    machine::State,
    migrator::{Estimate, Migrator, Outcome, Returned, Status, Switch, guard, verify::Findings},
    model::{Manifest, Version},
    plan::{Parts, Paths, Plan},
    source::checkpoint::Checkpoint,
};
use serde::Serialize;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// A line of progress, on standard error.
pub fn line(text: &str) {
    eprintln!("{text}");
}

/// An error with what is safe and what to do next, on standard error.
pub fn error(error: &Error) {
    eprintln!("error: {error}");
    eprintln!("{}", error.advice());
}

pub fn json<T: Serialize>(value: &T) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: {error}"),
    }
}

pub fn json_line<T: Serialize>(value: &T) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: {error}"),
    }
}

/// Bytes in the unit that fits.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Seconds in the units that fit.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

pub fn estimate(estimate: &Estimate, paths: &Paths, plan: &Plan, checkpoint: Option<&Checkpoint>) {
    println!("source     {} ({}, newest version {})", paths.source.display(), estimate.engine, estimate.latest);
    if checkpoint.is_some() {
        println!(
            "           a node has it open: a run migrates a checkpoint of it, made of hard links; so did this look"
        );
    }
    println!("target     {} ({})", paths.target.display(), meaning(plan.parts));
    println!("snapshot   version {}, app hash {}", estimate.height, estimate.chain_app_hash);
    if !estimate.memory_stores.is_empty() {
        println!("left out   memory stores, which no store/v2 has: {}", estimate.memory_stores.join(", "));
        println!("           proven instead is the hash over the IAVL stores alone, {}", estimate.app_hash);
    }
    if estimate.height < estimate.latest {
        let (from, to) = (estimate.height + 1, estimate.latest);
        println!("history    versions {from} to {to} are applied after the snapshot");
    }
    println!();
    println!("{:<24} {:>14} {:>14} {:>12}", "store", "keys", "nodes", "pairs about");
    for store in &estimate.stores {
        println!("{:<24} {:>14} {:>14} {:>12}", store.name, store.keys, store.nodes, bytes(store.pair_bytes));
    }
    println!("{:<24} {:>14} {:>14} {:>12}", "all", estimate.keys, estimate.nodes, bytes(estimate.pair_bytes));
    println!();
    println!(
        "disk       about {} needed at most, {} free, {} to be left",
        bytes(estimate.disk_needed),
        estimate.disk_free.map_or("unknown".to_owned(), bytes),
        bytes(estimate.disk_reserve)
    );
    if estimate.spool_bytes > 0 {
        println!("spool      {} of it to unpack the snapshot, until the job is done", bytes(estimate.spool_bytes));
    }
    println!("time       about {} for the snapshot", duration(estimate.seconds as f64));
    for note in &estimate.notes {
        println!("note       {note}");
    }
    println!("The source is only read. Nothing was written.");
}

/// Said beside an app hash that is not quite the chain's.
const LEFT_OUT: &str =
    "over the IAVL stores alone: memory stores, which no store/v2 has, are left out as the plan says";

fn meaning(parts: Parts) -> &'static str {
    match parts {
        Parts::Both => "SC and SS",
        Parts::Sc => "SC only: trees and proofs at every migrated version, no flat pairs for queries",
        Parts::Ss => "SS only: flat pairs for queries; no trees, so v2 roots do not exist and cannot be recomputed",
    }
}

pub fn begins(job: &Migrator, paths: &Paths) {
    let events = job.recorder().journal().event_count();
    let verb = if events == 0 { "begins" } else { "continues" };
    line(&format!("job {} {verb}: {} -> {}", job.job().id, paths.source.display(), paths.target.display()));
    if let Some((checkpoint, is_new)) = job.checkpoint() {
        let made = if is_new { "a node has the source open; made" } else { "going on with" };
        line(&format!(
            "{made} a checkpoint of it in {}: {} tables linked, {} copied, {} in all",
            checkpoint.path.display(),
            checkpoint.linked,
            checkpoint.copied,
            bytes(checkpoint.bytes)
        ));
    }
    line(&job.recorder().state().phase.to_string());
}

pub fn outcome(outcome: &Outcome, last: &Status, paths: &Paths) {
    match outcome {
        Outcome::Done { version, app_hash } => {
            println!("Done. store/v2 in {} is the store of record from version {version} on.", paths.target.display());
            if last.parts == "ss" {
                println!(
                    "app hash   {app_hash} as store/v1 recorded it; with SS only there are no v2 roots to compare"
                );
            } else {
                println!("app hash   {app_hash} recomputed from the target, equal to store/v1's");
            }
            if last.memory_stores_left_out {
                println!("           {LEFT_OUT}");
            }
        }
        Outcome::CaughtUp { version } => {
            println!(
                "Caught up at version {version}; the switch was not asked for. Run without --no-switch to switch."
            );
        }
    }
    let (chunks, _, proven) = last.chunks;
    println!("chunks     {proven} of {chunks} read back and proven, {} pairs", last.counts.pairs_total);
    println!(
        "this run   {} pairs, {} in {}",
        last.counts.pairs_read,
        bytes(last.counts.bytes),
        duration(last.elapsed_seconds)
    );
    let steps: Vec<String> = last
        .steps
        .iter()
        .filter(|step| step.seconds >= 0.05)
        .map(|step| format!("{} {:.1} s", step.step, step.seconds))
        .collect();
    if !steps.is_empty() {
        println!("steps      {}", steps.join(", "));
    }
    if last.following.is_some() {
        if let Outcome::Done { .. } = outcome {
            println!("{AFTER}");
            if guard::is_placed(&paths.source) {
                println!(
                    "What store/v1 holds is untouched. Where its engine looks for its lock is a directory now, so that no node is started on it\n\
                     by mistake."
                );
                return;
            }
        }
    } else if last.checkpoint.is_some() {
        println!("The node went on meanwhile: what it has committed since the checkpoint is not in the target.");
    }
    println!("The source is untouched and may be kept as long as you like.");
}

/// What to do after the switch.
pub const AFTER: &str = "\
Start the node on store/v2 now, and not on store/v1 again. `storeshift back` gives the chain back to store/v1 while its database is
there; `storeshift finish` says that this will not be needed. Nothing of store/v1 is ever removed by storeshift.";

/// A line about the switch, on standard output.
pub fn switch_line(text: &str) {
    println!("{text}");
}

/// How a switch that is asked for stands.
pub fn switch_words(status: &Status) -> Option<String> {
    let following = status.following.as_ref()?;
    let pause = |switch: &Switch| {
        let ready = if switch.ready { "ready" } else { "not ready" };
        switch
            .predicted_pause
            .map_or(String::new(), |pause| format!("{ready}, the chain stands still for about {pause:.1} s; "))
    };
    let pause = following.switch.as_ref().map_or(String::new(), pause);
    (!following.waiting.is_empty()).then(|| format!("{pause}waiting {}", following.waiting))
}

pub fn returned(returned: &Returned, paths: &Paths) {
    println!("store/v1 in {} is the store of record again, at version {}.", paths.source.display(), returned.tip);
    if returned.lost > 0 {
        println!("lost       {} versions that only store/v2 had; the node executes their blocks again", returned.lost);
    }
    println!("Start the node on store/v1. `storeshift abort --target {}` wipes the target.", paths.target.display());
}

pub fn finished(version: Version, target: &Path) {
    println!("Finished. The chain is on store/v2 in {} for good, since version {version}.", target.display());
    println!("The store/v1 database may be removed; with it goes what can be read below the snapshot's version.");
}

#[derive(Serialize)]
struct StatusReport<'a> {
    running: bool,
    asked: &'a Asked,
    #[serde(flatten)]
    status: &'a Status,
}

pub fn status_json(status: &Status, running: bool, asked: &Asked) {
    json(&StatusReport { running, asked, status });
}

pub fn status(status: &Status, running: bool, asked: &Asked, request: Option<&SwitchRequest>) {
    let age =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()).saturating_sub(status.updated);
    println!("job        {} ({})", status.job, if running { "running" } else { "not running" });
    println!("           {} -> {} ({})", status.source, status.target, status.parts);
    if let Some(checkpoint) = &status.checkpoint {
        println!("           read from the checkpoint {checkpoint}: a node has the source open");
    }
    println!("state      {}", status.summary);
    if let (true, Some(wait)) = (running, &status.wait) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        println!("waits      {} for {}: {}", wait.kind, duration(now.saturating_sub(wait.since) as f64), wait.why);
    }
    if !matches!(status.phase.as_str(), "Done" | "Aborted") {
        asked.lines().iter().for_each(|line| println!("asked      {line}"));
        // A run that is there says itself how far it is with that.
        if let Some(request) = request.filter(|_| !running) {
            let at = request.height.map_or(String::new(), |height| format!(" at version {height}"));
            println!("asked      to switch{at}: the next run does; `storeshift switch --cancel` takes that back");
        }
    }
    if let (true, Some(limits)) = (running, &status.limits) {
        let rate =
            limits.bytes_per_second.map_or("no limit on bytes".to_owned(), |limit| format!("{}/s", bytes(limit)));
        println!("limits     {rate}, {} workers, yields: {}", limits.workers, limits.yielding);
        limits.notes.iter().filter(|note| !note.starts_with("ignored")).for_each(|note| println!("           {note}"));
    }
    println!("app hash   {} at version {}", status.app_hash, status.height.unwrap_or(0));
    if status.memory_stores_left_out {
        println!("           {LEFT_OUT}");
    }
    let (chunks, restored, proven) = status.chunks;
    println!("chunks     {chunks}: {restored} durable, {proven} read back and proven");
    println!(
        "speed      {:.0} pairs/s, {}/s over {}",
        status.pairs_per_second,
        bytes(status.bytes_per_second as u64),
        duration(status.elapsed_seconds)
    );
    if let Some(following) = &status.following {
        if let Some(words) = following.words() {
            println!("node       at version {}: {words}", following.tip);
        }
        if let (true, Some(seconds)) =
            (running, following.seconds_to_catch_up.filter(|_| following.trend == "shrinking"))
        {
            println!("           caught up in about {}", duration(seconds));
        }
        if running && !following.waiting.is_empty() {
            println!("waiting    {}", following.waiting);
        }
        if following.checkpoints > 0 {
            println!("held       {} in {} checkpoints", bytes(following.checkpoint_bytes), following.checkpoints);
        }
        for (name, what) in [("trouble", &following.trouble), ("undone", &following.last_failure)] {
            if let Some(what) = what {
                println!("{name:<10} {what}");
            }
        }
    }
    if status.epoch > 1 {
        let why = status.epoch_reason.as_ref().map_or(String::new(), |why| format!(", because {why}"));
        println!("snapshots  {}: the job had to begin anew{why}; see `storeshift journal`", status.epoch);
    }
    if let (true, Some(eta)) = (running, status.eta_seconds) {
        println!("left       about {}", duration(eta));
    }
    if let Some(free) = status.disk_free {
        println!("disk       {} free", bytes(free));
    }
    println!("written    {} ago", duration(age as f64));
    if let Some(error) = status.error.as_ref().filter(|_| !running) {
        println!("ended      {error}");
    }
    println!("next       {}", status.next);
}

pub fn findings(findings: &Findings, job: &Migrator, with_source: bool) {
    let parts = job.job().plan.parts;
    match findings.retained {
        None => println!("proven     {} chunks, {} pairs ({})", findings.chunks, findings.pairs, meaning(parts)),
        Some((oldest, newest)) => {
            println!("pruned     the node has pruned the snapshot since; versions {oldest} to {newest} are left");
        }
    }
    if let Some(tip) = findings.tip {
        println!("newest     every tree of version {tip} walked, and SS compared with it pair by pair");
    }
    if with_source && findings.retained.is_some() {
        println!("source     {} app hashes compared", findings.compared);
    } else if with_source {
        println!("source     snapshot taken anew and equal; {} app hashes compared", findings.compared);
    }
    if findings.tops {
        println!("repaired   what is outside of chunks, and proven again");
    }
    for chunk in &findings.repaired {
        println!("repaired   chunk {chunk}, and proven again");
    }
    for damage in &findings.damaged {
        println!("DAMAGED    chunk {} of store {}: {}", damage.id, damage.store, damage.what);
    }
    for verdict in &findings.wrong {
        println!("WRONG      {verdict}");
    }
    if findings.is_sound() {
        println!("The target is sound.");
    }
}

pub fn aborted(target: &Path) {
    println!("Aborted. {} is wiped; the source is as it was.", target.display());
}

pub fn journal(job: &Job, state: &State, manifest: Option<&Manifest>, events: &[EventRecord]) {
    println!("job        {}", job.id);
    println!("plan       at {}, {}, chunks of {} leaves at most", job.plan.at, job.plan.parts, job.plan.chunk_leaves);
    println!("source     {}, snapshot {} with app hash {}", job.source.engine, job.source.height, job.source.app_hash);
    println!("           newest version {} with app hash {}", job.source.tip, job.source.tip_app_hash);
    if job.plan.leave_out_memory_stores {
        println!("           {LEFT_OUT}");
    }
    println!("state      {} (epoch {}, attempt {})", state.phase, state.epoch, state.attempt);
    if let Some(manifest) = manifest {
        println!();
        println!("{:<24} {:>12} {:>8}  root", "store", "keys", "chunks");
        for store in &manifest.stores {
            let root = store.root.map_or("none".to_owned(), |root| root.to_string());
            println!("{:<24} {:>12} {:>8}  {root}", store.name.as_str(), store.leaves, store.chunks);
        }
    }
    println!();
    for (number, event) in events.iter().enumerate() {
        println!("{number:>6}  {:>14}  {:<14} {:<13} {}", event.at_ms, event.name, event.phase, event.detail);
    }
}
