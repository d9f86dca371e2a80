//! A copy of the tree with every bug in it, outside the checkout, and its test programs.

use super::bugs::{self, Bug, root};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Which bug is chosen, and that it was come to.
const SWITCH: &str = r#"
/// Whether this is the bug that is chosen.
pub fn planted(name: &str) -> bool {
    use std::{io::Write as _, sync::{Once, OnceLock}};
    static CHOSEN: OnceLock<String> = OnceLock::new();
    static REACHED: Once = Once::new();
    if CHOSEN.get_or_init(|| std::env::var("STORESHIFT_PLANTED").unwrap_or_default()) != name {
        return false;
    }
    REACHED.call_once(|| {
        if let Some(path) = std::env::var_os("STORESHIFT_PLANTED_REACHED") {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            let _ = file.and_then(|mut file| writeln!(file, "{name}"));
        }
    });
    true
}
"#;

pub struct Copy {
    place: PathBuf,
}

/// The test programs of the copy.
pub struct Programs {
    pub memory: PathBuf,
    pub library: Option<PathBuf>,
    /// Where they expect to be run.
    pub directory: PathBuf,
}

impl Copy {
    /// Beside the build's other files. What was there and is the same stays as it is, so that building again is quick.
    pub fn make(bugs: &[Bug]) -> Copy {
        let copy = Copy { place: Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted") };
        let tree = copy.tree();
        let mut planted: BTreeMap<&str, Vec<&Bug>> = BTreeMap::new();
        for bug in bugs {
            planted.entry(&bug.file).or_default().push(bug);
        }
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (file, bugs) in planted {
            texts.insert(file.into(), bugs::planted(file, &bugs).unwrap());
        }
        let library = texts.entry("src/lib.rs".into());
        library.or_insert_with(|| fs::read_to_string(root().join("src/lib.rs")).unwrap()).push_str(SWITCH);
        for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
            put(&tree.join(name), &fs::read(root().join(name)).unwrap());
        }
        for name in [".cargo", "src", "tests", "fuzz", "examples", "benches", "proptest-regressions"] {
            mirror(Path::new(name), &tree, &texts);
        }
        copy
    }

    fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    /// Where runs may leave files: where those cost no disk.
    pub fn scratch(&self) -> TempDir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
    }

    /// Builds the copy into a place of its own: a program with bugs must never lie where the product is looked for.
    pub fn build(&self, with_library: bool) -> Programs {
        let memory = self.program(&["--test", "memory"]);
        let library = with_library.then(|| self.program(&["--lib"]));
        Programs { memory, library, directory: self.tree() }
    }

    fn program(&self, of: &[&str]) -> PathBuf {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["test", "--release", "--locked", "--no-default-features", "--no-run", "--message-format=json"])
            // It is built more often than it takes to run.
            .args(["--config", "profile.release.package.storeshift.opt-level=1"])
            .args(["--config", "profile.release.package.storeshift.codegen-units=16"])
            .args(of)
            .current_dir(self.tree())
            .env("CARGO_TARGET_DIR", self.place.join("target"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the copy with the bugs in it does not build");
        let said = String::from_utf8(built.stdout).unwrap();
        let program = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_test = message["profile"]["test"] == true;
            message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
        };
        said.lines().rev().find_map(program).expect("cargo names the program that it built")
    }
}

/// Text is copied, because tests that fail write beside theirs; what is large and only read is linked to.
fn mirror(at: &Path, tree: &Path, texts: &BTreeMap<PathBuf, String>) {
    const LINKED: [&str; 4] = ["fixtures", "vectors", "oracle", "corpus"];
    fs::create_dir_all(tree.join(at)).unwrap();
    let mut there = Vec::new();
    for entry in fs::read_dir(root().join(at)).unwrap() {
        let entry = entry.unwrap();
        let (name, at) = (entry.file_name(), at.join(entry.file_name()));
        let target = tree.join(&at);
        if LINKED.iter().any(|linked| name == *linked) {
            if !target.is_symlink() {
                symlink(entry.path(), &target).unwrap();
            }
        } else if entry.path().is_dir() {
            if at != Path::new("fuzz/target") {
                mirror(&at, tree, texts);
            }
        } else {
            match texts.get(&at) {
                Some(text) => put(&target, text.as_bytes()),
                None => put(&target, &fs::read(entry.path()).unwrap()),
            }
        }
        there.push(name);
    }
    for entry in fs::read_dir(tree.join(at)).unwrap() {
        let entry = entry.unwrap();
        if !there.contains(&entry.file_name()) && !entry.path().is_dir() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn put(path: &Path, content: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(content) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
