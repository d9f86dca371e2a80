//! Owns the workers of a phase and what they have to do. Hands each result to the thread that called, which records it.

use super::{PhaseError, Work};
use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

/// Runs `work` on every item with several workers and hands each result to `done` on the calling thread, in the order
/// they are finished. Every worker keeps one `S` from item to item: its buffers. The first error, of either, stops
/// everybody after the unit in flight and is returned. How many work at the same time is up to the governor, at most as many as
/// the tuning says.
pub(crate) fn in_parallel<S: Default, T: Send, R: Send>(
    frame: Work<'_>,
    items: Vec<T>,
    work: impl Fn(&mut S, T, &mut dyn FnMut(R) -> bool) -> Result<(), PhaseError> + Sync,
    mut done: impl FnMut(R) -> Result<(), PhaseError>,
) -> Result<(), PhaseError> {
    in_parallel_growing(frame, items, work, |result| done(result).map(|()| Vec::new()))
}

/// As [`in_parallel`], where `done` says what else there is to do now. That comes after all that was there before it.
pub(super) fn in_parallel_growing<S: Default, T: Send, R: Send>(
    Work { governor, tuning, .. }: Work<'_>,
    items: Vec<T>,
    work: impl Fn(&mut S, T, &mut dyn FnMut(R) -> bool) -> Result<(), PhaseError> + Sync,
    mut done: impl FnMut(R) -> Result<Vec<T>, PhaseError>,
) -> Result<(), PhaseError> {
    let workers = tuning.workers.clamp(1, items.len().max(1));
    let crew = governor.crew();
    let queue = Queue::new(items);
    // Results are small, and while one waits for the disk the next ones need not; but a slow journal must hold the workers up, not
    // fill memory.
    let (sender, receiver) = sync_channel::<Told<R>>(4 * workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, queue, work, crew) = (sender.clone(), &queue, &work, &crew);
            scope.spawn(move || {
                let _leaving = Leaving(queue);
                let mut buffers = S::default();
                let fail = |error| {
                    queue.fail();
                    // Nobody listens any more only if the other side failed first.
                    let _ = sender.send(Told::Failed(error));
                    // Only now, or one of those who wait would say first that it was stopped.
                    crew.dismiss();
                };
                while queue.is_next(|| buffers = S::default()) {
                    let Ok(_seat) = governor.seat() else { return fail(PhaseError::Stopped) };
                    // Another worker may have been faster.
                    let Some(item) = queue.take() else { continue };
                    let mut report = |result| {
                        crew.hand_over();
                        sender.send(Told::Result(result)).is_ok() && !queue.has_failed()
                    };
                    if let Err(error) = work(&mut buffers, item, &mut report) {
                        return fail(error);
                    }
                    if sender.send(Told::End).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        for told in receiver {
            let result = match (&outcome, told) {
                (_, Told::End) => {
                    queue.end();
                    continue;
                }
                (Ok(()), Told::Failed(error)) => Err(error),
                (Ok(()), Told::Result(result)) => done(result).inspect(|_| crew.recorded()),
                // What else was in flight when the first error came is finished work: it is recorded, not lost, unless
                // recording is what failed.
                (Err(PhaseError::Record(_)), _) | (Err(_), Told::Failed(_)) => continue,
                (Err(_), Told::Result(result)) => done(result).inspect(|_| crew.recorded()),
            };
            match result {
                Ok(more) => queue.add(more),
                Err(error) => {
                    queue.fail();
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                    crew.dismiss();
                }
            }
        }
        outcome
    })
}

/// What a worker tells.
enum Told<R> {
    Result(R),
    /// All results of one item were told.
    End,
    Failed(PhaseError),
}

/// What is to be done.
struct Queue<T> {
    open: Mutex<Open<T>>,
    changed: Condvar,
    failed: AtomicBool,
}

struct Open<T> {
    items: VecDeque<T>,
    /// Items that wait, are in work, or have results that are not handed on: what comes of them may be more items.
    count: usize,
}

impl<T> Queue<T> {
    fn new(items: Vec<T>) -> Queue<T> {
        let open = Mutex::new(Open { count: items.len(), items: items.into() });
        Queue { open, changed: Condvar::new(), failed: AtomicBool::new(false) }
    }

    fn open(&self) -> MutexGuard<'_, Open<T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is an item, once that is certain. Before it has to wait for that it calls `rest`, once.
    fn is_next(&self, rest: impl FnOnce()) -> bool {
        let mut rest = Some(rest);
        let mut open = self.open();
        loop {
            if self.has_failed() || open.count == 0 {
                return false;
            }
            if !open.items.is_empty() {
                return true;
            }
            if let Some(rest) = rest.take() {
                drop(open);
                rest();
                open = self.open();
                continue;
            }
            open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&self) -> Option<T> {
        self.open().items.pop_front()
    }

    fn add(&self, items: Vec<T>) {
        if items.is_empty() {
            return;
        }
        let mut open = self.open();
        open.count += items.len();
        open.items.extend(items);
        self.changed.notify_all();
    }

    /// All of an item is handed on.
    fn end(&self) {
        let mut open = self.open();
        open.count = open.count.saturating_sub(1);
        if open.count == 0 {
            self.changed.notify_all();
        }
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
        // Whoever has looked and does not wait yet has the lock.
        let _open = self.open();
        self.changed.notify_all();
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Lets nobody wait for what a worker that panicked was to do.
struct Leaving<'a, T>(&'a Queue<T>);

impl<T> Drop for Leaving<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        governor::{Governor, Limits},
        model::Manifest,
        plan::Tuning,
        progress::{Progress, Stop},
    };

    fn work<'a>(governor: &'a Governor, progress: &'a Progress) -> Work<'a> {
        static EMPTY: Manifest = Manifest { stores: Vec::new(), timestamp: None };
        Work { manifest: &EMPTY, progress, governor, tuning: Tuning { workers: 2, ..Tuning::default() } }
    }

    #[test]
    fn what_results_lead_to_is_done_too_behind_what_was_there() {
        let (governor, progress) = (Governor::new(Stop::default()), Progress::default());
        let mut order = Vec::new();
        let outcome = in_parallel_growing(
            work(&governor, &progress),
            vec![3, 2, 1],
            |(): &mut (), item: u32, report| {
                report(item);
                Ok(())
            },
            |item| {
                order.push(item);
                // 3 leads to 33, that to 32 and that to 31, which leads to nothing.
                Ok(match item {
                    ..10 => vec![11 * item],
                    _ if item % 10 > 1 => vec![item - 1],
                    _ => Vec::new(),
                })
            },
        );
        outcome.unwrap();
        let place = |item: u32| order.iter().position(|one| *one == item).unwrap();
        assert_eq!(order.len(), 3 + 1 + 2 + 3, "{order:?}");
        assert!([(3, 33), (33, 32), (32, 31), (2, 22), (22, 21), (1, 11)].iter().all(|(a, b)| place(*a) < place(*b)));
    }

    #[test]
    fn nobody_is_sent_home_while_something_may_come_of_what_others_do() {
        let (governor, progress) = (Governor::new(Stop::default()), Progress::default());
        // The second item ends before the first, which leads to two that must be in work at the same time.
        let (second_ended, both) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        let mut seen = 0;
        let outcome = in_parallel_growing(
            work(&governor, &progress),
            vec![1, 2],
            |(): &mut (), item: u32, report| {
                match item {
                    1 | 2 => second_ended.wait(),
                    _ => both.wait(),
                };
                report(item);
                Ok(())
            },
            |item| {
                seen += 1;
                Ok(if item == 1 { vec![10, 11] } else { Vec::new() })
            },
        );
        outcome.unwrap();
        assert_eq!(seen, 4);
    }

    #[test]
    fn a_panic_of_one_worker_ends_those_who_wait_for_more() {
        let (governor, progress) = (Governor::new(Stop::default()), Progress::default());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let both = std::sync::Barrier::new(2);
            in_parallel(
                work(&governor, &progress),
                vec![1, 2],
                |(): &mut (), item: u32, report| {
                    both.wait();
                    assert!(item != 1, "planted");
                    report(item);
                    Ok(())
                },
                |_| Ok(()),
            )
        }));
        assert!(panicked.is_err());
    }

    #[test]
    fn an_error_of_one_worker_stops_all_and_is_returned_after_finished_work_is_recorded() {
        let mut recorded = 0;
        let (governor, progress) = (Governor::new(Stop::default()), Progress::default());
        let outcome = in_parallel(
            work(&governor, &progress),
            (0..1000).collect(),
            |(): &mut (), item: u32, report| {
                if item == 40 {
                    return Err(PhaseError::Stopped);
                }
                report(item);
                Ok(())
            },
            |_| {
                recorded += 1;
                Ok(())
            },
        );
        assert!(matches!(outcome, Err(PhaseError::Stopped)));
        assert!((40..1000).contains(&recorded), "{recorded}");
    }

    #[test]
    fn an_error_ends_a_phase_that_is_paused() {
        for fails_where in ["at work", "recording"] {
            let (governor, progress) = (Governor::new(Stop::default()), Progress::default());
            let both = std::sync::Barrier::new(2);
            let error = || PhaseError::Refused("broken".to_owned());
            let outcome = in_parallel(
                work(&governor, &progress),
                vec![0, 1],
                |(): &mut (), item: u32, report| {
                    both.wait();
                    if item == 0 {
                        // Parked in the middle of a span while the other one fails.
                        governor.set(Limits { paused: Some("by the test".to_owned()), ..Limits::default() });
                        return work(&governor, &progress).turn().map(|()| unreachable!("nobody resumes"));
                    }
                    while governor.standing().wait.is_none() {
                        std::thread::yield_now();
                    }
                    if fails_where == "at work" {
                        return Err(error());
                    }
                    report(());
                    Ok(())
                },
                |()| Err(error()),
            );
            assert!(matches!(outcome, Err(PhaseError::Refused(_))), "{fails_where}: {outcome:?}");
        }
    }
}
