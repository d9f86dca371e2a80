//! Links, and things of another kind, where a target or something of ours belongs. What a link points to is never written, renamed or
//! removed, and nothing is waited for.

use super::{SMALL, goes_on, is_whole, text};
use crate::helper::{Contents, Job, Ran, assert_unchanged, binary, contents, copy, fixture, fresh, storeshift};
use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
};

/// Directories of ours, and files.
const DIRECTORIES: [&str; 7] = ["sc", "ss", "staging", "runs", "spool", "checkpoint", "journal"];
const FILES: [&str; 13] = [
    "journal/journal.redb",
    "journal/journal.redb.new",
    "journal/lock",
    "journal/status.json",
    "journal/status.json.new",
    "journal/switch.json",
    "journal/switch.json.new",
    "journal/control.json.new",
    "sc/storeshift.job",
    "sc/CURRENT",
    "ss/storeshift.job",
    "ss/000004.log",
    "runs/62616e6b/0",
];

/// Commands that are tried in turn wherever something is wrong, besides `abort`.
fn commands() -> &'static [&'static str] {
    if super::is_everything() {
        &["run", "status", "verify", "journal", "switch", "pause", "limit"]
    } else {
        &["run", "status", "switch", "pause"]
    }
}

/// As [`Job::command`], and a command that waits for ever is ended and found out.
fn bounded(job: &Job, command: &str) -> Ran {
    let extra = if command == "switch" { &["--no-wait"][..] } else { &[] };
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=5", "120", binary()]).args(job.args(command, extra));
    let ran = Ran::from(bounded.output().unwrap());
    assert!(!matches!(ran.code, Some(124 | 137)), "`{command}` waits for ever: {ran:#?}");
    assert!(ran.signal.is_none() && !ran.err.contains("panicked"), "{ran:#?}");
    ran
}

fn half() -> Job {
    let job = Job::of(SMALL.0, SMALL.1);
    job.run(&["--no-switch"]).expect(0, &[]);
    job
}

fn copied(template: &Job) -> Job {
    let job = Job::of(SMALL.0, SMALL.1);
    copy(&template.target(), &job.target());
    job
}

/// A directory of somebody else's, with files under names that mean something to us.
fn elsewhere(home: &Path) -> PathBuf {
    let elsewhere = home.join("elsewhere");
    for directory in ["1", "7.merged", "store"] {
        fs::create_dir_all(elsewhere.join(directory)).unwrap();
        for file in ["CURRENT", "3.new", "storeshift-checkpoint.json", "precious"] {
            fs::write(elsewhere.join(directory).join(file), "precious").unwrap();
        }
    }
    for file in ["lock", "status.json.new", "x.sst", "precious"] {
        fs::write(elsewhere.join(file), "precious").unwrap();
    }
    elsewhere
}

#[test]
fn a_target_is_reached_through_links_and_an_abort_leaves_the_link() {
    let home = fresh();
    let real = home.path().join("real/deep");
    symlink(home.path().join("real"), home.path().join("way")).unwrap();
    symlink(&real, home.path().join("target")).unwrap();
    for through in ["way/deep", "target", "way/../target"] {
        fs::create_dir_all(&real).unwrap();
        let job = Job::of(SMALL.0, SMALL.1);
        let mut args = job.args("run", &["--no-switch"]);
        args[2] = text(&home.path().join(through)).to_owned();
        storeshift(&args).expect(0, &[]);
        storeshift(&["abort", "--target", &args[2]]).expect(0, &[]);
        // A link would lead nowhere without its directory.
        assert_eq!(real.is_dir(), through != "way/deep", "{through}");
        assert!(home.path().join("target").is_symlink() && home.path().join("way").is_symlink());
    }
    // The same target by two names: it is one job.
    let mut job = Job::of(SMALL.0, SMALL.1);
    job.at = Some(home.path().join("target"));
    job.run(&["--no-switch"]).expect(0, &[]);
    let mut args = job.args("run", &[]);
    args[2] = text(&home.path().join("way/deep")).to_owned();
    storeshift(&args).expect(0, &[]);
    is_whole(&job, "by two names");
}

