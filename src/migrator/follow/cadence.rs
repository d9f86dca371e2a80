//! At which pace a node commits, told from what is seen of its database now and then. Pure: the times are given.

/// What was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cadence {
    last: Option<(u64, f64)>,
}

impl Cadence {
    /// Notes the newest version and when the database was last written to, in seconds from any fixed moment. Says how far apart
    /// the versions since came, if there are any: looking seldom or often makes no difference, because the time is that of a
    /// commit and not that of the look.
    pub fn see(&mut self, tip: u64, written: f64) -> Option<f64> {
        // What is written without a new version (pruning) says nothing of the pace.
        if self.last.is_some_and(|(before, _)| tip == before) {
            return None;
        }
        let (before, at) = self.last.replace((tip, written))?;
        (tip > before && written > at).then(|| (written - at) / (tip - before) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_commits_however_often_one_looks() {
        let mut cadence = Cadence::default();
        assert_eq!(cadence.see(10, 100.0), None, "one sighting is no pace");
        assert_eq!(cadence.see(11, 106.0), Some(6.0));
        assert_eq!(cadence.see(11, 107.5), None, "only pruning wrote");
        assert_eq!(cadence.see(14, 124.0), Some(6.0), "three blocks at one look");
        assert_eq!(cadence.see(15, 136.0), Some(12.0), "a late one");
    }

    #[test]
    fn a_database_that_was_rolled_back_or_whose_clock_was_set_back_begins_anew() {
        let mut cadence = Cadence::default();
        cadence.see(10, 100.0);
        assert_eq!(cadence.see(5, 110.0), None);
        assert_eq!(cadence.see(6, 113.0), Some(3.0));
        assert_eq!(cadence.see(7, 50.0), None);
        assert_eq!(cadence.see(8, 56.0), Some(6.0));
    }
}
