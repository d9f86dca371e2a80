//! The control file: what an operator asked of a job, whether it runs or not. Written by commands, read by the job while it runs
//! and by every later run; replaced whole, so that no reader sees half of one. Besides it there is the pause file, `PAUSE` in the
//! target's directory, for scripts: as long as it is there the job is paused.
//!
//! It decides when work is done, never what comes of it. Still, who can write it can hold a job up, or let it loose on a node. So
//! neither file counts unless it belongs to the user of this process or to root; and the control file and its directory not if
//! a group or others may write them.

use super::{ours, seal};
use crate::{disk, plan::Yielding};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Name of the control file in a journal directory.
pub const NAME: &str = "control.json";
/// Name of the pause file in a target's directory.
pub const PAUSE_FILE: &str = "PAUSE";

const FORMAT: u64 = 1;
/// A control file of this program has a few hundred bytes.
const LARGEST: u64 = 64 << 10;

/// What an operator asked. What is none is left to the run's own options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Layout of the file, 1.
    format: u64,
    /// Whether the job is paused.
    #[serde(default)]
    pub paused: bool,
    /// Unix seconds when it was paused.
    #[serde(default)]
    pub paused_since: Option<u64>,
    /// Bytes per second; 0 is no limit.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Most units of work at the same time, from 1.
    #[serde(default)]
    pub workers: Option<usize>,
    /// When to yield.
    #[serde(default, rename = "yield")]
    pub yielding: Option<Yielding>,
    /// Of the file; last in it.
    #[serde(default)]
    seal: Option<String>,
}

/// Why what an operator asked is not known, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody else could have written it.
    #[error("{path} {what}, so somebody else could have written it", path = path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It is not a control file this release can read.
    #[error("{path} {what}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file operation failed.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Reads the control file of a journal directory. Without one nothing was asked.
///
/// # Errors
/// [`ControlError`]; what was asked is not known then, and nothing is to be changed for it.
pub fn read(directory: &Path) -> Result<Control, ControlError> {
    let path = directory.join(NAME);
    let error = |doing| move |source| ControlError::Io { path: directory.join(NAME), doing, source };
    let mut options = OpenOptions::new();
    // Neither another file in its place nor a pipe that nobody writes to.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = match options.read(true).custom_flags(flags.bits() as i32).open(&path) {
        Ok(file) => file,
        Err(found) if found.kind() == io::ErrorKind::NotFound => return Ok(Control::new()),
        Err(found) if found.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(ControlError::Foreign { path, what: "is a symbolic link".to_owned() });
        }
        Err(source) => return Err(error("open")(source)),
    };
    trust(directory, &fs::metadata(directory).map_err(error("look at the directory of"))?)?;
    let meta = file.metadata().map_err(error("look at"))?;
    if !meta.is_file() {
        return Err(ControlError::Unreadable { path, what: "is not a file".to_owned() });
    }
    trust(&path, &meta)?;
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(error("read"))?;
    if text.len() as u64 > LARGEST {
        return Err(ControlError::Unreadable { path, what: "is far larger than a control file".to_owned() });
    }
    parse(&text).map_err(|what| ControlError::Unreadable { path, what })
}

fn parse(text: &[u8]) -> Result<Control, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(FORMAT) => {}
        Some(format) => return Err(format!("has format {format}, this release knows format {FORMAT}")),
        None => return Err("has no format".to_owned()),
    }
    let mut control: Control = serde_json::from_value(value).map_err(|error| format!("is no control file: {error}"))?;
    if control.workers == Some(0) {
        return Err("asks for no worker at all; pause the job instead".to_owned());
    }
    if control.seal.take().is_some_and(|seal| !seal::holds(text, &seal)) {
        return Err("is not as it was written: say again what is asked".to_owned());
    }
    Ok(control)
}

/// Whether the pause file is in a target's directory. What it holds does not matter.
///
/// # Errors
/// It is not trusted, or could not be looked at.
pub fn has_pause_file(target: &Path) -> Result<bool, ControlError> {
    let path = target.join(PAUSE_FILE);
    match fs::symlink_metadata(&path) {
        Ok(meta) => is_owned(&path, &meta).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ControlError::Io { path, doing: "look at", source }),
    }
}

