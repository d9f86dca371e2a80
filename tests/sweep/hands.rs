//! Faults dealt out to several hands, each of which has a place of its own to damage.

use crate::{
    support::random::Random,
    table::{Fate, Table},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

/// A fault: a bit of a file, or a trial of seeded damage.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Bit { file: usize, bit: usize },
    Random { trial: u64 },
}

impl Fault {
    /// The numbers of a trial: the same whoever tries it.
    pub fn numbers(seed: u64, trial: u64) -> Random {
        Random(Random(seed ^ trial.rotate_left(32)).next())
    }
}

/// What a hand did with a fault: nothing, if the damage was none, or where, of which kind, what came of it and what it was.
pub type Tried = Option<(String, &'static str, Fate, String)>;

/// Has hands try all faults, each with what `begin` gives it; what came of them, and what the hands held in the end.
pub fn deal<H: Send>(
    faults: &[Fault],
    begin: impl Fn(usize) -> H + Sync,
    try_one: impl Fn(&mut H, Fault) -> Tried + Sync,
) -> (Table, Vec<H>) {
    let next = AtomicUsize::new(0);
    let work = |number: usize| {
        let (mut hand, mut table) = (begin(number), Table::default());
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some((place, kind, fate, what)) = try_one(&mut hand, *fault) {
                table.count(&place, kind, fate, || what);
            }
        }
        (table, hand)
    };
    // One more than there are cores: engines wait while threads and files come and go.
    let hands = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1).min(8);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..hands).map(|number| scope.spawn(move || work(number))).collect();
        let mut all = (Table::default(), Vec::new());
        for hand in hands {
            let (table, hand) = hand.join().unwrap();
            all.0.add(table);
            all.1.push(hand);
        }
        all
    })
}

/// What came of it, a panic included.
pub fn caught(fate: impl FnOnce() -> Fate) -> Fate {
    catch_unwind(AssertUnwindSafe(fate)).unwrap_or(Fate::Panic)
}
