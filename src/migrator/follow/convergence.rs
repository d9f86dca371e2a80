//! Whether a target comes closer to its chain, told from a few sightings of both. Pure: the times are given.

use std::collections::VecDeque;

/// Sightings that are kept: the newest ones.
const KEPT: usize = 12;
/// A lag of so many versions is none to speak of: between two sightings a node commits a few.
const CLOSE: u64 = 32;

/// What was seen of the chain and of the target at one time.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    seconds: f64,
    tip: u64,
    applied: u64,
}

/// Sightings of one epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Convergence {
    seen: VecDeque<Sighting>,
}

/// Which way the lag goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trend {
    /// Too few sightings to tell.
    Unknown,
    /// The lag is as small as it gets.
    Close,
    /// The target catches up.
    Shrinking,
    /// It does not.
    Growing,
}

/// What follows from the sightings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outlook {
    /// Versions that the chain had committed and the target had not applied.
    pub behind: u64,
    /// Versions a second that the chain commits.
    pub chain: Option<f64>,
    /// Versions a second by which the lag grows; negative where it shrinks.
    pub growth: Option<f64>,
    /// Seconds until the lag is gone, if it shrinks.
    pub seconds: Option<f64>,
    /// Which way it goes.
    pub trend: Trend,
}

impl Convergence {
    /// Notes what is seen at a time, in seconds from any fixed moment.
    pub fn see(&mut self, seconds: f64, tip: u64, applied: u64) {
        if self.seen.len() == KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(Sighting { seconds, tip, applied });
    }

    /// What follows with this sighting more, which is kept if the last one is older than a second: versions may be applied faster than
    /// that tells anything.
    pub fn with(&mut self, seconds: f64, tip: u64, applied: u64) -> Outlook {
        let mut with = self.clone();
        with.see(seconds, tip, applied);
        let outlook = with.outlook();
        if self.seen.back().is_none_or(|last| seconds - last.seconds >= 1.0) {
            *self = with;
        }
        outlook
    }

    /// What follows.
    pub fn outlook(&self) -> Outlook {
        let (Some(first), Some(last)) = (self.seen.front(), self.seen.back()) else {
            return Outlook { behind: 0, chain: None, growth: None, seconds: None, trend: Trend::Unknown };
        };
        let lag = |sighting: &Sighting| sighting.tip.saturating_sub(sighting.applied);
        let behind = lag(last);
        let elapsed = last.seconds - first.seconds;
        if elapsed <= 0.0 {
            let trend = if behind <= CLOSE { Trend::Close } else { Trend::Unknown };
            return Outlook { behind, chain: None, growth: None, seconds: None, trend };
        }
        let chain = last.tip.saturating_sub(first.tip) as f64 / elapsed;
        let growth = (behind as f64 - lag(first) as f64) / elapsed;
        let trend = match () {
            () if behind <= CLOSE => Trend::Close,
            () if growth < 0.0 => Trend::Shrinking,
            () => Trend::Growing,
        };
        let seconds = (growth < 0.0).then(|| behind as f64 / -growth);
        Outlook { behind, chain: Some(chain), growth: Some(growth), seconds, trend }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seen: &[(f64, u64, u64)]) -> Outlook {
        let mut convergence = Convergence::default();
        for &(seconds, tip, applied) in seen {
            convergence.see(seconds, tip, applied);
        }
        convergence.outlook()
    }

    #[test]
    fn a_target_that_applies_faster_than_the_chain_commits_says_when_it_will_be_there() {
        let outlook = after(&[(0.0, 1000, 0), (10.0, 1010, 210)]);
        assert_eq!(outlook.trend, Trend::Shrinking);
        assert_eq!((outlook.behind, outlook.chain, outlook.growth), (800, Some(1.0), Some(-20.0)));
        assert_eq!(outlook.seconds, Some(40.0));
    }

    #[test]
    fn a_target_that_applies_slower_does_not_converge_and_no_time_is_promised() {
        let outlook = after(&[(0.0, 1000, 500), (10.0, 1100, 550)]);
        assert_eq!(outlook.trend, Trend::Growing);
        assert_eq!((outlook.growth, outlook.seconds), (Some(5.0), None));
        // Standing still beside a chain that stands still, with work left, is no convergence either.
        assert_eq!(after(&[(0.0, 1000, 500), (10.0, 1000, 500)]).trend, Trend::Growing);
    }

    #[test]
    fn the_few_versions_between_two_looks_are_no_lag_and_one_look_says_nothing_of_its_way() {
        assert_eq!(after(&[(0.0, 10, 5), (1.0, 20, 8)]).trend, Trend::Close);
        assert_eq!(after(&[(0.0, 1000, 5)]).trend, Trend::Unknown);
        assert_eq!(after(&[]).trend, Trend::Unknown);
    }

    #[test]
    fn sightings_within_a_second_count_now_and_are_not_kept() {
        let mut convergence = Convergence::default();
        assert_eq!(convergence.with(0.0, 1000, 0).trend, Trend::Unknown);
        for tenth in 1..10 {
            let outlook = convergence.with(f64::from(tenth) / 10.0, 1000, 10 * tenth as u64);
            assert_eq!((outlook.behind, outlook.trend), (1000 - 10 * tenth as u64, Trend::Shrinking));
            assert_eq!(convergence.seen.len(), 1);
        }
        assert_eq!(convergence.with(2.0, 1200, 100).trend, Trend::Growing);
        assert_eq!(convergence.seen.len(), 2);
    }

    #[test]
    fn what_was_long_ago_does_not_count_any_more() {
        let mut seen: Vec<(f64, u64, u64)> = vec![(0.0, 100_000, 0)];
        seen.extend((1..=KEPT as u64).map(|n| (n as f64, 100_000 + 10 * n, 99_000)));
        assert_eq!(after(&seen).trend, Trend::Growing);
    }
}
