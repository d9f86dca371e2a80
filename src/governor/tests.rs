//! Decisions in virtual time, and waiting with real threads that never sleep.

use super::{
    bucket::Bucket,
    model::{Hold, Model},
    pressure::{Pressure, SLICE, YIELD},
    *,
};
use crate::plan::Yielding;
use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn limits(bytes_per_second: Option<u64>, workers: Option<usize>) -> Limits {
    Limits { bytes_per_second, workers, ..Limits::default() }
}

fn paused() -> Limits {
    Limits { paused: Some("by the test".to_owned()), ..Limits::default() }
}

/// Moves units one after the other in virtual time, each as soon as it may begin and in no time, and returns when each began.
fn moved(bucket: &mut Bucket, from: Duration, units: &[u64]) -> Vec<Duration> {
    let mut now = from;
    let begin = |unit: &u64| {
        while let Some(wait) = bucket.wait(now) {
            now += wait;
        }
        bucket.spend(*unit, now);
        now
    };
    units.iter().map(begin).collect()
}

#[test]
fn over_any_stretch_of_time_no_more_is_moved_than_the_rate_one_second_and_one_unit() {
    let mut random = 7u64;
    for rate in [1, 1000, 10 * MIB, u64::MAX >> 12] {
        let mut bucket = Bucket::default();
        bucket.set(Some(rate), at(5.0));
        let units: Vec<u64> = (0..200)
            .map(|_| {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (random >> 33) % (rate.saturating_mul(3)).max(2)
            })
            .collect();
        let largest = *units.iter().max().unwrap() as f64;
        let began = moved(&mut bucket, at(5.0), &units);
        for first in 0..units.len() {
            let mut sum = 0.0;
            for last in first..units.len() {
                sum += units[last] as f64;
                let most = (began[last] - began[first]).as_secs_f64() * rate as f64 + rate as f64 + largest;
                assert!(sum <= most * 1.001 + 2.0, "{first} to {last}: {sum} of {most} at {rate}");
            }
        }
        // Nor does it idle: what was moved took about as long as it had to.
        let (sum, took) = (units.iter().sum::<u64>() as f64, (began[199] - began[0]).as_secs_f64());
        assert!(
            took <= sum / rate as f64 + 1.0 && took >= (sum - 2.0 * largest - rate as f64) / rate as f64,
            "{took} {rate}"
        );
    }
}

#[test]
fn a_new_limit_holds_for_what_was_moved_and_none_forgives_it() {
    let mut bucket = Bucket::default();
    bucket.set(Some(MIB), at(0.0));
    bucket.spend(10 * MIB, at(0.0));
    assert_eq!(bucket.wait(at(0.0)), Some(at(10.0)));
    bucket.set(Some(5 * MIB), at(0.0));
    assert_eq!(bucket.wait(at(0.0)), Some(at(2.0)));
    bucket.set(None, at(0.0));
    assert_eq!(bucket.wait(at(0.0)), None);
    bucket.spend(100 * MIB, at(0.0));
    bucket.set(Some(MIB), at(0.0));
    assert_eq!(bucket.wait(at(0.0)), None, "what was moved without a limit is not paid for");
}

fn is_held(pressure: &mut Pressure, yielding: Yielding, now: f64) -> bool {
    pressure.look(yielding, at(now)).is_some_and(|pressed| pressed.until.is_some())
}

#[test]
fn work_yields_from_the_high_mark_to_the_low_one() {
    let mut pressure = Pressure::default();
    for (now, reading, held) in [
        (0.0, 39.0, false),
        (1.0, 40.0, true),
        (2.0, 30.0, true),
        (3.0, 20.0, true),
        (4.0, 19.0, false),
        (5.0, 39.0, false),
    ] {
        pressure.report(Gauge::IoPressure, Some(reading), at(now));
        assert_eq!(is_held(&mut pressure, Yielding::Auto, now), held, "{reading} at {now}");
        assert!(!is_held(&mut pressure, Yielding::Off, now));
    }
}

