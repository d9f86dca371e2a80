//! For how long the gate is closed at a switch: from the stage in which the library closes it to the one in which it is open again.

use super::kill::stage_of;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

/// Hears of the stages. Clones share what they heard.
#[derive(Clone, Debug, Default)]
pub struct Closed(Arc<Mutex<(Option<Instant>, Option<Duration>)>>);

impl Closed {
    /// How long it was, the last time.
    pub fn last(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl<S: Subscriber> Layer<S> for Closed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(stage) = stage_of(event) else { return };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match stage.as_str() {
            "fence" => *heard = (Some(Instant::now()), None),
            "open" => heard.1 = heard.0.map(|since| since.elapsed()),
            _ => {}
        }
    }
}
