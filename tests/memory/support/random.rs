//! Seeded numbers (SplitMix64): the same seed gives the same run everywhere. Tests print the seed they use.

/// A generator.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

/// The seed of a test: `STORESHIFT_SEED` or the given one, printed either way.
pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("STORESHIFT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    println!("seed {seed} (STORESHIFT_SEED={seed} repeats this run)");
    seed
}
