//! The Go programs of `tests/oracle`, built once per run of the tests.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The directory of the programs; `None` without Go, and the test is to be skipped.
pub fn programs() -> Option<&'static Path> {
    static PROGRAMS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        is_there("go", "version").then(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/build.sh");
            let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle");
            check(Command::new("sh").arg(script).arg(&to));
            to
        })
    });
    if programs.is_none() {
        skipped("Go");
    }
    programs.as_deref()
}

/// Whether a program can be started.
pub fn is_there(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Says that a test is skipped, past the test harness, which would swallow it; fails where everything has to be there.
pub fn skipped(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} is missing ({test})");
}

/// Runs one of the programs and returns what it printed; fails the test if it did.
pub fn run(program: &str, args: &[&str], stdin: Option<&Path>) -> String {
    let mut command = Command::new(programs().unwrap().join(program));
    command.args(args);
    command.stdin(stdin.map_or(Stdio::null(), |path| Stdio::from(File::open(path).unwrap())));
    check(&mut command)
}

/// Runs a command that must succeed and returns its standard output.
pub fn check(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    out
}
