//! How much memory leaves take, by store: owns what was measured, and says how many of them are worth a try next.
//!
//! What does not fit is read for nothing, what would have fitted is only read later. So a store that nothing is known of is taken for
//! one of the largest leaves there were, and those are forgotten slowly: others of its keys may lead to such leaves.

use std::sync::atomic::{AtomicU64, Ordering};

/// Memory for a leaf before any was measured.
const FIRST_GUESS: u64 = 500;

/// Bytes of a leaf, its share of inner nodes included; measured by several threads, none of which waits for another.
pub(super) struct LeafBytes {
    /// What is expected in each store, 0 where nothing is known.
    stores: Vec<AtomicU64>,
    /// The most in any of them.
    most: AtomicU64,
}

impl LeafBytes {
    pub(super) fn new(stores: usize) -> LeafBytes {
        LeafBytes { stores: (0..stores).map(|_| AtomicU64::new(0)).collect(), most: AtomicU64::new(0) }
    }

    pub(super) fn expected(&self, store: usize) -> u64 {
        self.known(store).unwrap_or(FIRST_GUESS)
    }

    /// What neighbouring leaves of a store took on average, or what those that did not fit are expected to take.
    pub(super) fn add(&self, store: usize, measured: u64) {
        // Those beside them are a little larger.
        let measured = measured + measured / 32;
        let before = self.known(store).unwrap_or(measured);
        let forgotten = before.saturating_sub(measured) / 8;
        if let Some(own) = self.stores.get(store) {
            own.store(measured.max(before - forgotten), Ordering::Relaxed);
        }
        self.most.fetch_max(measured, Ordering::Relaxed);
    }

    fn known(&self, store: usize) -> Option<u64> {
        let own = self.stores.get(store).map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        let known = if own > 0 { own } else { self.most.load(Ordering::Relaxed) };
        (known > 0).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_nothing_is_known_of_is_taken_for_one_of_the_largest_leaves_there_were() {
        let bytes = LeafBytes::new(3);
        assert_eq!(bytes.expected(0), FIRST_GUESS);
        bytes.add(0, 320);
        assert_eq!([0, 1, 2].map(|store| bytes.expected(store)), [330; 3]);
        bytes.add(1, 640);
        assert_eq!([0, 1, 2].map(|store| bytes.expected(store)), [330, 660, 660]);
    }

    #[test]
    fn what_leaves_take_is_never_expected_to_be_less_than_the_last_ones_took_and_large_ones_are_forgotten_slowly() {
        let bytes = LeafBytes::new(1);
        bytes.add(0, 32_000);
        // An eighth of what they were larger by goes with each: 330 + 32 670 * (7/8)^n.
        for left in [28_916, 25_343, 22_217, 19_481] {
            bytes.add(0, 320);
            assert!(bytes.expected(0).abs_diff(left) < 8, "{}", bytes.expected(0));
        }
        for _ in 0..100 {
            bytes.add(0, 320);
        }
        assert!((330..340).contains(&bytes.expected(0)));
        bytes.add(0, 3_200);
        assert_eq!(bytes.expected(0), 3_300);
    }
}
