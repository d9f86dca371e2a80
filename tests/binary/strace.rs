//! The binary under strace, which kills or slows it at a chosen system call.

use crate::helper::{Ran, binary};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Whether strace is there and may trace; if not, that is said loudly.
pub fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let tried = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
        let works = tried.as_ref().is_ok_and(|output| output.status.success());
        if !works {
            println!("SKIPPED: strace is missing or not permitted, so no kills at chosen system calls: {tried:?}");
        }
        works
    })
}

fn traced(call: &str, injection: &str) -> Command {
    let mut command = Command::new("strace");
    // Not with --seccomp-bpf: strace 6.1 then loses injections.
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:{injection}"), binary()]);
    command
}

/// Runs the binary and kills it before the `when`-th `call` of one of its threads. strace counts by thread and by system
/// call, so the kill comes with the first thread that gets so far. Tells whether it was killed.
pub fn killed_at(args: &[String], call: &str, when: u32) -> Result<Ran, Ran> {
    end(traced(call, &format!("signal=SIGKILL:when={when}")).args(args))
}

/// As [`killed_at`], and only calls on this file count.
pub fn killed_at_file(args: &[String], call: &str, file: &Path, when: u32) -> Result<Ran, Ran> {
    let injection = format!("inject={call}:signal=SIGKILL:when={when}");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(file);
    end(command.args(["-e", &format!("trace={call}"), "-e", &injection, binary()]).args(args))
}

fn end(command: &mut Command) -> Result<Ran, Ran> {
    let ran = Ran::from(command.output().unwrap());
    // strace ends as its child did.
    if ran.signal == Some(9) || ran.code == Some(137) { Ok(ran) } else { Err(ran) }
}

/// Starts the binary with every sync made slower by this many milliseconds.
pub fn slowed(args: &[String], milliseconds: u32) -> Child {
    let delay = format!("delay_enter={}", milliseconds * 1000);
    traced("fdatasync", &delay).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs the binary to a good end and returns its calls that open, make, change or remove files.
pub fn calls_on_files(args: &[String]) -> String {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let calls = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,\
                 symlinkat,truncate,chmod,fchmodat,chown,fchownat,utimensat,mknod,mknodat,setxattr";
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "4096", "-e", calls, "-o"]).arg(trace.path()).arg(binary()).args(args);
    Ran::from(command.output().unwrap()).expect(0, &[]);
    std::fs::read_to_string(trace.path()).unwrap()
}
