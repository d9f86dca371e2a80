//! The journal and what lies beside it in files that a power cut leaves: recorded operation by operation, and looked at as any cut may
//! have left them.

use super::{Says, facts, job, read, record};
use crate::{
    crash::{
        images::Reel,
        log::Op,
        recorder::{Recorder, Tree, place},
    },
    support::random::{Random, seed},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use storeshift::{
    disk,
    journal::{Journal, Lock, SwitchRequest},
    machine::State,
    model::Version,
};

/// Records what is done in a directory, told the recorder and the directory of the journal; then hands every image that a cut may
/// leave, with how much somebody was told before, to `judge`. How many images there were.
fn cut(act: impl FnOnce(&Recorder, &Path), judge: impl Fn(&Path, usize)) -> usize {
    let mut random = Random(seed(63));
    let place = place();
    let (world, image) = (place.path().join("world"), place.path().join("image"));
    std::fs::create_dir(&world).unwrap();
    let (base, recorder) = (Tree::read(&world), Recorder::new(&world));
    let mounted = disk::mount(&world, Arc::new(recorder.clone()));
    act(&recorder, &journal_in(&world));
    drop(mounted);
    let ops = recorder.ops();
    let mut reel = Reel::new(&base, &[], &ops);
    let mut images = 0;
    loop {
        for damage in reel.damages(&mut random, 2) {
            let left = reel.image(damage);
            left.tree.put(&image);
            judge(&journal_in(&image), left.told.len());
            images += 1;
        }
        if !reel.step() {
            return images;
        }
    }
}

fn journal_in(world: &Path) -> PathBuf {
    world.join("v2/journal")
}

#[test]
fn a_journal_in_a_file_is_there_once_it_was_made_and_says_what_was_acknowledged_whatever_a_power_cut_leaves() {
    let said = std::cell::RefCell::new(Vec::<Says>::new());
    let act = |recorder: &Recorder, directory: &Path| {
        disk::make_directories(directory).unwrap();
        let mut state = State::new(Version(5));
        let mut journal = Journal::create(directory, &job(), &state).unwrap();
        let tell = |journal: &Journal| {
            said.borrow_mut().push(read(journal).unwrap());
            recorder.note(Op::Told("so it is".to_owned()));
        };
        tell(&journal);
        for fact in facts().iter().take(3) {
            state = record(&mut journal, &state, fact);
            tell(&journal);
        }
    };
    let judge = |directory: &Path, told: usize| {
        let said = said.borrow();
        if !Journal::exists(directory) {
            assert_eq!(told, 0, "somebody was told that there is a job");
            return;
        }
        let says = read(&Journal::open(directory).unwrap()).unwrap();
        let found = said.iter().position(|then| *then == says).map(|found| found + 1);
        assert!(found.is_some_and(|found| found == told || found == told + 1), "{told} told, {found:?} found");
    };
    let images = cut(act, judge);
    println!("{images} images");
    assert!(images > 500);
}

#[test]
fn a_request_that_was_made_is_there_after_a_power_cut_and_one_that_was_taken_back_is_not() {
    let requests: Vec<_> = (5..7).map(|asked| SwitchRequest::new(asked, Some(7))).collect();
    let act = |recorder: &Recorder, directory: &Path| {
        drop(Lock::take(directory).unwrap());
        // What a crash left half written goes with it.
        disk::write(&directory.join("switch.json.new"), disk::Making::New, b"{").unwrap();
        disk::sync(directory).unwrap();
        for request in &requests {
            request.write(directory).unwrap();
            recorder.note(Op::Told("asked".to_owned()));
        }
        SwitchRequest::remove(directory).unwrap();
        recorder.note(Op::Told("taken back".to_owned()));
    };
    let judge = |directory: &Path, told: usize| {
        let [first, second] = &requests[..] else { unreachable!() };
        let allowed: &[Option<&SwitchRequest>] = match told {
            0 => &[None, Some(first)],
            1 => &[Some(first), Some(second)],
            2 => &[Some(second), None],
            _ => &[None],
        };
        let found = SwitchRequest::read(directory).unwrap();
        assert!(allowed.contains(&found.as_ref()), "{told} told, {found:?} found");
    };
    assert!(cut(act, judge) > 20);
}
