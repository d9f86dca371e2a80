//! A file system that is shut down under the running binary, as a power cut does it: what it had not yet made durable is gone, and the
//! directory is then what ext4 makes of its own log.

use crate::helper::{Job, Random, baseline, times, whole_history};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// `EXT4_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)` (Linux, fs/ext4/ext4.h); the same number works on XFS and F2FS.
const SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
/// Nothing more is written, not even the file system's own log.
const NO_LOG_FLUSH: u32 = 2;

/// An ext4 in a file, mounted.
struct Volume {
    directory: tempfile::TempDir,
}

impl Volume {
    /// None where this process may not mount, which is said loudly. Its file is sparse: a run leaves a GiB free.
    fn new() -> Option<Volume> {
        let directory = crate::helper::fresh();
        let volume = Volume { directory };
        let image = volume.image();
        File::create(&image).and_then(|file| file.set_len(2 << 30)).unwrap();
        fs::create_dir(volume.path()).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).output();
        let made = made.is_ok_and(|output| output.status.success());
        if !made || !volume.mount() {
            println!("SKIPPED: no ext4 can be made and mounted here, so none is shut down");
            return None;
        }
        Some(volume)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) -> bool {
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()).output();
        mounted.is_ok_and(|output| output.status.success())
    }

    fn unmount(&self) -> bool {
        Command::new("umount").arg(self.path()).output().is_ok_and(|output| output.status.success())
    }

    fn shut_down(&self) {
        let directory = File::open(self.path()).unwrap();
        // SAFETY: the opcode is that of a call that reads one u32 through the pointer it is given, whatever its direction bits say,
        // and keeps nothing of it; `Setter` passes a pointer to one that lives until the call has returned.
        unsafe {
            let call = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH);
            rustix::ioctl::ioctl(&directory, call).unwrap();
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[test]
fn a_file_system_that_is_shut_down_under_a_migration_loses_nothing_that_counts() {
    let Some(volume) = Volume::new() else { return };
    let mut random = Random::new("moments of shutting down");
    let (mut hit, mut over) = (0, 0);
    for round in 0..6 * times() {
        let (name, more): (&str, &[&str]) = match round % 3 {
            0 => ("nofast", &["--at", "oldest"]),
            1 => ("idle", &["--at", "oldest"]),
            _ => ("mixed", whole_history("mixed")),
        };
        let target = volume.path().join(format!("target-{round}"));
        let job = Job { at: Some(target.clone()), ..Job::of(name, more) };
        let began = Instant::now();
        Job::of(name, more).run(&[]).expect(0, &[]);
        let whole = began.elapsed();
        // Twice in a row now and then.
        for _ in 0..=random.below(2) {
            let running = Command::new(crate::helper::binary())
                .args(job.args("run", &[]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let mut running = running.unwrap();
            // The random moment is the experiment, not a way to wait for something.
            std::thread::sleep(whole.mul_f64(random.below(1100) as f64 / 1000.0).max(Duration::from_millis(1)));
            volume.shut_down();
            let is_over = running.try_wait().unwrap().is_some_and(|status| status.success());
            let _ = running.kill();
            running.wait().unwrap();
            if is_over {
                over += 1
            } else {
                hit += 1
            }
            assert!(volume.unmount(), "round {round}");
            assert!(volume.mount(), "round {round}");
        }
        let ran = job.run(&[]);
        assert_eq!(ran.code, Some(0), "round {round}, {name}: {ran:#?}");
        job.dump().assert_same(&baseline(name, more), &format!("round {round}"));
        fs::remove_dir_all(&target).unwrap();
    }
    println!("an ext4 was shut down {hit} times under a run, and {over} times after one");
    assert!(hit > 0);
}