/// A model of the worst case: the pressure never ends, whatever is done.
#[test]
fn under_pressure_for_ever_a_tenth_of_the_time_is_worked() {
    let mut pressure = Pressure::default();
    let (step, steps) = (0.05, 20 * 60 * 60);
    let (mut worked, mut idle, mut longest) = (0, 0, 0);
    for number in 0..steps {
        let now = f64::from(number) * step;
        pressure.report(Gauge::IoPressure, Some(100.0), at(now));
        if is_held(&mut pressure, Yielding::Strict, now) {
            idle += 1;
            longest = longest.max(idle);
        } else {
            (worked, idle) = (worked + 1, 0);
        }
    }
    let share = f64::from(worked) / f64::from(steps);
    let least = SLICE.as_secs_f64() / (SLICE + YIELD).as_secs_f64();
    assert!((share - least).abs() < 0.01, "{share}, and {least} is granted");
    assert!(f64::from(longest) * step <= YIELD.as_secs_f64() + 2.0 * step);
}

#[test]
fn what_cannot_be_measured_counts_as_pressure_if_that_was_asked_for() {
    let mut pressure = Pressure::default();
    assert!(!is_held(&mut pressure, Yielding::Strict, 0.0), "nothing is expected yet");
    pressure.report(Gauge::IoPressure, None, at(1.0));
    assert!(!is_held(&mut pressure, Yielding::Auto, 1.0));
    assert_eq!(pressure.unmeasured(at(1.0)), ["the machine's I/O pressure"]);
    assert!(is_held(&mut pressure, Yielding::Strict, 1.0));
    pressure.report(Gauge::IoPressure, Some(0.0), at(2.0));
    assert!(!is_held(&mut pressure, Yielding::Strict, 2.0) && pressure.unmeasured(at(2.0)).is_empty());
    // Nobody reports any more.
    assert!(is_held(&mut pressure, Yielding::Strict, 100.0) && !is_held(&mut pressure, Yielding::Auto, 100.0));
    for nonsense in [f64::NAN, f64::INFINITY, -1.0] {
        pressure.report(Gauge::IoPressure, Some(nonsense), at(101.0));
        assert_eq!(pressure.unmeasured(at(101.0)).len(), 1, "{nonsense}");
    }
}

/// Blocks every six seconds, with some noise.
fn steady(pressure: &mut Pressure, gauge: Gauge, usual: f64, from: f64, count: u32) -> f64 {
    for number in 1..=count {
        let noise = [0.9, 1.0, 1.15, 0.95, 1.0][number as usize % 5];
        let now = from + f64::from(number) * 6.0;
        pressure.report(gauge, Some(usual * noise), at(now));
        assert!(!is_held(pressure, Yielding::Auto, now), "{number}");
    }
    from + f64::from(count) * 6.0
}

#[test]
fn slower_blocks_are_pressure_and_one_late_block_is_not() {
    let mut pressure = Pressure::default();
    let mut now = steady(&mut pressure, Gauge::BlockInterval, 6.0, 0.0, 50);
    now += 10.0;
    pressure.report(Gauge::BlockInterval, Some(10.0), at(now));
    assert!(!is_held(&mut pressure, Yielding::Auto, now), "one late block");
    now = steady(&mut pressure, Gauge::BlockInterval, 6.0, now, 10);
    let mut held = 0;
    for _ in 0..4 {
        now += 12.0;
        pressure.report(Gauge::BlockInterval, Some(12.0), at(now));
        held += u32::from(is_held(&mut pressure, Yielding::Auto, now));
    }
    assert!(held >= 2, "{held}");
    let why = pressure.look(Yielding::Auto, at(now)).unwrap().why;
    assert!(why.contains("blocks come") && why.contains("times as far apart as usual"), "{why}");
    for _ in 0..6 {
        now += 6.0;
        pressure.report(Gauge::BlockInterval, Some(6.0), at(now));
    }
    assert!(!is_held(&mut pressure, Yielding::Auto, now), "the chain has its pace again");
}

