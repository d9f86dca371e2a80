//! `storeshift run --once` beside a node that goes on: to the end, resumed, with its checkpoint lost, given up.

use super::{
    go,
    live::{Writer, nothing_of_ours},
    set::{scratch, text},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

pub fn storeshift(args: &[&str]) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_storeshift")).args(args))
}

impl Ran {
    /// Asserts the exit code and that every one of these was said.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) -> &Ran {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word:?}: {}{}", self.out, self.err);
        }
        self
    }

    /// Version and app hash of a run that is done.
    pub fn done(&self) -> (u64, String) {
        let after = |word: &str| self.out.split_once(word).unwrap().1.split_whitespace().next().unwrap().to_owned();
        (after("of record from version ").parse().unwrap(), after("app hash ").to_owned())
    }
}

/// System calls that name files, and locks; none of them may change the database's directory or lock anything in it.
fn only_reads(trace: &str, database: &Path) {
    let database = text(database);
    let mut links = 0;
    for line in trace.lines().filter(|line| line.contains(database)) {
        let call = line.split_once('(').unwrap().0.rsplit(' ').next().unwrap();
        let allowed = match call {
            "open" | "openat" => ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().all(|flag| !line.contains(flag)),
            "link" | "linkat" => {
                links += 1;
                let to = line.rsplit_once(", \"").unwrap().1;
                !to.starts_with(database)
            }
            "stat" | "lstat" | "statx" | "newfstatat" | "access" | "faccessat" | "faccessat2" | "readlink"
            | "readlinkat" | "statfs" | "execve" | "fstat" => true,
            "fcntl" => !line.contains("LK"),
            // Of a process that ended, or a call that was interrupted by another thread's.
            _ => line.contains("resumed>"),
        };
        assert!(allowed, "{line}");
    }
    assert!(links > 0, "nothing was linked: {trace}");
}

fn end_to_end(backend: &'static str, more: &[&str]) {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let writer = Writer::start(&dir.path().join("node"), backend, more);
    let (source, target) = (writer.database(), dir.path().join("v2"));
    let (source, target) = (text(&source), text(&target));
    writer.hash(20);
    let both = ["--source", source, "--target", target, "--chunk-leaves", "50"];
    storeshift(&[&["plan"], &both[..]].concat()).expect(0, &["a node has it open", "Nothing was written"]);
    assert!(!Path::new(target).exists(), "the plan left something");

    let before = writer.newest();
    let traced = go::is_there("strace", "-V");
    let trace = dir.path().join("trace");
    let mut command = Command::new(if traced { "strace" } else { env!("CARGO_BIN_EXE_storeshift") });
    if traced {
        command.args(["-f", "-qq", "-y", "-s", "4096", "-e", "trace=%file,flock,fcntl", "-o", text(&trace)]);
        command.arg(env!("CARGO_BIN_EXE_storeshift"));
    }
    let run = ran(command.args(["run", "--once"]).args(both));
    run.expect(0, &["made a checkpoint", "0 copied", "is not in the target"]);
    let (version, hash) = run.done();
    assert!(version >= before);
    assert_eq!(writer.hash(version), hash);
    if traced {
        only_reads(&fs::read_to_string(&trace).unwrap(), Path::new(source));
    }
    assert!(!Path::new(target).join("checkpoint").exists(), "it is of no use any more");
    storeshift(&["verify", "--target", target]).expect(0, &["The target is sound"]);
    storeshift(&["verify", "--target", target, "--source", source]).expect(0, &["The target is sound"]);
    storeshift(&[&["run", "--once"], &both[..]].concat()).expect(0, &["is the store of record"]);
    let status = storeshift(&["status", "--json", "--target", target]);
    status.expect(0, &[]);
    nothing_of_ours(Path::new(source));
    let (last, _) = writer.end();
    assert!(last > version);
}

#[test]
fn a_running_goleveldb_node_is_migrated_to_a_version_it_committed_and_notices_nothing() {
    end_to_end("goleveldb", &["-write-buffer", "48", "-keep", "100000"]);
}

#[test]
fn a_running_pebbledb_node_is_migrated_to_a_version_it_committed_and_notices_nothing() {
    end_to_end("pebbledb", &["-write-buffer", "64", "-keep", "100000"]);
}

#[test]
fn a_job_keeps_its_checkpoint_until_it_is_done_however_far_the_node_goes_on() {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let writer = Writer::start(&dir.path().join("node"), "goleveldb", &["-write-buffer", "48"]);
    let (source, target, beside) = (writer.database(), dir.path().join("v2"), dir.path().join("beside"));
    let run = ["run", "--once", "--source", text(&source), "--target", text(&target), "--checkpoint", text(&beside)];
    writer.hash(20);
    storeshift(&[&run[..], &["--no-switch"]].concat()).expect(0, &["made a checkpoint", "Caught up"]);
    let status = storeshift(&["status", "--json", "--target", text(&target)]);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    let version = status["applied"].as_u64().unwrap();
    assert!(status["checkpoint"].as_str().unwrap().starts_with(text(&beside)), "{status}");
    // Far enough for the version to be pruned by the node.
    writer.hash(version + 40);
    let done = storeshift(&run);
    done.expect(0, &["going on with a checkpoint"]);
    assert_eq!(done.done(), (version, writer.hash(version)));
    assert_eq!(fs::read_dir(&beside).unwrap().count(), 0);
    writer.end();
}

#[test]
fn a_lost_checkpoint_is_made_anew_while_the_node_has_what_is_needed_and_else_that_is_said() {
    if go::programs().is_none() {
        return;
    }
    for (keep, pruned) in [("100000", false), ("5", true)] {
        let dir = scratch();
        let writer = Writer::start(&dir.path().join("node"), "goleveldb", &["-write-buffer", "48", "-keep", keep]);
        let (source, target) = (writer.database(), dir.path().join("v2"));
        let run = ["run", "--once", "--source", text(&source), "--target", text(&target)];
        writer.hash(20);
        storeshift(&[&run[..], &["--no-switch"]].concat()).expect(0, &["Caught up"]);
        let before = writer.newest();
        writer.hash(before + 40);
        fs::remove_dir_all(target.join("checkpoint")).unwrap();
        let again = storeshift(&run);
        if pruned {
            again.expect(4, &["has pruned version", "storeshift abort"]);
            storeshift(&["abort", "--target", text(&target)]).expect(0, &["Aborted"]);
            assert!(!target.exists(), "{:?}", fs::read_dir(&target).unwrap().collect::<Vec<_>>());
        } else {
            again.expect(0, &["made a checkpoint"]);
            let (version, hash) = again.done();
            assert!(version >= before + 40);
            assert_eq!(writer.hash(version), hash);
        }
        writer.end();
    }
}

#[test]
fn a_refused_run_beside_a_node_leaves_no_trace() {
    if go::programs().is_none() {
        return;
    }
    let dir = scratch();
    let writer = Writer::start(&dir.path().join("node"), "goleveldb", &["-write-buffer", "48"]);
    let (source, target) = (writer.database(), dir.path().join("v2"));
    writer.hash(20);
    let wrong = "00".repeat(32);
    storeshift(&["run", "--source", text(&source), "--target", text(&target), "--app-hash", &wrong])
        .expect(4, &["the trusted one is"]);
    assert!(!target.exists());
    let inside = source.join("inside");
    storeshift(&["run", "--source", text(&source), "--target", text(&target), "--checkpoint", text(&inside)])
        .expect(4, &["inside the source"]);
    assert!(!target.exists() && !inside.exists());
    writer.end();
}
