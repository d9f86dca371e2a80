//! Faults planted by a Go program of its own (`plant`), each of which `doctor` must name: kind, store, version, node; and
//! the trap of the Go migration, which takes a tree with a missing node for a smaller one.

use super::go;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db")
}

fn fresh() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("storeshift-doctor-").tempdir().unwrap()
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn storeshift(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_storeshift")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// What `doctor` calls what `plant` calls so.
fn kinds(finding: &str) -> &'static [&'static str] {
    match finding {
        "missing-node" => &["missing-node"],
        "missing-root" => &["missing-root"],
        "dangling-reference" => &["dangling-root"],
        "wrong-hash" => &["wrong-hash"],
        "wrong-inner-key" => &["wrong-inner-key"],
        "wrong-size" => &["wrong-size"],
        "wrong-height" => &["wrong-height"],
        "wrong-order" => &["wrong-order"],
        // Where the foreign child is a leaf, it may as well have been altered.
        "wrong-child" => &["wrong-child", "wrong-hash"],
        "cycle" => &["cycle"],
        "bad-record" => &["bad-record", "bad-root", "odd-record"],
        "ghost-root" => &["ghost-root"],
        "torn-version" => &["torn-version"],
        "unreferenced-nodes" => &["unreferenced-nodes"],
        "deleted-store" => &["deleted-store"],
        "stale-fast-index" => &["stale-fast-index"],
        "orphan-records" => &["orphan-records"],
        "store-ahead" => &["store-ahead"],
        "missing-commit-info" => &["missing-commit-info"],
        "bad-commit-info" => &["bad-commit-info"],
        "wrong-commit-hash" => &["root-differs"],
        "missing-store" => &["missing-store"],
        "latest-ahead" => &["latest-ahead"],
        "missing-latest" | "bad-latest" => &["bad-latest"],
        "bad-table" | "missing-table" | "bad-log" | "bad-manifest" => &["unreadable"],
        "torn-log" => &[],
        other => panic!("plant has a finding that doctor is not held to yet: {other}"),
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Holds one report to what was planted; what is wrong with it, in words.
fn objections(planted: &Value, report: &Value, first_version: u64) -> Vec<String> {
    let expect = &planted["expect"];
    let finding = expect["finding"].as_str().unwrap();
    let mut wrong = Vec::new();
    let findings = report["findings"].as_array().unwrap();
    let in_file = expect["file"].is_string();
    // Pruned by one version more is what it looks like where the version is the oldest one.
    let looks_pruned = planted["kind"] == "missing-old-root" && planted["version"].as_u64() == Some(first_version);
    let wanted = if looks_pruned { &["unfinished-pruning"] } else { kinds(finding) };
    let mut stores: Vec<Option<&str>> = strings(&expect["stores"]).into_iter().map(Some).collect();
    if stores.is_empty() {
        stores.push(expect["store"].as_str());
    }
    let nodes = if looks_pruned { Vec::new() } else { strings(&expect["nodes"]) };
    let mut meant = Vec::new();
    for store in &stores {
        let fits = |found: &&Value| {
            let node = found["node"].as_str().unwrap_or_default().replace(' ', "").replace("legacy", "");
            wanted.iter().any(|kind| found["kind"] == *kind)
                && store.is_none_or(|store| found["store"] == store)
                && (nodes.is_empty() || nodes.contains(&node.as_str()))
        };
        let found: Vec<&Value> = findings.iter().filter(fits).collect();
        for field in ["count", "bytes"] {
            let is_same = |found: &&&Value| found[field] == expect[field];
            if expect[field].as_u64().is_some_and(|value| value > 0) && !found.iter().any(|found| is_same(&found)) {
                wrong.push(format!("{field} is not {}", expect[field]));
            }
        }
        if found.is_empty() && !wanted.is_empty() && !in_file {
            wrong.push(format!("no {wanted:?} of store {store:?} at {nodes:?}"));
        }
        meant.extend(found);
    }
    let damages: Vec<&Value> = findings.iter().filter(|found| found["severity"] == "damage").collect();
    if !in_file && let Some(more) = damages.iter().find(|damage| !meant.contains(damage)) {
        wrong.push(format!("more than was planted: {more}"));
    }
    let newest = expect["versions"].as_array().and_then(|versions| versions.iter().filter_map(Value::as_u64).max());
    let of_tree = planted["node"].is_object();
    if let (true, Some(newest), Some(damage)) = (of_tree, newest, damages.first())
        && !in_file
        && damage["version"].as_u64() != Some(newest)
    {
        wrong.push(format!("the newest version that has it is {newest}, said is {}", damage["version"]));
    }
    let ranges = report["whole"].as_array().unwrap();
    let is_whole = |version: u64| {
        ranges
            .iter()
            .any(|range| range["first"].as_u64().unwrap() <= version && version <= range["last"].as_u64().unwrap())
    };
    let is_odd = planted["kind"] == "overlong-varint";
    for version in expect["versions"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
        // A table that no version needs may be left over in the directory.
        if is_whole(version) && !is_odd && !in_file {
            wrong.push(format!("version {version} is said to be whole"));
        }
    }
    let latest = expect["latest_version"].as_u64().unwrap();
    let migratable = report["migratable"].as_array().unwrap();
    let can = migratable.iter().any(|range| range["last"].as_u64() == Some(latest));
    match expect["sound"].as_bool() {
        Some(true) if !can => wrong.push(format!("version {latest} is said not to be migratable")),
        Some(false) if !migratable.is_empty() => wrong.push("something is said to be migratable".to_owned()),
        _ => {}
    }
    wrong
}

#[test]
fn every_fault_that_an_independent_program_plants_is_named_and_run_refuses_what_doctor_calls_damaged() {
    if go::programs().is_none() {
        return;
    }
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    let seed = std::env::var("STORESHIFT_SEED").unwrap_or_else(|_| "1".to_owned());
    for (name, first) in [("idle", 1), ("pruned", 18), ("mixed", 1), ("legacy", 1)] {
        let dir = fresh();
        let to = dir.path().join("planted");
        let from = fixture(name);
        let args = ["-from", from.to_str().unwrap(), "-to", to.to_str().unwrap(), "-all", "-seed", &seed];
        for line in go::run("plant", &args, None).lines() {
            let planted: Value = serde_json::from_str(line).unwrap();
            let kind = planted["kind"].as_str().unwrap();
            seen.insert(kind.to_owned());
            let what = format!("{name} {kind} seed {seed}");
            let source = planted["path"].as_str().unwrap();
            let examined = storeshift(&["doctor", "--json", "--source", source]);
            let must_fail = planted["expect"]["sound"].as_bool() == Some(false);
            let report: Option<Value> = serde_json::from_str(&examined.out).ok();
            match (&report, examined.code) {
                (Some(report), Some(0 | 5)) => {
                    let is_sound = report["sound"].as_bool().unwrap();
                    if is_sound != (examined.code == Some(0)) {
                        wrong.push(format!("{what}: sound {is_sound}, exit code {:?}", examined.code));
                    }
                    wrong.extend(objections(&planted, report, first).into_iter().map(|it| format!("{what}: {it}")));
                    let file = planted["expect"]["file"].as_str().unwrap_or_default();
                    if !is_sound && !file.is_empty() && !examined.out.contains(file) {
                        wrong.push(format!("{what}: {file} is not named"));
                    }
                }
                // No database at all.
                (None, Some(4)) if kind == "current-missing" => {}
                (_, code) => wrong.push(format!("{what}: exit code {code:?}: {}", examined.err)),
            }
            let target = dir.path().join("target").join(kind);
            let target = target.to_str().unwrap();
            let options = ["run", "--source", source, "--target", target, "--leave-out-memory-stores"];
            let ran = storeshift(&options);
            let is_done = ran.code == Some(0);
            let can =
                report.as_ref().and_then(|report| report["migratable"].as_array()).is_some_and(|it| !it.is_empty());
            if is_done && (must_fail || !can) {
                wrong.push(format!("{what}: run ends in Done, doctor says nothing can be migrated"));
            }
            if !is_done && can {
                wrong.push(format!("{what}: doctor says it can be migrated, run says {}", ran.err));
            }
            if !is_done {
                let status = storeshift(&["status", "--json", "--target", target]);
                if status.out.contains("\"phase\": \"Done\"") {
                    wrong.push(format!("{what}: the phase is Done"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} kinds: {seen:?}", seen.len());
    assert!(seen.len() >= 24, "{seen:?}");
}

#[test]
fn where_the_go_migration_falls_into_the_export_trap_doctor_and_run_name_the_node() {
    let Some(bin) = go::programs() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/trap.sh");
    let said = go::check(Command::new("sh").arg(script).arg(bin));
    let mut fell = 0;
    for line in said.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, verdict, keys, app_hash, sound_keys, sound_app_hash, store, node, seed] = fields[..] else {
            panic!("{line}");
        };
        if verdict != "silent" {
            continue;
        }
        fell += 1;
        // Go exits with 0, with fewer keys and another app hash.
        assert!(keys.parse::<u64>().unwrap() < sound_keys.parse().unwrap(), "{line}");
        assert_ne!(app_hash, sound_app_hash);
        let dir = fresh();
        let copy = dir.path().join("application.db");
        let copy = copy.to_str().unwrap();
        let from = fixture("small");
        go::run("plant", &["-from", from.to_str().unwrap(), "-to", copy, "-kind", kind, "-seed", seed], None);
        let examined = storeshift(&["doctor", "--json", "--source", copy]);
        assert_eq!(examined.code, Some(5), "{}", examined.err);
        let report: Value = serde_json::from_str(&examined.out).unwrap();
        let named = &report["findings"][0];
        assert_eq!(report["damages"], 1);
        assert_eq!((&named["kind"], &named["store"]), (&"missing-node".into(), &store.into()));
        assert_eq!(named["node"].as_str().unwrap().replace(' ', ""), node);
        assert!(named["keys"].as_u64().unwrap() >= 1 && named["parent"].is_string(), "{named}");
        let target = dir.path().join("target");
        let ran = storeshift(&["run", "--source", copy, "--target", target.to_str().unwrap()]);
        assert_eq!(ran.code, Some(5), "{}", ran.err);
        assert!(
            ran.err.contains(named["node"].as_str().unwrap()) && ran.err.contains("storeshift doctor"),
            "{}",
            ran.err
        );
        println!("{kind}: Go says {keys} keys with exit code 0; {}", named["words"]);
    }
    assert!(fell > 0, "{said}");
}
