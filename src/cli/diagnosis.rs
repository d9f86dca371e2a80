//! The doctor's report in words for people: the verdict first, then what is damaged by store, what is to be known, the
//! stores, and which versions can be migrated.

use super::report::bytes;
use crate::doctor::{Finding, Report, Severity, StoreReport};
use std::path::Path;

/// Damages of one store that are printed; JSON has more.
const SHOWN: usize = 20;
/// Notices of one kind that are printed.
const FEW: usize = 3;

pub fn print(report: &Report, source: &Path) {
    println!("{}.", report.verdict);
    if let (Some(version), Some(hash)) = (report.proven, &report.app_hash) {
        println!("app hash   {hash} at version {version} ({})", report.engine);
    }
    damages(report);
    notices(report);
    if !report.stores.is_empty() {
        println!();
        stores(&report.stores);
    }
    println!();
    migratable(report, source);
    println!("The source is only read. Nothing was written.");
}

fn damages(report: &Report) {
    let damages: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect();
    let mut rest = damages.as_slice();
    while let Some(first) = rest.first() {
        let of_store = rest.iter().take_while(|finding| finding.store == first.store).count();
        let (here, behind) = rest.split_at(of_store);
        println!();
        match &first.store {
            Some(store) => println!("DAMAGED    store {store}"),
            None => println!("DAMAGED    the database"),
        }
        here.iter().take(SHOWN).for_each(|finding| line(finding));
        if here.len() > SHOWN {
            println!("  ... and {} more; --json has them", here.len() - SHOWN);
        }
        rest = behind;
    }
    let kept = damages.len() as u64;
    if report.damages > kept {
        println!("  {} damages more were counted and not kept", report.damages - kept);
    }
}

fn notices(report: &Report) {
    let notices: Vec<&Finding> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Notice).collect();
    if notices.is_empty() {
        return;
    }
    println!();
    println!("notices    in no migration's way");
    let mut notices = notices;
    notices.sort_by_key(|finding| finding.kind);
    let mut rest = notices.as_slice();
    while let Some(first) = rest.first() {
        let (here, behind) = rest.split_at(rest.iter().take_while(|finding| finding.kind == first.kind).count());
        here.iter().take(FEW).for_each(|finding| line(finding));
        if let Some(hidden) = here.get(FEW..).filter(|hidden| !hidden.is_empty()) {
            println!("  {:<18} ... and {} more; --json has them", "", hidden.len());
        }
        rest = behind;
    }
    let kept = notices.len() as u64;
    if report.notices > kept {
        println!("  {} notices more were counted and not kept", report.notices - kept);
    }
}

fn line(finding: &Finding) {
    let kind = serde_json::to_value(finding.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
    let store = match (&finding.store, finding.severity) {
        (Some(store), Severity::Notice) => format!("store {store}: "),
        _ => String::new(),
    };
    let version = match (finding.version, finding.severity) {
        (Some(version), Severity::Damage) => format!(" [version {version}]"),
        _ => String::new(),
    };
    println!("  {kind:<18} {store}{}{version}", finding.words);
}

fn stores(stores: &[StoreReport]) {
    type Bytes = fn(&StoreReport) -> u64;
    println!("{:<24} {:>12} {:>25} {:>12} {:>10}", "store", "keys", "versions", "records", "bytes");
    for store in stores {
        let keys = match store.keys {
            Some(keys) => keys.to_string(),
            None if store.live => "?".to_owned(),
            None => "deleted".to_owned(),
        };
        let versions = match (store.first_version, store.last_version) {
            (Some(first), Some(last)) if last - first + 1 == store.versions => format!("{first} to {last}"),
            (Some(first), Some(last)) => format!("{} of {first} to {last}", store.versions),
            _ => "none".to_owned(),
        };
        let all = store.records.all();
        println!("{:<24} {keys:>12} {versions:>25} {:>12} {:>10}", store.name, all.records, bytes(all.bytes));
    }
    let sum = |of: fn(&StoreReport) -> u64| stores.iter().map(of).sum::<u64>();
    let (records, all) = (sum(|store| store.records.all().records), sum(|store| store.records.all().bytes));
    println!("{:<24} {:>12} {:>25} {records:>12} {:>10}", "all", sum(|s| s.keys.unwrap_or(0)), "", bytes(all));
    let kinds: [(&str, Bytes); 6] = [
        ("nodes and roots", |store| store.records.s.bytes),
        ("legacy nodes", |store| store.records.n.bytes),
        ("legacy roots", |store| store.records.r.bytes),
        ("legacy orphans", |store| store.records.o.bytes),
        ("fast index", |store| store.records.f.bytes),
        ("other", |store| store.records.m.bytes + store.records.other.bytes),
    ];
    let shown: Vec<String> = kinds
        .iter()
        .map(|(name, of)| (name, sum(*of)))
        .filter(|(_, size)| *size > 0)
        .map(|(name, size)| format!("{name} {}", bytes(size)))
        .collect();
    println!("of which   {}", shown.join(", "));
}

fn migratable(report: &Report, source: &Path) {
    /// Ranges of versions that are printed.
    const RANGES: usize = 10;
    let span = |first: u64, last: u64| match first == last {
        true => format!("version {first}"),
        false => format!("versions {first} to {last}"),
    };
    if report.migratable.is_empty() {
        println!("migratable none");
    }
    for range in &report.migratable {
        let with = if range.leave_out_memory_stores { " --leave-out-memory-stores" } else { "" };
        println!("migratable {}{}", span(range.first, range.last), if with.is_empty() { "" } else { ", with" });
        let at = match Some(range.last) == report.latest {
            true => String::new(),
            false => format!(" --at {}", range.last),
        };
        println!("           storeshift run --source {} --target DIR{at}{with}", source.display());
        if range.first < range.last {
            println!("           with --at {} for the history from there on", range.first);
        }
    }
    for range in report.excluded.iter().take(RANGES) {
        println!("not        {}: {}", span(range.first, range.last), range.reason);
    }
    if report.excluded.len() > RANGES {
        println!("           ... and {} ranges more; --json has them", report.excluded.len() - RANGES);
    }
    if !report.history && report.excluded.is_empty() {
        println!("           older versions were not examined");
    }
}
