//! When a node kills itself: at a stage of its switch that the library tells of, or a little later. It is the kernel's `SIGKILL`, so
//! nothing of the process has a say in it, wherever its threads are.

use std::{
    sync::mpsc::{Sender, channel},
    time::Duration,
};
use tracing::{Event, Subscriber, field};
use tracing_subscriber::{Layer, layer::Context};

/// From the request on; each is the begin of what it is called after.
pub const STAGES: [&str; 6] = ["asked", "fence", "seal", "record", "recorded", "open"];

/// A stage, and the time after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub stage: String,
    pub after: Duration,
}

impl Kill {
    /// `STAGE:MICROSECONDS`.
    pub fn read(text: &str) -> Option<Kill> {
        let (stage, micros) = text.split_once(':')?;
        Some(Kill { stage: stage.to_owned(), after: Duration::from_micros(micros.parse().ok()?) })
    }

    pub fn text(&self) -> String {
        format!("{}:{}", self.stage, self.after.as_micros())
    }

    /// Makes ready to be killed.
    pub fn wait(&self) -> Killer {
        let (reached, wait) = channel();
        let kill = self.clone();
        std::thread::spawn(move || {
            if wait.recv().is_ok() {
                std::thread::sleep(kill.after);
                die();
            }
        });
        Killer { kill: self.clone(), reached }
    }
}

fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Hears of stages.
#[derive(Clone, Debug)]
pub struct Killer {
    kill: Kill,
    reached: Sender<()>,
}

impl Killer {
    /// A stage has come.
    pub fn reached(&self, stage: &str) {
        if stage == self.kill.stage {
            if self.kill.after.is_zero() {
                die();
            }
            let _ = self.reached.send(());
        }
    }
}

/// The stage that an event tells of, if it does.
pub fn stage_of(event: &Event<'_>) -> Option<String> {
    struct Stage(Option<String>);
    impl field::Visit for Stage {
        fn record_str(&mut self, field: &field::Field, value: &str) {
            if field.name() == "stage" {
                self.0 = Some(value.to_owned());
            }
        }

        fn record_debug(&mut self, _: &field::Field, _: &dyn std::fmt::Debug) {}
    }
    let mut stage = Stage(None);
    event.record(&mut stage);
    stage.0
}

impl<S: Subscriber> Layer<S> for Killer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(stage) = stage_of(event) {
            self.reached(&stage);
        }
    }
}
