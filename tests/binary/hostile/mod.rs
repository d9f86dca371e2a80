//! Hostile neighbours: other processes on the same job, a clock that goes back, a disk that is full or fails at any call, limits of the
//! machine, links and files of others where ours belong. Each has a defined answer: an exit code, words that say what happened, what
//! is safe and what to do next; and the next ordinary run comes to the target of one that nobody disturbed.
//!
//! By default a sample of all faults is tried, drawn from a seed that is printed; with `STORESHIFT_PROOF=all` every one.

mod clock;
mod disk;
mod faults;
mod limits;
mod links;
mod lost;
mod neighbours;

use crate::helper::{Job, Ran, baseline, binary, fresh};
use std::{
    fmt::Debug,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};
use tempfile::TempDir;

/// The fixture and options most of these tests use: all phases, stretches of versions, tens of chunks, a tenth of a second.
pub const SMALL: (&str, &[&str]) = ("nofast", &["--at", "oldest"]);

/// Whether every fault is tried.
pub fn is_everything() -> bool {
    std::env::var_os("STORESHIFT_PROOF").is_some_and(|proof| proof == "all")
}

/// Says what cannot be tried on this machine, past the harness.
pub fn skipped(what: &str, why: impl Debug) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why:?}");
}

/// A job that was killed just after it was born: there is its journal and no engine.
pub fn born() -> Job {
    let job = Job::of(SMALL.0, SMALL.1);
    fs::create_dir_all(job.target()).unwrap();
    // It stands still at its first unit of work.
    fs::write(job.target().join("PAUSE"), "").unwrap();
    let mut running = spawn(&job, &[]);
    until_paused(&job, &mut running);
    running.kill().unwrap();
    running.wait().unwrap();
    fs::remove_file(job.target().join("PAUSE")).unwrap();
    for directory in ["sc", "ss", "staging"] {
        fs::remove_dir_all(job.target().join(directory)).unwrap();
    }
    job
}

pub fn spawn(job: &Job, extra: &[&str]) -> Child {
    let mut command = Command::new(binary());
    command.args(job.args("run", extra)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until this process says that it is paused.
#[track_caller]
pub fn until_paused(job: &Job, running: &mut Child) {
    loop {
        let text = fs::read(job.target().join("journal/status.json")).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        if status["pid"] == running.id() && status["wait"]["kind"] == "paused" {
            return;
        }
        assert!(running.try_wait().unwrap().is_none(), "it ended before it was paused: {status}");
        std::thread::yield_now();
    }
}

/// An ordinary run goes on to Done, and the target is that of a run nobody disturbed.
#[track_caller]
pub fn goes_on(job: &Job, what: &str) {
    let ran = job.run(&[]);
    assert_eq!(ran.code, Some(0), "{what}: {ran:#?}");
    is_whole(job, what);
}

#[track_caller]
pub fn is_whole(job: &Job, what: &str) {
    job.dump().assert_same(&baseline(SMALL.0, SMALL.1), what);
    assert_eq!(job.status()["phase"], "Done", "{what}");
    for left in ["staging", "runs", "spool", "checkpoint"] {
        assert!(!job.target().join(left).exists(), "{what}: {left} is left");
    }
}

/// The library that puts itself before the C library, built once; none where there is no C compiler.
pub fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        let made = library.with_extension(std::process::id().to_string());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/hostile/shim.c");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&made).arg(source).arg("-ldl");
        match compile.output() {
            Ok(output) if output.status.success() => {
                // In one step: another process may be using it.
                fs::rename(&made, &library).unwrap();
                Some(library)
            }
            failed => {
                // Building RocksDB takes a compiler, so there is one where tests of the whole are to run.
                assert!(std::env::var("CI").as_deref() != Ok("true"), "no faults without a C compiler: {failed:?}");
                skipped("calls that fail, and clocks that are wrong, as no C compiler works", failed);
                None
            }
        }
    };
    SHIM.get_or_init(build).as_deref()
}

/// Runs the binary with the shim before the C library.
pub fn shimmed(shim: &Path, args: &[String], settings: &[(&str, String)]) -> Ran {
    let mut command = Command::new(binary());
    command.args(args).env("LD_PRELOAD", shim);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command.output().unwrap().into()
}

/// A mount namespace with a file system in memory at a directory; a shell is in it and does what it is told.
pub struct Cell {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    home: TempDir,
}

impl Cell {
    /// None, said loudly, where the machine does not let us.
    pub fn with_disk(at: &Path, size_kib: u64) -> Option<Cell> {
        let mut unshare = Command::new("unshare");
        // Others than root may mount in a user namespace of theirs.
        let is_root = rustix::process::geteuid().is_root();
        unshare.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"] }).args(["sh", "-s"]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = match unshare.spawn() {
            Ok(shell) => shell,
            Err(error) => {
                skipped("small and read-only disks, as there is no `unshare`", error);
                return None;
            }
        };
        let (input, output) = (shell.stdin.take(), BufReader::new(shell.stdout.take().unwrap()));
        let mut cell = Cell { shell, input, output, home: fresh() };
        fs::create_dir_all(at).unwrap();
        let mounted = cell.run(&["mount", "-t", "tmpfs", "-o", &format!("size={size_kib}k"), "tmpfs", text(at)]);
        if mounted.code != Some(0) {
            skipped("small and read-only disks, as nothing may be mounted", mounted);
            return None;
        }
        Some(cell)
    }

    /// Runs a command in it.
    pub fn run<S: AsRef<str>>(&mut self, words: &[S]) -> Ran {
        let quoted: Vec<_> = words.iter().map(|word| format!("'{}'", word.as_ref().replace('\'', r"'\''"))).collect();
        let (out, err) = (self.home.path().join("out"), self.home.path().join("err"));
        let line = format!("{} </dev/null >{} 2>{}; echo $?\n", quoted.join(" "), text(&out), text(&err));
        let mut code = String::new();
        let told = self.input.as_mut().is_some_and(|input| input.write_all(line.as_bytes()).is_ok());
        let answered = told && self.output.read_line(&mut code).is_ok();
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        Ran { code: code.trim().parse().ok().filter(|_| answered), signal: None, out: read(&out), err: read(&err) }
    }

    pub fn storeshift(&mut self, args: &[String]) -> Ran {
        let mut words = vec![binary().to_owned()];
        words.extend(args.iter().cloned());
        self.run(&words)
    }

    /// Mounts what is there anew with these options.
    #[track_caller]
    pub fn remount(&mut self, at: &Path, options: &str) {
        let ran = self.run(&["mount", "-o", &format!("remount,{options}"), text(at)]);
        assert_eq!(ran.code, Some(0), "{options}: {ran:?}");
    }

    /// Where those outside find what is in it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.shell.id(), text(path)))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // At the end of its input the shell goes, and the mounts with it.
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
