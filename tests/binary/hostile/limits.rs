//! Limits of the process: open files, the size of files, memory.

use super::{SMALL, born, goes_on, is_everything, is_whole, skipped, text};
use crate::helper::{Job, LEAVES, Ran, binary, copy};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};
use storeshift::{
    model::{Change, StoreChanges, StoreKey},
    root_store::{ChangeSet, Options, RootStore},
    target::rocks::EngineTuning,
};

/// Runs the binary from a shell that has done this before.
fn after(script: &str, args: &[String]) -> Ran {
    Command::new("sh")
        .args(["-c", &format!("{script} && exec \"$@\""), "sh", binary()])
        .args(args)
        .output()
        .unwrap()
        .into()
}

#[test]
fn with_too_few_open_files_a_run_says_so_and_with_more_the_same_command_goes_on() {
    let half = Job::of(SMALL.0, SMALL.1);
    half.run(&["--no-switch"]).expect(0, &[]);
    let mut tried = Vec::new();
    for template in [None, Some(half.target())] {
        let mut enough = 0;
        // Below that the program cannot even be loaded.
        for most in (4..256).step_by(if is_everything() { 1 } else { 4 }) {
            let job = Job::of(SMALL.0, SMALL.1);
            if let Some(template) = &template {
                copy(template, &job.target());
            }
            let ran = after(&format!("ulimit -n {most}"), &job.args("run", &[]));
            let what = format!("with {most} open files");
            assert!(!ran.err.contains("panicked"), "{what}: {ran:#?}");
            if ran.code == Some(0) {
                is_whole(&job, &what);
                // Not by chance: it succeeds with all larger numbers, or with the third one at the latest.
                enough += 1;
                if enough == 3 {
                    tried.push(most);
                    break;
                }
                continue;
            }
            ran.expect(3, &["Too many open files", "Everything finished so far is recorded.", "ulimit -n"]);
            goes_on(&job, &what);
        }
        assert_eq!(enough, 3);
    }
    println!("open files: enough, three times in a row, up to {tried:?} for a new job and one that is half done");
}

#[test]
fn where_files_may_not_grow_a_run_ends_and_without_that_limit_the_same_command_goes_on() {
    let born = born();
    let largest = fs::metadata(born.target().join("journal/journal.redb")).unwrap().len();
    let mut ended = Vec::new();
    for kib in [1, largest / 1024 - 8, largest / 1024 + 4, largest / 1024 + 40] {
        // With the signal as it is, it kills; ignored, the write fails.
        for ignored in ["trap '' XFSZ; ", ""] {
            let job = Job::of(SMALL.0, SMALL.1);
            copy(&born.target(), &job.target());
            let ran = after(&format!("{ignored}ulimit -f {}", kib * 2), &job.args("run", &[]));
            let what = format!("files of {kib} KiB at most, {ignored:?}");
            assert!(!ran.err.contains("panicked"), "{what}: {ran:#?}");
            match (ran.code, ran.signal) {
                (Some(0), _) => is_whole(&job, &what),
                (None, Some(25)) => assert!(ignored.is_empty(), "{what}: {ran:#?}"),
                _ => drop(ran.expect(3, &["File too large", "target", "Everything finished so far is recorded."])),
            }
            ended.push((kib, ran.code));
            goes_on(&job, &what);
        }
    }
    println!("files that may not grow: {ended:?}");
    assert!(ended.iter().any(|(_, code)| *code == Some(3)));
}

/// A memory control group of our own, gone when this is dropped.
struct Group(PathBuf);

impl Group {
    fn with(bytes: u64) -> Option<Group> {
        // Tests run beside each other.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let roots = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        for (root, file) in roots {
            let group = Path::new(root).join(format!("storeshift-test-{}-{number}", std::process::id()));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Group(group);
            if group.0.join(file).exists() && fs::write(group.0.join(file), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        skipped("a memory limit, as no control group can be made", "not permitted, or not mounted");
        None
    }

    fn run(&self, args: &[String]) -> Ran {
        after(&format!("echo $$ > {}/cgroup.procs", text(&self.0)), args)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A database with this many keys of a KiB each, in three stores.
fn large(path: &Path, keys: u64) {
    let store = RootStore::open_rootmulti(path, EngineTuning::default(), Options::default()).unwrap();
    let stores = ["bank", "gov", "staking"];
    for (height, first) in (0..keys).step_by(6000).enumerate() {
        let mut block = ChangeSet::default();
        if height == 0 {
            block.upgrades.added = stores.map(StoreKey::from).to_vec();
        }
        for (store, first) in stores.into_iter().zip((first..).step_by(2000)) {
            let change = |key: u64| {
                let mut value = vec![0; 1024];
                blake3::Hasher::new().update(&key.to_le_bytes()).finalize_xof().fill(&mut value);
                Change { key: format!("{key:012}").into_bytes(), value: Some(value) }
            };
            let changes = (first..first + 2000).map(change).collect();
            block.stores.push(StoreChanges { store: store.into(), changes });
        }
        store.commit(block).unwrap();
    }
}

/// By default the state has twice the limit; with everything it is the limit of 512 MiB and as much more.
#[test]
fn a_state_of_twice_the_memory_limit_is_migrated_within_it_and_proven() {
    let (limit, keys) = if is_everything() { (512 << 20, 996_000) } else { (64 << 20, 120_000) };
    let Some(group) = Group::with(limit) else { return };
    // Not where temporary files are: in memory (`TMPFS_MAGIC`) they would count.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if rustix::fs::statfs(home.path()).unwrap().f_type == 0x0102_1994 {
        return skipped("a state larger than a memory limit", "the build directory is in memory itself");
    }
    let source = home.path().join("application.db");
    large(&source, keys);
    let mut job = Job::new(source, &["--at", "latest"]);
    job.dir = tempfile::tempdir_in(home.path()).unwrap();
    let args: Vec<String> =
        job.args("run", &[]).into_iter().filter(|word| word != "--chunk-leaves" && word != LEAVES).collect();
    group.run(&args).expect(0, &[]);
    let status = job.status();
    assert_eq!((&status["phase"], &status["counts"]["pairs_total"]), (&"Done".into(), &keys.into()), "{status}");
    group.run(&job.args("verify", &[])).expect(0, &[]);
    println!("memory: {keys} pairs of a KiB migrated and verified within {} MiB", limit >> 20);
}

#[test]
fn a_run_that_is_killed_for_memory_is_carried_on() {
    // So little that the kernel kills it sooner or later; it is a kill like any other.
    let mut ended = Vec::new();
    for mib in [2, 3, 4, 5, 6, 8, 12, 512] {
        let Some(group) = Group::with(mib << 20) else { return };
        let job = Job::of(SMALL.0, SMALL.1);
        let ran = group.run(&job.args("run", &[]));
        drop(group);
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
        match (ran.code, ran.signal) {
            (Some(0), _) => is_whole(&job, &format!("within {mib} MiB")),
            (Some(137), _) | (_, Some(9)) => {}
            _ => panic!("within {mib} MiB: {ran:#?}"),
        }
        ended.push((mib, ran.code));
        goes_on(&job, &format!("after {mib} MiB"));
    }
    println!("memory: runs within so many MiB ended with {ended:?}");
    assert!(ended.iter().any(|(_, code)| *code != Some(0)) && ended.last() == Some(&(512, Some(0))), "{ended:?}");
}
