//! How much memory leaves take in a [`super::Forest`], by store: owns what was measured, and says how many are worth a try next.
//!
//! What does not fit is read for nothing, what would have fitted is only read later. So a store that nothing is known of is taken for
//! one of the largest leaves there were, and those are forgotten slowly: others of its keys may lead to such leaves.

use std::sync::atomic::{AtomicU64, Ordering};

/// Memory for a leaf before any was measured.
const FIRST_GUESS: u64 = 500;

/// Bytes of a leaf, its share of inner nodes included; measured by several threads, none of which waits for another.
#[derive(Debug)]
pub struct LeafBytes {
    /// What is expected in each store, 0 where nothing is known.
    stores: Vec<AtomicU64>,
    /// The most in any of them.
    most: AtomicU64,
}

impl LeafBytes {
    /// Of so many stores, which are numbered from 0.
    #[must_use]
    pub fn new(stores: usize) -> LeafBytes {
        LeafBytes { stores: (0..stores).map(|_| AtomicU64::new(0)).collect(), most: AtomicU64::new(0) }
    }

    /// The first of these chunks of a store that are expected to fit the budget in bytes together; at least one.
    pub fn fitting<'c, T>(&self, store: usize, budget: usize, chunks: &'c [T], leaves: impl Fn(&T) -> u64) -> &'c [T] {
        let mut room = budget as u64 / self.expected(store).max(1);
        let fitting = chunks.iter().take_while(|chunk| {
            let fits = leaves(chunk) <= room;
            room = room.saturating_sub(leaves(chunk));
            fits
        });
        let count = fitting.count().max(1);
        chunks.get(..count).unwrap_or(chunks)
    }

    /// So many leaves fitted, and took so many bytes.
    pub fn fitted(&self, store: usize, bytes: usize, leaves: u64) {
        self.add(store, bytes as u64 / leaves.max(1) + 1);
    }

    /// So many leaves did not fit, and are expected to take so many bytes; fewer of them are tried next.
    pub fn exceeded(&self, store: usize, budget: usize, expected: u64, leaves: u64) {
        let budget = budget as u64;
        // More than what did not fit, or it would be tried again; but the part that was read may be unlike the rest.
        self.add(store, expected.clamp(budget + budget / 8, budget * 4) / leaves.max(1) + 1);
    }

    fn expected(&self, store: usize) -> u64 {
        self.known(store).unwrap_or(FIRST_GUESS)
    }

    fn add(&self, store: usize, measured: u64) {
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

    #[test]
    fn of_chunks_that_did_not_fit_fewer_are_tried_next_until_it_is_one() {
        let chunks = [1_000u64; 64];
        for expected in [0, 1, 100_001, 1 << 40] {
            let bytes = LeafBytes::new(1);
            let mut tried = bytes.fitting(0, 100_000_000, &chunks, |leaves| *leaves).len();
            assert_eq!(tried, 64);
            while tried > 1 {
                bytes.exceeded(0, 100_000, expected, tried as u64 * 1_000);
                let next = bytes.fitting(0, 100_000, &chunks, |leaves| *leaves).len();
                assert!(next < tried && next > 0, "{next} of {tried}");
                tried = next;
            }
        }
    }
}
