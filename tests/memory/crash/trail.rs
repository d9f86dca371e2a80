//! Checkpoints of a database, taken and dropped one after the other: whatever a power cut leaves of them, those that were taken are whole,
//! and everything else goes.

use super::{
    log::Op,
    recorder::{Recorder, Tree, place},
    story::{Recording, Tale, listing},
    twins::Twins,
};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use storeshift::{
    disk,
    source::{checkpoint::Trail, leveldb, lsm},
};

pub struct Checkpoints {
    source: tempfile::TempDir,
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Checkpoints {
    pub fn new() -> Checkpoints {
        let source = place();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/unflushed/application.db");
        for entry in fs::read_dir(fixture).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), source.path().join(entry.file_name())).unwrap();
        }
        let pairs = pairs(source.path());
        assert!(!pairs.is_empty());
        Checkpoints { source, pairs }
    }

    pub fn record(&self, dir: &Path) -> Recording {
        let recorder = Recorder::new(dir);
        let mounted = disk::mount(dir, Arc::new(recorder.clone()));
        let trail = trail(dir);
        let told = |what: String| recorder.note(Op::Told(what));
        for number in 1..=3 {
            assert_eq!(trail.take(self.source.path(), 0, None).unwrap().0, number);
            told(format!("taken {number}"));
        }
        told("drop 1".to_owned());
        trail.drop(1).unwrap();
        told("drop 2".to_owned());
        told("drop 3".to_owned());
        trail.remove().unwrap();
        told("gone".to_owned());
        drop(mounted);
        Recording { base: Tree::empty(), engines: Vec::new(), ops: recorder.ops() }
    }
}

impl Tale for Checkpoints {
    fn says(&self, dir: &Path) -> (Option<u64>, String) {
        let says = listing(dir, dir).into_iter().map(|name| {
            let content = fs::read(dir.join(&name)).unwrap();
            format!("{name} {}\n", blake3::hash(&content))
        });
        (None, says.collect())
    }

    fn recover(&self, dir: &Path, _: &Twins, told: &[String], recorder: Option<&Recorder>) {
        let told = |what: String| told.contains(&what);
        let trail = trail(dir);
        let found = trail.list().unwrap();
        for (_, checkpoint) in &found {
            assert_eq!(pairs(&checkpoint.path), self.pairs, "a checkpoint that counts is not whole");
        }
        for number in 1..=3 {
            let is_there = found.iter().any(|(found, _)| *found == number);
            assert!(is_there || !told(format!("taken {number}")) || told(format!("drop {number}")), "{number} is gone");
        }
        trail.clear().unwrap();
        assert_eq!(trail.list().unwrap().len(), found.len(), "those that are whole stay");
        let (_, another) = trail.take(self.source.path(), 0, None).unwrap();
        assert_eq!(pairs(&another.path), self.pairs);
        if let Some(recorder) = recorder {
            (1..=3).for_each(|number| recorder.note(Op::Told(format!("drop {number}"))));
        }
        trail.remove().unwrap();
        assert!(!dir.join("checkpoint").exists(), "left over: {:?}", listing(dir, dir));
    }
}

fn trail(dir: &Path) -> Trail {
    Trail::under(&dir.join("checkpoint"))
}

fn pairs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let database = leveldb::open(path, lsm::Options::default()).unwrap();
    let mut pairs = BTreeMap::new();
    let mut iter = database.iter(&[], None);
    while let Some((key, value)) = iter.next().unwrap() {
        pairs.insert(key.to_vec(), value.to_vec());
    }
    pairs
}