/// Changes what is asked, and returns what that is now. It is durable then. Of several who do so at once each sees what the others
/// have changed before.
///
/// # Errors
/// [`ControlError`]; nothing was changed.
pub fn change(directory: &Path, change: impl FnOnce(&mut Control)) -> Result<Control, ControlError> {
    let path = directory.join(NAME);
    let error = |doing| move |source| ControlError::Io { path: directory.join(NAME), doing, source };
    let held = File::open(directory).map_err(error("open the directory of"))?;
    // First: whoever it belongs to could have it locked for ever.
    trust(directory, &held.metadata().map_err(error("look at the directory of"))?)?;
    let held = ours::Held::wait(held).map_err(error("lock the directory of"))?;
    let mut control = read(directory)?;
    change(&mut control);
    let unsealed = Control { seal: Some(seal::BLANK.to_owned()), ..control.clone() };
    let mut text = serde_json::to_vec_pretty(&unsealed).map_err(|e| error("write")(e.into()))?;
    text.push(b'\n');
    let text = seal::sealed(text);
    let temporary = directory.join("control.json.new");
    // Anew: a file of that name that a crash left would keep its owner and mode.
    ours::replace(&held, &temporary, &path, &text).map_err(|(doing, source)| error(doing)(source))?;
    disk::sync(directory).map_err(error("replace"))?;
    Ok(control)
}

/// What is left of it in a journal directory, to be removed with the job.
pub(super) const FILES: [&str; 2] = [NAME, "control.json.new"];

/// Neither another user's, nor to be written by another.
fn trust(path: &Path, meta: &Metadata) -> Result<(), ControlError> {
    is_owned(path, meta)?;
    match meta.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(ControlError::Foreign {
            path: path.to_owned(),
            what: format!("can be written by others than its owner (mode {:03o})", meta.mode() & 0o777),
        }),
    }
}

fn is_owned(path: &Path, meta: &Metadata) -> Result<(), ControlError> {
    let (owner, own) = (meta.uid(), geteuid().as_raw());
    if may_ask(owner, own) {
        return Ok(());
    }
    let what = format!("belongs to user {owner}, and this process runs as user {own}");
    Err(ControlError::Foreign { path: path.to_owned(), what })
}

/// Whether what a user's files say counts for a process of another one, by their numbers.
fn may_ask(owner: u32, own: u32) -> bool {
    owner == own || owner == 0
}

impl Control {
    /// Nothing is asked.
    #[must_use]
    pub fn new() -> Control {
        Control { format: FORMAT, ..Control::default() }
    }

    /// Pauses the job. One that is paused stays so since it was.
    pub fn pause(&mut self) {
        if !self.paused {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            (self.paused, self.paused_since) = (true, now.ok().map(|now| now.as_secs()));
        }
    }

