//! A limit on bytes per second. Bytes are paid for after they were moved, so a unit of work may go into debt; nobody begins
//! another one until the debt is paid. Time is given from outside.

use std::time::Duration;

/// Seconds' worth that an idle bucket saves up at most.
const BURST: f64 = 1.0;

/// Never less, or a thread would wake for nothing.
const SHORTEST: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Bytes per second; none without a limit.
    rate: Option<u64>,
    /// Bytes that may be moved now; negative if they were moved already.
    level: f64,
    at: Duration,
}

impl Bucket {
    pub fn set(&mut self, rate: Option<u64>, now: Duration) {
        if rate == self.rate {
            return;
        }
        self.fill(now);
        // What was moved under the old limit stays to be paid for under the new one; without a limit there is no debt.
        if rate.is_none() || self.rate.is_none() {
            self.level = 0.0;
        }
        self.rate = rate.map(|rate| rate.max(1));
        self.fill(now);
    }

    pub fn spend(&mut self, bytes: u64, now: Duration) {
        if self.rate.is_some() {
            self.fill(now);
            self.level -= bytes as f64;
        }
    }

    /// How long nobody may begin anything.
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        let rate = self.rate?;
        self.fill(now);
        let debt = -self.level;
        // Less than a byte is rounding.
        (debt >= 1.0).then(|| Duration::try_from_secs_f64(debt / rate as f64).unwrap_or(Duration::MAX).max(SHORTEST))
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate {
            self.level = (self.level + passed * rate as f64).min(rate as f64 * BURST);
        }
    }
}