#[test]
fn a_block_that_does_not_come_is_late_until_nobody_knows_any_more() {
    let mut pressure = Pressure::default();
    let now = steady(&mut pressure, Gauge::BlockInterval, 6.0, 0.0, 50);
    assert!(!is_held(&mut pressure, Yielding::Auto, now + 15.0));
    assert!(is_held(&mut pressure, Yielding::Auto, now + 20.0));
    // A node that was stopped commits no more blocks, and need not be yielded to.
    assert!(pressure.look(Yielding::Auto, at(now + 150.0)).is_none());
    assert!(pressure.look(Yielding::Strict, at(now + 150.0)).is_some());
}

#[test]
fn a_chain_that_changes_its_pace_for_good_is_not_under_pressure_for_ever() {
    let mut pressure = Pressure::default();
    let mut now = steady(&mut pressure, Gauge::BlockInterval, 6.0, 0.0, 50);
    let mut rounds = 0;
    loop {
        now += 12.0;
        pressure.report(Gauge::BlockInterval, Some(12.0), at(now));
        rounds += 1;
        if rounds > 3 && pressure.look(Yielding::Auto, at(now)).is_none() {
            break;
        }
    }
    assert!((50..2000).contains(&rounds), "{rounds} blocks");
}

#[test]
fn commits_that_take_microseconds_longer_are_no_pressure() {
    let mut pressure = Pressure::default();
    steady(&mut pressure, Gauge::CommitLatency, 0.0001, 0.0, 50);
    for _ in 0..20 {
        pressure.report(Gauge::CommitLatency, Some(0.0009), at(400.0));
    }
    assert!(!is_held(&mut pressure, Yielding::Auto, 400.0));
    for _ in 0..20 {
        pressure.report(Gauge::CommitLatency, Some(0.02), at(401.0));
    }
    assert!(is_held(&mut pressure, Yielding::Auto, 401.0));
}

#[test]
fn a_pause_comes_before_everything_and_urgency_before_a_pause() {
    let mut model = Model::default();
    model.set(Limits { bytes_per_second: Some(MIB), workers: Some(2), ..paused() }, at(0.0));
    model.spend(100 * MIB, at(0.0));
    let kind = |model: &mut Model, working, now| model.hold(working, at(now)).map(|(hold, _)| hold);
    assert_eq!(kind(&mut model, Some(2), 1.0), Some(Hold::Paused));
    model.urgent = 1;
    assert_eq!(kind(&mut model, Some(2), 2.0), None);
    model.urgent = 0;
    model.set(limits(Some(MIB), Some(2)), at(3.0));
    assert_eq!(kind(&mut model, Some(2), 4.0), Some(Hold::Rate));
    assert_eq!(kind(&mut model, Some(2), 200.0), Some(Hold::Workers));
    assert_eq!((kind(&mut model, Some(1), 200.0), kind(&mut model, None, 200.0)), (None, None));
}

#[test]
fn the_time_that_work_was_held_up_adds_up() {
    let mut model = Model::default();
    model.set(paused(), at(10.0));
    assert_eq!(model.held(at(14.0)), at(4.0));
    model.set(Limits { yielding: Yielding::Strict, ..Limits::default() }, at(15.0));
    assert_eq!(model.held(at(20.0)), at(5.0));
    model.report(Gauge::IoPressure, Some(90.0), at(20.0));
    assert_eq!((model.held(at(20.0)), model.held(at(23.0))), (at(5.0), at(8.0)));
    model.report(Gauge::IoPressure, Some(1.0), at(23.0));
    assert_eq!((model.held(at(23.0)), model.held(at(40.0))), (at(8.0), at(8.0)));
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

fn held(governor: &Governor) -> Option<Held> {
    governor.standing().wait.map(|wait| wait.held)
}

#[test]
fn who_waits_goes_on_when_the_job_is_resumed_and_ends_when_it_is_stopped() {
    for is_stopped in [false, true] {
        let stop = Stop::default();
        let governor = Governor::new(stop.clone());
        governor.set(paused());
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..3)
                .map(|number| {
                    scope.spawn({
                        let governor = &governor;
                        move || if number == 0 { governor.turn() } else { governor.seat().map(drop) }
                    })
                })
                .collect();
            until(|| governor.shared.lock().waiting == 3);
            assert_eq!(held(&governor), Some(Held::Paused));
            if is_stopped {
                stop.ask("enough")
            } else {
                governor.set(Limits::default())
            }
            for wait in waits {
                assert_eq!(wait.join().unwrap(), if is_stopped { Err(Stopped) } else { Ok(()) });
            }
        });
        assert_eq!(governor.turn().is_err(), is_stopped);
    }
}