    /// Lets the job go on.
    pub fn resume(&mut self) {
        (self.paused, self.paused_since) = (false, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A journal directory that only its owner may write, whatever the umask of the tests.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_was_asked_is_read_back_and_changes_add_up() {
        let directory = directory();
        let directory = directory.path();
        assert_eq!(read(directory).unwrap(), Control::new());
        change(directory, Control::pause).unwrap();
        let limited = change(directory, |control| {
            control.bytes_per_second = Some(5 << 20);
            control.workers = Some(1);
        });
        let limited = limited.unwrap();
        assert!(limited.paused && limited.paused_since.is_some() && limited.workers == Some(1), "{limited:?}");
        assert_eq!(read(directory).unwrap(), limited);
        let again = change(directory, Control::pause).unwrap();
        assert_eq!(again.paused_since, limited.paused_since, "it is paused since it was first");
        let resumed = change(directory, Control::resume).unwrap();
        assert_eq!(resumed, Control { paused: false, paused_since: None, ..limited });
        assert!(!directory.join("control.json.new").exists());
    }

    #[test]
    fn of_many_changes_at_once_none_is_lost() {
        let directory = directory();
        let directory = directory.path();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || {
                    for _ in 0..8 {
                        change(directory, |control| *control.bytes_per_second.get_or_insert(0) += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(directory).unwrap().bytes_per_second, Some(64));
    }

    #[test]
    fn what_others_may_write_is_neither_read_nor_written() {
        let directory = directory();
        let directory = directory.path();
        change(directory, Control::pause).unwrap();
        let file = directory.join(NAME);
        for (path, bad, good) in
            [(&*file, 0o664, 0o644), (&*file, 0o646, 0o644), (directory, 0o775, 0o755), (directory, 0o757, 0o755)]
        {
            mode(path, bad);
            let before = fs::read(&file).unwrap();
            let error = read(directory).unwrap_err();
            assert!(matches!(error, ControlError::Foreign { .. }), "{path:?} {bad:o}: {error}");
            assert!(error.to_string().contains("others than its owner"), "{error}");
            assert!(change(directory, Control::resume).is_err(), "{path:?} {bad:o}");
            assert_eq!(fs::read(&file).unwrap(), before);
            mode(path, good);
        }
        assert!(read(directory).unwrap().paused);
    }

    /// If it waited, this would never end.
    #[test]
    fn nobody_waits_for_a_directory_that_others_may_write_and_have_locked() {
        let directory = directory();
        mode(directory.path(), 0o757);
        let theirs = File::open(directory.path()).unwrap();
        theirs.lock().unwrap();
        let error = change(directory.path(), Control::pause).unwrap_err();
        assert!(matches!(error, ControlError::Foreign { .. }), "{error}");
    }

    /// Only root can give files away; as root these are another user's, and a pause of theirs does not count.
    #[test]
    fn what_belongs_to_another_user_does_not_count() {
        let directory = directory();
        change(directory.path(), Control::pause).unwrap();
        let pause = directory.path().join(PAUSE_FILE);
        fs::write(&pause, "").unwrap();
        assert!(has_pause_file(directory.path()).unwrap());
        let file = directory.path().join(NAME);
        if std::os::unix::fs::chown(&file, Some(12345), None).is_err() {
            println!("SKIPPED: only root can give a file away");
            return;
        }
        std::os::unix::fs::lchown(&pause, Some(12345), None).unwrap();
        if !geteuid().is_root() {
            return;
        }
        for error in [read(directory.path()).unwrap_err(), has_pause_file(directory.path()).unwrap_err()] {
            assert!(error.to_string().contains("belongs to user 12345"), "{error}");
        }
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        std::os::unix::fs::chown(directory.path(), Some(12345), None).unwrap();
        assert!(matches!(read(directory.path()), Err(ControlError::Foreign { .. })));
    }

    #[test]
    fn what_its_own_user_and_root_ask_counts_and_nobody_elses_word() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }

    #[test]
    fn a_control_file_as_large_as_they_may_be_is_read_and_one_that_was_changed_since_is_refused() {
        let directory = directory();
        let directory = directory.path();
        change(directory, |control| control.workers = Some(5)).unwrap();
        let path = directory.join(NAME);
        let written = fs::read_to_string(&path).unwrap();
        fs::write(&path, written.replacen('5', "6", 1)).unwrap();
        let error = read(directory).unwrap_err().to_string();
        assert!(error.contains("not as it was written"), "{error}");
        let by_hand = "{\"format\": 1, \"workers\": 6}";
        let rest = " ".repeat(LARGEST as usize - by_hand.len());
        fs::write(&path, format!("{by_hand}{rest}")).unwrap();
        assert_eq!(read(directory).unwrap().workers, Some(6));
    }

    #[test]
    fn what_cannot_be_looked_at_is_an_error_and_not_nothing() {
        let directory = directory();
        let (no_directory, file) = (directory.path().join("file"), directory.path().join(NAME));
        fs::write(&no_directory, "").unwrap();
        assert!(!has_pause_file(&directory.path().join("missing")).unwrap());
        for error in [has_pause_file(&no_directory).unwrap_err(), read(&no_directory).unwrap_err()] {
            assert!(matches!(error, ControlError::Io { .. }), "{error}");
        }
        // Nobody can open a socket, and it is no link.
        let _socket = std::os::unix::net::UnixListener::bind(&file).unwrap();
        assert!(matches!(read(directory.path()), Err(ControlError::Io { .. })));
    }

    #[test]
    fn what_is_no_control_file_of_this_format_is_refused_and_stays() {
        let directory = directory();
        let directory = directory.path();
        for (text, why) in [
            ("{\"format\": 2, \"paused\": true}", "format 2"),
            ("{\"paused\": true}", "no format"),
            ("{\"format\": 1, \"pausd\": true}", "pausd"),
            ("{\"format\": 1, \"workers\": 0}", "no worker"),
            ("{\"format\": 1, \"yield\": \"never\"}", "never"),
            ("{\"format\": 1,", "not JSON"),
            ("", "not JSON"),
            (" ".repeat(LARGEST as usize + 1).as_str(), "larger"),
        ] {
            fs::write(directory.join(NAME), text).unwrap();
            mode(&directory.join(NAME), 0o644);
            let error = read(directory).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(change(directory, Control::pause).is_err());
            assert_eq!(fs::read_to_string(directory.join(NAME)).unwrap(), text);
        }
    }

    #[test]
    fn a_link_or_a_pipe_in_its_place_is_refused_at_once() {
        let directory = directory();
        let elsewhere = directory.path().join("elsewhere");
        fs::write(&elsewhere, "{\"format\": 1, \"paused\": true}").unwrap();
        let file = directory.path().join(NAME);
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        let error = read(directory.path()).unwrap_err();
        // The system speaks of links, too.
        assert!(matches!(&error, ControlError::Foreign { what, .. } if what == "is a symbolic link"), "{error}");
        fs::remove_file(&file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&file).status();
        if made.is_ok_and(|status| status.success()) {
            mode(&file, 0o644);
            assert!(read(directory.path()).unwrap_err().to_string().contains("is not a file"));
        }
    }
}
