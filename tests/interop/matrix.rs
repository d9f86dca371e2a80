//! Every engine with every tree format, pruned or not: each comes to the same target, record by record, also when it is killed on the
//! way. What the databases on goleveldb come to is judged by Go (`commitment`, `storage`).

use super::{
    go::{self, check},
    older_rocksdb::tools_are_there,
    rocksdb_source::{Records, load},
    set::{self, Set, scratch, text},
};
use std::{
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Tree format, pruning, and the fixture that has it.
const TREES: [(&str, &str, &str); 6] = [
    ("current", "nothing", "small"),
    ("current", "everything", "pruned"),
    ("legacy", "nothing", "legacy"),
    ("legacy", "everything", "legacy-pruned"),
    ("mixed", "nothing", "mixed"),
    ("mixed", "everything", "mixed-pruned"),
];

const ENGINES: [&str; 3] = ["goleveldb", "PebbleDB", "RocksDB"];

/// The set's database on an engine, as the engine's own code writes it.
fn on_engine(set: &Set, engine: &str) -> (TempDir, PathBuf) {
    let dir = scratch();
    let to = dir.path().join("application.db");
    match engine {
        "goleveldb" => return (dir, set.database()),
        "PebbleDB" => {
            go::run("convert", &["-from", text(&set.database()), "-to", text(&to), "-backend", "pebbledb"], None);
        }
        _ => load(&set.database(), &to, &["--write_buffer_size=131072", "--file_size=65536"]),
    }
    (dir, to)
}

fn arguments(set: &Set, source: &Path, target: &Path) -> Vec<String> {
    let mut args: Vec<String> = ["run", "--at", "oldest", "--chunk-leaves", "20"].map(str::to_owned).into();
    args.extend(["--source", text(source), "--target", text(target)].map(str::to_owned));
    if set.has_memory_stores() {
        args.push("--leave-out-memory-stores".to_owned());
    }
    args
}

/// Runs a migration and kills it before a sync, again and again, each time at a later one, until it is done; tells how often.
fn killed_until_done(args: &[String]) -> u32 {
    let mut kills = 0;
    loop {
        // Of one thread: the first that gets so far.
        let when = 3 + 4 * kills;
        let injection = format!("inject=fdatasync:signal=SIGKILL:when={when}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &injection]);
        let output = strace.arg(env!("CARGO_BIN_EXE_storeshift")).args(args).output().unwrap();
        if output.status.signal() != Some(9) && output.status.code() != Some(137) {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return kills;
        }
        kills += 1;
    }
}

#[test]
fn every_engine_with_every_tree_format_comes_to_the_same_target_also_when_it_is_killed() {
    if go::programs().is_none() || !tools_are_there() {
        return;
    }
    let may_trace = check_trace();
    println!("| trees | pruning | engine | keys | versions | killed |\n|---|---|---|---|---|---|");
    for (format, pruning, name) in TREES {
        let set = set::fixture(name);
        let mut wanted: Option<Records> = None;
        for engine in ENGINES {
            let (_made, source) = on_engine(&set, engine);
            let whole = scratch();
            let printed =
                check(Command::new(env!("CARGO_BIN_EXE_storeshift")).args(arguments(&set, &source, whole.path())));
            assert!(printed.contains(set.app_hash(set.latest())), "{name} on {engine}: {printed}");
            let found = Records::of(whole.path());
            let wanted = wanted.get_or_insert_with(|| Records::of(whole.path()));
            assert!(found == *wanted, "{name} on {engine} comes to another target");
            let mut kills = 0;
            if may_trace {
                let dir = scratch();
                kills = killed_until_done(&arguments(&set, &source, dir.path()));
                assert!(kills > 0, "{name} on {engine} was never killed");
                assert!(Records::of(dir.path()) == *wanted, "{name} on {engine}, killed {kills} times");
            }
            let keys: u64 = set.stores(set.latest()).map(|(_, store)| store["keys"].as_u64().unwrap()).sum();
            let versions = set.latest() - set.oldest() + 1;
            println!("| {format} | {pruning} | {engine} | {keys} | {versions} | {kills} times |");
        }
    }
}

fn check_trace() -> bool {
    let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
    let works = tried.is_ok_and(|output| output.status.success());
    if !works {
        go::skipped("strace");
    }
    works
}