#[test]
fn no_more_work_at_the_same_time_than_may_and_a_change_counts_from_the_next_unit() {
    const UNITS: usize = 400;
    let governor = Governor::new(Stop::default());
    governor.set(limits(None, Some(1)));
    let (now, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let seat = governor.seat().unwrap();
                for _ in 0..UNITS {
                    governor.turn().unwrap();
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                drop(seat);
            });
        }
        until(|| done.load(Ordering::SeqCst) > UNITS / 2);
        assert_eq!(most.load(Ordering::SeqCst), 1);
        governor.set(limits(None, Some(2)));
        until(|| done.load(Ordering::SeqCst) > 2 * UNITS);
        assert!(most.load(Ordering::SeqCst) <= 2);
        // Nobody who is in the middle of something is left behind when fewer may work.
        governor.set(limits(None, Some(1)));
    });
    assert_eq!((done.load(Ordering::SeqCst), governor.shared.lock().seated.len()), (4 * UNITS, 0));
}

#[test]
fn a_job_is_called_paused_only_when_what_was_in_work_is_recorded() {
    let governor = Governor::new(Stop::default());
    let crew = governor.crew();
    let seat = governor.seat().unwrap();
    governor.set(paused());
    assert_eq!(held(&governor), Some(Held::Pausing));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| governor.turn());
        until(|| governor.shared.lock().waiting == 1);
        assert_eq!(held(&governor), Some(Held::Pausing), "a unit is in work");
        crew.hand_over();
        drop(seat);
        assert_eq!(held(&governor), Some(Held::Pausing), "its result is on its way");
        crew.recorded();
        assert_eq!(held(&governor), Some(Held::Paused));
        let urgent = governor.urgent();
        assert_eq!(waits.join().unwrap(), Ok(()), "a chain that waits is not kept waiting");
        drop(urgent);
    });
    crew.dismiss();
    assert_eq!(governor.turn(), Err(Stopped), "another one failed");
    drop(crew);
    governor.set(Limits::default());
    assert_eq!(governor.turn(), Ok(()));
}

#[test]
fn a_node_that_is_looked_at_seldom_is_not_late_between_two_looks() {
    let mut pressure = Pressure::default();
    // A block every second, told once in ten.
    let mut now = 0.0;
    for _ in 0..50 {
        now += 10.0;
        pressure.report(Gauge::BlockInterval, Some(1.0), at(now));
        assert!(!is_held(&mut pressure, Yielding::Auto, now + 9.0), "at {now}");
    }
    assert!(is_held(&mut pressure, Yielding::Auto, now + 40.0), "three looks without a block are late");
}

#[test]
fn a_node_that_was_stopped_is_not_late_and_nothing_is_missing() {
    let mut pressure = Pressure::default();
    let now = steady(&mut pressure, Gauge::BlockInterval, 6.0, 0.0, 50);
    pressure.forget(Gauge::BlockInterval);
    for yielding in [Yielding::Auto, Yielding::Strict] {
        assert!(!is_held(&mut pressure, yielding, now + 1000.0));
    }
    assert!(pressure.unmeasured(at(now + 1000.0)).is_empty());
}
