//! Quantiles, and intervals around differences of them by drawing the pairs again.

use super::blocks::stream;

/// The quantile of sorted numbers: the smallest with at least that share at or below it.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

pub fn sorted(numbers: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Runs without and with, in pairs, as milliseconds of each commit.
pub type Pairs = [Pair];

type Pair = (Vec<f64>, Vec<f64>);

/// A quantile without, one with, what that adds, and an interval that has the true addition in it 19 times of 20, as far as the pairs
/// tell: they are drawn again, each with all its commits, because the commits of one run are not independent.
pub struct Added {
    pub without: f64,
    pub with: f64,
    pub interval: (f64, f64),
}

impl Added {
    pub fn of(pairs: &Pairs, share: f64, seed: u64) -> Added {
        let (without, with) = pooled(&pairs.iter().collect::<Vec<_>>(), share);
        let mut draw = stream(&[seed, 0xb007]);
        let again = (0..1000).map(|_| {
            let chosen: Vec<_> = (0..pairs.len()).map(|_| &pairs[(draw() % pairs.len() as u64) as usize]).collect();
            let (without, with) = pooled(&chosen, share);
            with - without
        });
        let again = sorted(again);
        Added { without, with, interval: (quantile(&again, 0.025), quantile(&again, 0.975)) }
    }

    pub fn added(&self) -> f64 {
        self.with - self.without
    }
}

fn pooled(chosen: &[&Pair], share: f64) -> (f64, f64) {
    let of = |side: fn(&Pair) -> &Vec<f64>| {
        quantile(&sorted(chosen.iter().flat_map(|pair| side(pair).iter().copied())), share)
    };
    (of(|pair| &pair.0), of(|pair| &pair.1))
}
