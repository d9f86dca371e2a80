//! Goes through a recording, makes images, has each of them carried on, and counts.

use super::{
    images::{Damage, Image, Reel},
    log::{Held, Op},
    recorder::{Recorder, Tree, place},
    story::{Recording, Tale},
    twins::Twins,
};
use crate::support::random::Random;
use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Debug},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use storeshift::disk;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Images drawn at each cut, besides those that take or leave one operation.
    pub drawn: usize,
    /// Recoveries that are recorded and cut off in turn, at most.
    pub doubles: usize,
    /// Images drawn at each cut of a recovery.
    pub doubles_drawn: usize,
    pub threads: usize,
}

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub operations: BTreeMap<&'static str, usize>,
    pub images: usize,
    pub distinct: usize,
    /// Recoveries cut off, and images of those.
    pub doubles: usize,
    pub double_images: usize,
    /// Carried on to the very end.
    pub carried_on: usize,
}

/// What all threads share.
struct Shared<'a> {
    tale: &'a dyn Tale,
    seed: u64,
    effort: Effort,
    images: Mutex<HashSet<blake3::Hash>>,
    said: Mutex<HashSet<blake3::Hash>>,
    figures: Mutex<Figures>,
    /// One image was not carried on: the others need not be looked at.
    failed: AtomicBool,
}

/// Tells the others when a thread has failed.
struct Tells<'a>(&'a AtomicBool);

impl Drop for Tells<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

/// Where an image comes from, for whoever has to look into it.
#[derive(Clone)]
struct Origin {
    cut: usize,
    of: usize,
    last: String,
    damage: Damage,
}

impl Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { cut, of, last, damage } = self;
        write!(f, "cut at {cut} of {of} operations, behind {last}, then {damage:?}")
    }
}

pub fn explore(tale: &dyn Tale, recording: &Recording, seed: u64, effort: Effort) -> Figures {
    let (images, said, figures) = (Mutex::default(), Mutex::default(), Mutex::default());
    let shared = Shared { tale, seed, effort, images, said, figures, failed: AtomicBool::new(false) };
    for op in &recording.ops {
        *shared.figures.lock().unwrap().operations.entry(op.kind()).or_default() += 1;
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..effort.threads)
            .map(|thread| {
                let shared = &shared;
                scope.spawn(move || {
                    let _tells = Tells(&shared.failed);
                    shared.walk(recording, thread);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
    });
    let mut figures = shared.figures.into_inner().unwrap();
    figures.distinct = shared.images.into_inner().unwrap().len();
    figures
}

impl Shared<'_> {
    fn walk(&self, recording: &Recording, thread: usize) {
        let place = place();
        let dir = place.path().join("world");
        let mut random = Random(self.seed ^ thread as u64);
        let mut reel = Reel::new(&recording.base, &recording.engines, &recording.ops);
        // Events that are certain to be in the journal.
        let mut floor = None;
        loop {
            if reel.at() % self.effort.threads == thread {
                for damage in reel.damages(&mut random, self.effort.drawn) {
                    if self.failed.load(Ordering::SeqCst) {
                        return;
                    }
                    let origin = origin_of(&reel, &recording.ops, damage);
                    let image = reel.image(damage);
                    if !self.images.lock().unwrap().insert(image.digest()) && damage != Damage::Nothing {
                        continue;
                    }
                    let events = self.look(&dir, &image, &origin, true);
                    if damage == Damage::Nothing {
                        floor = floor.max(events);
                    }
                    // A job that is given up may be gone.
                    let is_given_up = image.told.iter().any(|told| told == "given up");
                    assert!(
                        events >= floor || is_given_up,
                        "{origin:?}: {events:?} events are there, {floor:?} were certain"
                    );
                }
            }
            if !reel.step() {
                return;
            }
        }
    }

    /// Has an image opened, and carried on if none was that says the same. How many events its journal has.
    fn look(&self, dir: &Path, image: &Image, origin: &dyn Debug, doubles: bool) -> Option<u64> {
        image.tree.put(dir);
        {
            let mut figures = self.figures.lock().unwrap();
            if doubles {
                figures.images += 1;
            } else {
                figures.double_images += 1;
            }
        }
        let (events, says) = judged(origin, || self.tale.says(dir));
        let mut hasher = blake3::Hasher::new();
        hasher.update(says.as_bytes());
        for engine in &image.engines {
            hasher.update(format!("{:?}", engine.as_ref().map(Held::address)).as_bytes());
        }
        if !self.said.lock().unwrap().insert(hasher.finalize()) {
            return events;
        }
        let record = doubles && {
            let mut figures = self.figures.lock().unwrap();
            figures.doubles += usize::from(figures.doubles < self.effort.doubles);
            figures.doubles < self.effort.doubles
        };
        self.figures.lock().unwrap().carried_on += 1;
        if !record {
            let twins = Twins::holding(image.engines.clone(), None);
            judged(origin, || self.tale.recover(dir, &twins, &image.told, None));
            return events;
        }
        // Opening has changed the journal: from the beginning.
        image.tree.put(dir);
        let recorder = Recorder::new(dir);
        let base = Tree::read(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let twins = Twins::holding(image.engines.clone(), Some(recorder.clone()));
        judged(origin, || self.tale.recover(dir, &twins, &image.told, Some(&recorder)));
        drop(mounted);
        let ops = recorder.ops();
        let mut random = Random(self.seed ^ ops.len() as u64);
        let mut reel = Reel::new(&base, &image.engines, &ops);
        loop {
            for damage in reel.damages(&mut random, self.effort.doubles_drawn) {
                let again = reel.image(damage);
                let told = image.told.iter().chain(&again.told).cloned().collect();
                let again = Image { told, ..again };
                let origin = (origin, "and then", origin_of(&reel, &ops, damage));
                if self.images.lock().unwrap().insert(again.digest()) {
                    self.look(dir, &again, &origin, false);
                }
            }
            if !reel.step() {
                return events;
            }
        }
    }
}

/// Does it, and says where the image came from if that fails.
fn judged<T>(origin: &dyn Debug, act: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        println!("the image that fails: {origin:?}");
        std::panic::resume_unwind(panic)
    })
}

fn origin_of(reel: &Reel<'_>, ops: &[Op], damage: Damage) -> Origin {
    let last = reel.at().checked_sub(1).map_or(String::new(), |at| {
        let text = format!("{:?}", ops[at]);
        text.chars().take(120).collect()
    });
    Origin { cut: reel.at(), of: ops.len(), last, damage }
}
