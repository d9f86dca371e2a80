//! Many hands: work on items side by side, results in the order of the items.

use super::Interrupted;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

/// Runs `work` on every item with several workers, each of which keeps one `S` from item to item, and hands the results to
/// `done` on the calling thread, in the order of the items. The first interruption ends all.
pub(super) fn in_order<S, T: Send, R: Send>(
    workers: usize,
    items: impl Iterator<Item = T> + Send,
    begin: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<R, Interrupted> + Sync,
    mut done: impl FnMut(R),
) -> Result<(), Interrupted> {
    let queue = Mutex::new(items.enumerate());
    let failed = AtomicBool::new(false);
    let (sender, receiver) = sync_channel::<(usize, Result<R, Interrupted>)>(workers.max(1));
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            let (sender, queue, failed, work, begin) = (sender.clone(), &queue, &failed, &work, &begin);
            scope.spawn(move || {
                let mut state = begin();
                while !failed.load(Ordering::SeqCst) {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, item)) = next else { return };
                    let result = work(&mut state, item);
                    failed.fetch_or(result.is_err(), Ordering::SeqCst);
                    if sender.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (index, result) in receiver {
            match result {
                Ok(result) => drop(waiting.insert(index, result)),
                Err(error) => outcome = outcome.and(Err(error)),
            }
            while let Some(result) = waiting.remove(&next) {
                next += 1;
                if outcome.is_ok() {
                    done(result);
                }
            }
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_interruption_ends_all() {
        let mut seen = Vec::new();
        in_order(3, 0..100, || (), |(), item: u32| Ok(item), |item| seen.push(item)).unwrap();
        assert!(seen.into_iter().eq(0..100));
        let stopped = |(): &mut (), item: u32| if item == 40 { Err(Interrupted::Stopped) } else { Ok(item) };
        let mut last = None;
        assert!(matches!(in_order(3, 0.., || (), stopped, |item| last = Some(item)), Err(Interrupted::Stopped)));
        assert!(last <= Some(39));
    }
}