#[test]
fn a_link_that_leads_nowhere_is_refused_and_nothing_is_made() {
    let home = fresh();
    symlink(home.path().join("missing"), home.path().join("dangling")).unwrap();
    symlink(home.path().join("loop"), home.path().join("loop")).unwrap();
    let before = contents(home.path());
    let job = Job::of(SMALL.0, SMALL.1);
    for target in ["dangling", "dangling/v2", "loop", "loop/v2"] {
        let mut args = job.args("run", &[]);
        args[2] = text(&home.path().join(target)).to_owned();
        storeshift(&args).expect(4, &["is a symbolic link to what is not there", "nothing was written"]);
        storeshift(&["abort", "--target", &args[2]]).expect(4, &["symbolic link"]);
        assert_eq!(before.len(), links(home.path()), "{target}");
    }
    // A file is no directory.
    let file = home.path().join("file");
    fs::write(&file, "precious").unwrap();
    let mut args = job.args("run", &[]);
    args[2] = text(&file).to_owned();
    storeshift(&args).expect(4, &["is a file, where a directory belongs", "nothing was written"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

/// How many names a directory has, links that lead nowhere included.
fn links(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn source_and_target_that_are_one_by_way_of_links_are_refused() {
    let home = fresh();
    let source = home.path().join("data/application.db");
    copy(&fixture(SMALL.0), &source);
    let (one, other) = (home.path().join("one"), home.path().join("other"));
    symlink(&source, &one).unwrap();
    symlink(home.path().join("data"), &other).unwrap();
    let before = contents(&source);
    let [source, one, other] = [&source, &one, &other].map(|path| text(path).to_owned());
    for (from, to) in [
        (&source, one.clone()),
        (&one, source.clone()),
        (&one, one.clone()),
        (&one, other.clone()),
        (&source, format!("{one}/v2")),
        (&format!("{other}/application.db"), one.clone()),
        (&one, format!("{other}/application.db/v2")),
        (&format!("{other}/../one"), format!("{source}/../application.db")),
    ] {
        let args = ["run", "--source", from, "--target", &to];
        storeshift(&args).expect(4, &["lie inside each other", "Nothing was changed"]);
        assert_unchanged(&before, &contents(Path::new(&source)));
    }
}

/// Puts a link to something of somebody else's in the place of something of ours; what was there is put aside.
fn link(job: &Job, name: &str, elsewhere: &Path) -> (PathBuf, Option<PathBuf>) {
    let path = job.target().join(name);
    let aside = job.dir.path().join("aside");
    let was_there = fs::rename(&path, &aside).is_ok();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let is_directory = DIRECTORIES.contains(&name);
    // What points to our own, moved away, is as good a link as any.
    let to = match () {
        () if was_there && name.len().is_multiple_of(2) => aside.clone(),
        () if is_directory => elsewhere.to_owned(),
        () => elsewhere.join("precious"),
    };
    symlink(to, &path).unwrap();
    (path, was_there.then_some(aside))
}

fn outside(job: &Job, elsewhere: &Path) -> Contents {
    let mut found = contents(elsewhere);
    found.extend(contents(&job.dir.path().join("aside")));
    if let Ok(bytes) = fs::read(job.dir.path().join("aside")) {
        found.insert(job.dir.path().join("aside"), (Some(bytes), std::time::SystemTime::UNIX_EPOCH));
    }
    found
}

#[test]
fn a_link_in_the_place_of_anything_of_ours_is_refused_and_what_it_points_to_stays() {
    let template = half();
    let (mut tried, mut wiped) = (0, 0);
    for name in DIRECTORIES.into_iter().chain(FILES) {
        for commands in [commands(), &["abort"]] {
            let job = copied(&template);
            let elsewhere = elsewhere(job.dir.path());
            let (path, aside) = link(&job, name, &elsewhere);
            let before = outside(&job, &elsewhere);
            for &command in commands {
                let ran = bounded(&job, command);
                tried += 1;
                if command == "run" {
                    ran.expect(4, &["is a symbolic link, where", "nothing was written by this command", text(&path)]);
                } else {
                    assert!(matches!(ran.code, Some(0 | 4)), "{name}, {command}: {ran:#?}");
                }
                assert_unchanged(&before, &outside(&job, &elsewhere));
                if command == "abort" && ran.code == Some(0) {
                    wiped += 1;
                    assert!(!path.is_symlink(), "{name}: the link is left");
                }
            }
            put_right(&job, &path, aside);
            goes_on(&job, name);
        }
    }
    println!("links: {tried} commands, {wiped} aborts that removed the link alone");
    assert!(wiped >= 5, "{wiped}");
}

/// What is not ours goes, and what was ours comes back, unless the job was wiped.
fn put_right(job: &Job, path: &Path, aside: Option<PathBuf>) {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
    if let Some(aside) = aside.filter(|_| job.target().exists()) {
        fs::rename(aside, path).unwrap();
    }
    if job.target().join("journal/control.json").exists() {
        job.command("resume", &[]).expect(0, &[]);
    }
}

#[test]
fn the_control_and_the_pause_file_may_be_anything_and_nothing_is_read_through_them() {
    let template = half();
    let job = copied(&template);
    let elsewhere = job.dir.path().join("elsewhere");
    fs::write(&elsewhere, "{\"format\": 1, \"paused\": true}").unwrap();
    let control = job.target().join("journal/control.json");
    symlink(&elsewhere, &control).unwrap();
    job.command("pause", &[]).expect(4, &["is a symbolic link", "Nothing was changed"]);
    bounded(&job, "run").expect(0, &["ignored: ", "is a symbolic link"]);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"{\"format\": 1, \"paused\": true}");
    is_whole(&job, "a control file that is a link");
    for kind in KINDS {
        let job = copied(&template);
        let _kept = put(kind, &job.target().join("journal/control.json"));
        bounded(&job, "run").expect(0, &["ignored: "]);
        is_whole(&job, kind);
    }
}

/// What else may have a name.
const KINDS: [&str; 3] = ["pipe", "directory", "socket"];

fn put(kind: &str, path: &Path) -> Option<UnixListener> {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "directory" => fs::create_dir(path).unwrap(),
        "file" => fs::write(path, "precious").unwrap(),
        _ => {
            // A socket's name must be short; it keeps its kind where it is moved.
            let home = fresh();
            let listener = UnixListener::bind(home.path().join("s")).unwrap();
            fs::rename(home.path().join("s"), path).unwrap();
            return Some(listener);
        }
    }
    None
}

#[test]
fn a_pipe_a_directory_or_a_socket_in_the_place_of_anything_of_ours_is_refused_at_once() {
    let template = half();
    let mut tried = 0;
    let places =
        DIRECTORIES.map(|name| (name, ["pipe", "file", "socket"])).into_iter().chain(FILES.map(|name| (name, KINDS)));
    for (number, (name, kinds)) in places.enumerate() {
        for (which, kind) in kinds.into_iter().enumerate() {
            if !super::is_everything() && which != number % 3 {
                continue;
            }
            // RocksDB's own names: as directories they are its to complain about.
            if kind == "directory" && ["sc/CURRENT", "ss/000004.log", "runs/62616e6b/0"].contains(&name) {
                continue;
            }
            for commands in [commands(), &["abort"]] {
                let job = copied(&template);
                let (path, aside) = (job.target().join(name), job.dir.path().join("aside"));
                let aside = fs::rename(&path, &aside).is_ok().then_some(aside);
                let _kept = put(kind, &path);
                for &command in commands {
                    let ran = bounded(&job, command);
                    tried += 1;
                    let what = format!("a {kind} for {name}, {command}");
                    match command {
                        "run" => {
                            let words = format!("is a {kind}, where");
                            ran.expect(4, &[&words, "nothing was written by this command", text(&path)]);
                        }
                        // Neither is anything of another kind wiped.
                        "abort" if DIRECTORIES.contains(&name) || name.starts_with("journal") => {
                            ran.expect(4, &[&format!("is a {kind}, where"), text(&path)]);
                        }
                        _ => assert!(matches!(ran.code, Some(0 | 4)), "{what}: {ran:#?}"),
                    }
                }
                put_right(&job, &path, aside);
                goes_on(&job, &format!("a {kind} for {name}"));
            }
        }
    }
    println!("pipes, directories, sockets: {tried} commands");
}

#[test]
fn in_a_directory_that_everybody_may_write_a_job_works_and_heeds_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let job = Job::of(SMALL.0, SMALL.1);
    fs::create_dir_all(job.target()).unwrap();
    fs::set_permissions(job.target(), fs::Permissions::from_mode(0o1777)).unwrap();
    let pause = job.target().join("PAUSE");
    fs::write(&pause, "").unwrap();
    let is_root = std::os::unix::fs::chown(&pause, Some(12345), None).is_ok() && rustix::process::geteuid().is_root();
    if !is_root {
        super::skipped("a pause file of another user", "only root can give a file away");
        fs::remove_file(&pause).unwrap();
    }
    let ran = bounded(&job, "run");
    ran.expect(0, if is_root { &["ignored: ", "belongs to user 12345"] } else { &[] });
    is_whole(&job, "a directory for everybody");
    // What we make in it is not for everybody.
    for name in ["journal", "journal/journal.redb", "journal/status.json", "journal/lock", "sc", "ss"] {
        let mode = fs::metadata(job.target().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o002, 0, "{name}: {mode:o}");
    }
}
