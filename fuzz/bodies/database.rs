//! A whole directory, opened as a node's: whatever is in it is refused, or read alike by walks and by look-ups, in the directory
//! itself as in a checkpoint of it. Nothing in it is changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use storeshift::source::{
    EngineKind,
    checkpoint::{self, Request},
    detect, leveldb,
    lsm::{Database, LsmError, Options},
    pebble, rocks,
};

pub fn run(data: &[u8]) {
    let files = files(data);
    let ground = Ground::new();
    let (source, copy) = (ground.0.join("source"), ground.0.join("copy"));
    fs::create_dir_all(&source).expect("a directory of ours");
    for (name, content) in &files {
        fs::write(source.join(name), content).expect("a file of ours");
    }
    let Ok(engine) = detect(&source) else { return };
    let open = match engine {
        EngineKind::Goleveldb => leveldb::open,
        EngineKind::Pebble => pebble::open,
        EngineKind::RocksDb => {
            rocks(&source, &copy);
            return;
        }
    };
    let Ok(database) = open(&source, Options { block_cache_bytes: 1 << 16, open_files: 4 }) else { return };
    let pairs = pairs(&database);
    if let Ok(pairs) = &pairs {
        look_up(&database, pairs);
    }
    let request = Request { source: &source, into: &copy, reserve: 0, copies: true };
    if let Ok(taken) = checkpoint::take(&request) {
        assert_eq!(taken.engine, engine.name());
        let copied = open(&copy, Options { block_cache_bytes: 1 << 16, open_files: 4 });
        let copied = copied.and_then(|database| self::pairs(&database));
        match (pairs, copied) {
            (Ok(pairs), Ok(copied)) => assert!(pairs == copied, "a checkpoint holds something else"),
            (Err(_), Err(_)) => {}
            (here, there) => panic!("{:?} here and {:?} in the checkpoint", here.map(|_| ()), there.map(|_| ())),
        }
    }
    let after: BTreeMap<String, Vec<u8>> = fs::read_dir(&source)
        .expect("a directory of ours")
        .map(|entry| entry.expect("a file of ours"))
        .map(|entry| (entry.file_name().into_string().expect("a name of ours"), fs::read(entry.path()).expect("ours")))
        .collect();
    assert!(after == files, "the source was changed");
}

/// RocksDB itself is not there: what is checked before it opens the directory.
fn rocks(source: &Path, copy: &Path) {
    let check = |path: &Path| {
        let numbers = rocks::manifest::read(path).ok()?;
        let logs = rocks::logs::list(path, numbers.log).ok()?;
        rocks::logs::check(&logs, numbers).ok()?;
        Some(numbers)
    };
    let Some(numbers) = check(source) else { return };
    if let Ok(taken) = checkpoint::take(&Request { source, into: copy, reserve: 0, copies: true }) {
        assert_eq!((taken.engine.as_str(), check(copy)), (EngineKind::RocksDb.name(), Some(numbers)));
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(database: &Database) -> Result<Pairs, LsmError> {
    let (mut iter, mut pairs) = (database.iter(b"", None), Pairs::new());
    while let Some((key, value)) = iter.next()? {
        assert!(pairs.last().is_none_or(|(last, _)| last.as_slice() < key), "keys do not ascend");
        pairs.push((key.to_vec(), value.to_vec()));
    }
    Ok(pairs)
}

/// Every pair is found, and none between them.
fn look_up(database: &Database, pairs: &Pairs) {
    for mut cursor in [database.cursor(), database.cursor_once()] {
        let mut out = Vec::new();
        for (key, value) in pairs {
            out.clear();
            match cursor.read_into(key, &mut out) {
                Ok(found) => assert!(found && out == *value, "{key:02x?} was walked over and is not found"),
                // A filter or an index may be damaged that a walk does not need.
                Err(_) => return,
            }
            out.clear();
            let behind = [&key[..], &[0]].concat();
            let is_there = pairs.binary_search_by(|(key, _)| key.cmp(&behind)).is_ok();
            match cursor.read_into(&behind, &mut out) {
                Ok(found) => assert_eq!(found, is_there, "{behind:02x?}"),
                Err(_) => return,
            }
        }
    }
}

/// Each file: a byte for the length of its name, the name, two for its length (little endian), the content.
fn files(mut rest: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    while let Some((&length, after)) = rest.split_first() {
        let (name, after) = after.split_at(usize::from(length).min(after.len()));
        let (length, after) = after.split_at(after.len().min(2));
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (content, after) = after.split_at(length.min(after.len()));
        let is_name = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains(['/', '\0']);
        if let Some(name) = std::str::from_utf8(name).ok().filter(is_name) {
            files.insert(name.to_owned(), content.to_vec());
        }
        rest = after;
        if files.len() == 32 {
            break;
        }
    }
    files
}

/// A directory that goes when it is done with; in memory where there is such a place.
struct Ground(PathBuf);

impl Ground {
    fn new() -> Ground {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        Ground(above.join(format!("storeshift-fuzz-{}-{nth}", std::process::id())))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
