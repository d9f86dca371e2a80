//! A job in the background of a tokio program: its engines block, so it runs on a thread of its own, and only its status
//! and its end come back.

use super::{Following, Migrator, Outcome, Status, estimate::disk_free, steering::Steering};
use crate::{
    error::Error,
    journal,
    machine::Phase,
    progress::{Counts, Progress, Stop},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::JoinHandle};

/// How often the status is renewed and the disk looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// A job that runs.
pub struct Running {
    /// The newest status; closed when the job has ended.
    pub status: watch::Receiver<Status>,
    /// Ask this to stop it.
    pub stop: Stop,
    end: JoinHandle<Result<Outcome, Error>>,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// As [`Migrator::run`]; a panic of the job is [`Error::Invariant`].
    pub async fn end(self) -> Result<Outcome, Error> {
        self.end.await.unwrap_or(Err(Error::Invariant("the migration thread panicked")))
    }
}

impl Migrator {
    /// Starts the job in the background. While it runs, `journal/status.json` is renewed, and the job stops by itself
    /// before the disk has less than the reserve. What an operator asks through the control file and the pause file is done.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(mut self, source: &std::path::Path) -> Running {
        let directory = self.place.as_ref().map(|place| place.journal());
        let status = Arc::new(Mutex::new(self.first_status(source)));
        let shared = status.clone();
        self.recorder.observe(Box::new(move |state| {
            shared.lock().unwrap_or_else(PoisonError::into_inner).set_state(state);
        }));
        // Before the first unit of work: a job may have been paused before this run.
        let steering = Steering::new(&self);
        let mut beat = Beat {
            steering,
            target: self.place.as_ref().map(|place| place.root().to_owned()),
            directory,
            status,
            following: self.chain.report(),
            began: Instant::now(),
            at_start: self.counts(),
            reserve: self.tuning.reserve,
        };
        let first = beat.renew(&self.progress, &self.stop);
        let (sender, receiver) = watch::channel(first);
        let (stop, progress) = (self.stop(), self.progress());
        let asked = stop.clone();
        let end = tokio::task::spawn(async move {
            let mut job = tokio::task::spawn_blocking(move || {
                let outcome = self.run();
                (self, outcome)
            });
            let ended = loop {
                tokio::select! {
                    ended = &mut job => break ended,
                    () = tokio::time::sleep(PERIOD) => {
                        sender.send_replace(beat.renew(&progress, &asked));
                    }
                }
            };
            if let Ok((_, Err(error))) = &ended {
                beat.status.lock().unwrap_or_else(PoisonError::into_inner).set_error(error);
            }
            sender.send_replace(beat.renew(&progress, &asked));
            match ended {
                Ok((migrator, outcome)) => {
                    // Closing the engines may write; it must not hold up whoever shares this runtime.
                    let closed = tokio::task::spawn_blocking(move || drop(migrator)).await;
                    closed.map_or(Err(Error::Invariant("closing the engines panicked")), |()| outcome)
                }
                Err(_) => Err(Error::Invariant("the migration thread panicked")),
            }
        });
        Running { status: receiver, stop, end }
    }

    fn first_status(&self, source: &std::path::Path) -> Status {
        let job = &self.job;
        let source = super::paths::resolve(source).display().to_string();
        // A job that is done reads no source, and is told one that is gone or another one.
        let before = self.place.as_ref().filter(|_| matches!(self.recorder.state().phase, Phase::Done { .. }));
        let before = before.and_then(|place| journal::status::read::<Status>(&place.journal()));
        let mut status = Status {
            format: Status::FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            job: job.id.to_string(),
            source: before.map_or(source, |before| before.source),
            checkpoint: self.checkpoint().map(|(checkpoint, _)| checkpoint.path.display().to_string()),
            target: self.place.as_ref().map_or(String::new(), |place| place.root().display().to_string()),
            parts: job.plan.parts.to_string(),
            phase: String::new(),
            summary: String::new(),
            height: Some(job.source.height.0),
            app_hash: job.source.app_hash.to_string(),
            following: None,
            attempts: 0,
            epoch: 0,
            epoch_reason: None,
            memory_stores_left_out: job.plan.leave_out_memory_stores,
            tip: self.feed.tip().map_or(job.source.tip.0, |tip| tip.0),
            applied: None,
            chunks: (self.manifest.chunks(), 0, 0),
            counts: Counts::default(),
            pairs_per_second: 0.0,
            bytes_per_second: 0.0,
            elapsed_seconds: 0.0,
            steps: Vec::new(),
            wait: None,
            limits: None,
            eta_seconds: None,
            disk_free: None,
            pid: std::process::id(),
            updated: 0,
            error: None,
            next: String::new(),
        };
        status.set_state(self.recorder.state());
        status
    }
}

struct Beat {
    steering: Steering,
    target: Option<PathBuf>,
    directory: Option<PathBuf>,
    status: Arc<Mutex<Status>>,
    following: Option<Arc<Mutex<Following>>>,
    began: Instant,
    at_start: Counts,
    reserve: u64,
}

impl Beat {
    /// Brings the status up to date, writes it for `status` to read, and looks at the disk.
    fn renew(&mut self, progress: &Progress, stop: &Stop) -> Status {
        let steered = self.steering.look();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(following) = &self.following {
            let following = following.lock().unwrap_or_else(PoisonError::into_inner).clone();
            status.tip = status.tip.max(following.tip);
            status.checkpoint = following.reading.clone().or(status.checkpoint.take());
            status.app_hash = following.app_hash.clone().unwrap_or(std::mem::take(&mut status.app_hash));
            status.following = Some(following);
        }
        if status.phase == "Done" && self.following.is_some() {
            // It is gone. A run that ended with its first checkpoint says instead that the node went on.
            status.checkpoint = None;
        }
        status.steps = progress.steps();
        status.set_counts(progress.counts(), self.at_start, self.began.elapsed(), steered.held);
        status.set_wait(steered.wait, steered.limits);
        status.updated = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        status.disk_free = self.target.as_deref().and_then(disk_free);
        if let Some(free) = status.disk_free
            && free < self.reserve
            && status.phase != "Done"
        {
            stop.ask(format!(
                "only {} MiB are free on the target's disk, {} MiB are to be left; make room first",
                free >> 20,
                self.reserve >> 20
            ));
        }
        if let Some(directory) = &self.directory
            && let Err(error) = journal::status::write(directory, &*status)
        {
            tracing::warn!(%error, "the status file could not be renewed; the migration goes on");
        }
        status.clone()
    }
}
