//! Running the binary, copying and comparing directories, baselines of runs that nobody disturbed.

use crate::dump::Dump;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex, OnceLock},
    time::SystemTime,
};
use tempfile::TempDir;

/// Chunks this small make dozens of them in every fixture.
pub const LEAVES: &str = "20";

/// All fixtures.
pub const FIXTURES: [&str; 8] = ["small", "pruned", "initial", "idle", "idle-pruned", "nofast", "unflushed", "pebble"];

/// Those with legacy nodes.
pub const LEGACY: [&str; 7] =
    ["legacy", "legacy-holes", "legacy-pruned", "mixed", "mixed-pruned", "mixed-upgrade", "mixed-clash"];

/// Options for all the history that a fixture has. SDK 0.46 wrote the older versions of those with legacy nodes.
pub fn whole_history(name: &str) -> &'static [&'static str] {
    if LEGACY.contains(&name) { &["--at", "oldest", "--leave-out-memory-stores"] } else { &["--at", "oldest"] }
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            signal: output.status.signal(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Asserts the exit code and that standard error says every one of these.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) -> &Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not said: {self:#?}");
        }
        self
    }
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_storeshift")
}

/// Runs the binary to its end.
pub fn storeshift<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Ran {
    Command::new(binary()).args(args).output().unwrap().into()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("application.db")
}

pub fn fresh() -> TempDir {
    tempfile::Builder::new().prefix("storeshift-binary-").tempdir().unwrap()
}

/// A target in a directory of its own and what is migrated into it.
pub struct Job {
    pub dir: TempDir,
    pub source: PathBuf,
    pub more: Vec<String>,
    /// Where the target is, if not in `dir`.
    pub at: Option<PathBuf>,
}

impl Job {
    pub fn new(source: PathBuf, more: &[&str]) -> Job {
        let dir = fresh();
        Job { dir, source, more: more.iter().map(|&word| word.to_owned()).collect(), at: None }
    }

    pub fn of(name: &str, more: &[&str]) -> Job {
        // A database of its own: each run locks its source for the switch, and for another one that is a node.
        let mut job = Job::new(PathBuf::new(), more);
        job.source = job.dir.path().join("application.db");
        copy(&fixture(name), &job.source);
        job
    }

    pub fn target(&self) -> PathBuf {
        self.at.clone().unwrap_or_else(|| self.dir.path().join("target"))
    }

    /// Arguments of `command` on this job.
    pub fn args(&self, command: &str, extra: &[&str]) -> Vec<String> {
        let mut args = vec![command.to_owned(), "--target".to_owned(), text(&self.target())];
        if matches!(command, "run" | "plan") {
            args.extend(["--source".to_owned(), text(&self.source), "--chunk-leaves".to_owned(), LEAVES.to_owned()]);
            args.extend(self.more.iter().cloned());
        }
        args.extend(extra.iter().map(|&word| word.to_owned()));
        args
    }

    pub fn command(&self, command: &str, extra: &[&str]) -> Ran {
        storeshift(&self.args(command, extra))
    }

    pub fn run(&self, extra: &[&str]) -> Ran {
        self.command("run", extra)
    }

    pub fn dump(&self) -> Dump {
        Dump::read(&self.target())
    }

    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.target().join("journal/status.json")).unwrap()).unwrap()
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a run that nobody disturbed leaves behind; made once for each fixture and options.
pub fn baseline(name: &'static str, more: &[&str]) -> Arc<Dump> {
    type Dumps = Mutex<HashMap<String, Arc<OnceLock<Arc<Dump>>>>>;
    static MADE: OnceLock<Dumps> = OnceLock::new();
    let key = format!("{name} {}", more.join(" "));
    let cell = MADE.get_or_init(Dumps::default).lock().unwrap().entry(key).or_default().clone();
    cell.get_or_init(|| {
        let job = Job::of(name, more);
        job.run(&[]).expect(0, &[]);
        let dump = job.dump();
        assert!(!dump.is_empty());
        Arc::new(dump)
    })
    .clone()
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Names, contents and times of change of everything below a directory.
pub type Contents = BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)>;

/// Reads them; nothing if there is no such directory.
pub fn contents(directory: &Path) -> Contents {
    let mut found = Contents::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                left.push(entry.path());
            }
            let bytes = meta.is_file().then(|| fs::read(entry.path()).unwrap());
            found.insert(entry.path(), (bytes, meta.modified().unwrap()));
        }
    }
    found
}

/// Asserts that two readings are equal and, if not, says which files differ instead of printing them.
#[track_caller]
pub fn assert_unchanged(before: &Contents, after: &Contents) {
    let names = before.keys().chain(after.keys());
    let changed: std::collections::BTreeSet<_> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "changed, appeared or gone: {changed:?}");
}

/// Flips bits of one byte of a file.
pub fn flip(path: &Path, offset: u64, bits: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset as usize] ^= bits;
    fs::write(path, bytes).unwrap();
}

/// Files of a directory with this extension, in order.
pub fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// `count` offsets spread over a file, both ends included.
pub fn offsets(path: &Path, count: u64) -> Vec<u64> {
    let last = fs::metadata(path).unwrap().len() - 1;
    (0..count).map(|number| number * last / (count - 1)).collect()
}

/// How many times as much is tried as in every test run: STORESHIFT_PROOF, for the figures in PROOF.md.
pub fn times() -> u32 {
    std::env::var("STORESHIFT_PROOF").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Random numbers from a seed that is printed, and can be given in STORESHIFT_SEED.
pub struct Random(u64);

impl Random {
    pub fn new(what: &str) -> Random {
        let given = std::env::var("STORESHIFT_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given
            .unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64);
        println!("{what}: STORESHIFT_SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The Go program that breaks databases, built once; none if there is no Go, which is said loudly.
pub fn damage_tool() -> Option<&'static Path> {
    static TOOL: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let tool = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle-damage");
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/v1");
        let built = Command::new("go")
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&tool)
            .arg("./damage")
            .current_dir(module)
            .output();
        match built {
            Err(error) => {
                println!("SKIPPED: no Go ({error}), so databases cannot be broken with the oracle's `damage`");
                None
            }
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                Some(tool)
            }
        }
    };
    TOOL.get_or_init(build).as_deref()
}

/// A damaged copy of a fixture and what the tool says it planted.
pub fn damaged(tool: &Path, name: &str, what: &[&str]) -> (TempDir, PathBuf, serde_json::Value) {
    let dir = fresh();
    let copy = dir.path().join("application.db");
    let output =
        Command::new(tool).arg("-from").arg(fixture(name)).arg("-to").arg(&copy).arg("-what").args(what).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
    (dir, copy, serde_json::from_slice(&output.stdout).unwrap())
}
