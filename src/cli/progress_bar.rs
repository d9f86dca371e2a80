//! Progress on standard error: a bar with rates and time left on a terminal, plain lines elsewhere.

use super::report::{bytes, duration, line};
use crate::{
    doctor::{Standing, Step},
    migrator::Status,
    progress::Progress,
};
use indicatif::{ProgressBar as Bar, ProgressStyle};
use std::{
    io::IsTerminal as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Between two plain lines, unless the phase changes.
const PERIOD: Duration = Duration::from_secs(10);

pub struct ProgressBar {
    bar: Option<Bar>,
    phase: String,
    permille: u64,
    last: Instant,
}

impl ProgressBar {
    pub fn new() -> ProgressBar {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = Bar::new(1000);
            if let Ok(style) = ProgressStyle::with_template("{prefix:>12} {bar:20} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        ProgressBar { bar, phase: String::new(), permille: 0, last: Instant::now() }
    }

    pub fn show(&mut self, status: &Status) {
        let counts = &status.counts;
        if let Some(wait) = status.wait.as_ref().filter(|wait| wait.is_pause()) {
            // Said once: it may last for days.
            if self.bar.is_some() || self.phase != wait.kind {
                let permille = self.permille;
                self.draw(&wait.kind, permille, format!("{}: {}", wait.kind, wait.why));
            }
            return;
        }
        let (permille, mut text) = match status.phase.as_str() {
            "Restoring" => {
                let total = counts.pairs_total.max(1);
                let done = counts.pairs_restored + counts.pairs_proven;
                let rate =
                    format!("{:.0} pairs/s, {}/s", status.pairs_per_second, bytes(status.bytes_per_second as u64));
                let text = match &self.bar {
                    // A terminal may be 80 columns wide, and the bar tells how much is done.
                    Some(_) => rate,
                    None => format!(
                        "{} of {total} pairs restored, {} read back and proven, {rate}",
                        counts.pairs_restored, counts.pairs_proven
                    ),
                };
                (done.saturating_mul(500) / total, text)
            }
            "Syncing" | "Switching" => {
                let height = status.height.unwrap_or(0);
                let applied = status.applied.unwrap_or(height);
                let done = applied.saturating_sub(height).saturating_mul(1000);
                let text = match &status.following {
                    Some(following) if !following.waiting.is_empty() && applied >= following.tip => {
                        format!("version {applied}, waiting {}", following.waiting)
                    }
                    _ => format!("version {applied} of {}, {} changes applied", status.tip, counts.changes),
                };
                (done.checked_div(status.tip.saturating_sub(height)).unwrap_or(1000), text)
            }
            // Over in a moment; the last line says how it ended.
            "Done" | "Halted" => return,
            _ => (0, status.summary.clone()),
        };
        if let Some(seconds) = status.eta_seconds {
            text.push_str(&format!(", about {} left", duration(seconds)));
        }
        if let Some(wait) = &status.wait {
            text.push_str(&format!("; {}: {}", wait.kind, wait.why));
        }
        self.draw(&status.phase, permille, text);
    }

    pub fn show_verifying(&mut self, progress: &Progress) {
        let total = progress.counts().pairs_total;
        let verified = progress.pairs_verified.load(Ordering::Relaxed);
        let text = format!("{verified} of {total} pairs read back and proven");
        self.draw("Verifying", verified.saturating_mul(1000) / total.max(1), text);
    }

    pub fn show_examining(&mut self, standing: Standing) {
        let Standing { step, done, total, .. } = standing;
        let done = done.min(total);
        let (name, mut text) = match step {
            Step::Scanning => ("Scanning", format!("{} of about {} of records", bytes(done), bytes(total))),
            Step::Proving => ("Proving", format!("{done} of {total} keys of the newest version")),
            Step::Walking => ("Walking", format!("{done} of {total} older versions")),
        };
        if let Some(left) = standing.left() {
            text.push_str(&format!(", about {} left", duration(left.as_secs_f64())));
        }
        self.draw(name, done.saturating_mul(1000) / total.max(1), text);
    }

    fn draw(&mut self, phase: &str, permille: u64, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(phase.to_owned());
                bar.set_position(permille);
                bar.set_message(text);
            }
            None if self.phase != phase || self.last.elapsed() >= PERIOD => {
                line(&if text.starts_with(phase) { text } else { format!("{phase}: {text}") });
                self.last = Instant::now();
            }
            None => {}
        }
        self.permille = permille;
        phase.clone_into(&mut self.phase);
    }

    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    pub fn finish(&mut self, last: &Status) {
        self.clear();
        line(&last.summary);
    }
}
