//! A small chain that migrates its state while it commits, is killed on the way again and again, and switches.
//!
//!     cargo run --release --example chain -- DIR
//!
//! plays both sides: it starts itself as the node in DIR, kills it at a few heights, starts it again, and in the end compares the
//! app hash of every height with those of a node that never migrated. `--node DIR HEIGHT` is the node alone.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use storeshift::{
    live::{Begin, Keeping, LiveStore, Places},
    model::{Change, StoreChanges, StoreKey},
    plan::Tuning,
    root_store::{ChangeSet, MemoryDatabase, Options, Pruning, RootStore, RootmultiLayout, StoreUpgrades},
    target::Outage,
};

const STORES: [&str; 3] = ["bank", "gov", "staking"];
/// The migration begins here, and the last block is this one.
const BEGIN: u64 = 20;
const LAST: u64 = 400;
/// From one block to the next.
const PACE: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--node", dir, last] => node(Path::new(dir), last.parse()?),
        [dir] => play(dir),
        _ => Err("give a directory that is to be made".into()),
    }
}

/// A block: the same for everybody who asks for this height.
fn block(height: u64) -> ChangeSet {
    let mut block = ChangeSet::default();
    if height == 1 {
        block.upgrades = StoreUpgrades { added: STORES.map(StoreKey::from).to_vec(), ..StoreUpgrades::default() };
    }
    for store in STORES {
        let mut random = blake3::Hasher::new().update(store.as_bytes()).update(&height.to_le_bytes()).finalize_xof();
        let mut pairs = BTreeMap::new();
        for _ in 0..if height == 1 { 5000 } else { 30 } {
            let mut drawn = [0; 12];
            random.fill(&mut drawn);
            let key = u16::from_le_bytes([drawn[0], drawn[1]]) % 10_000;
            pairs.insert(format!("account/{key:05}").into_bytes(), (drawn[2] > 30).then(|| drawn.repeat(4)));
        }
        let changes = pairs.into_iter().map(|(key, value)| Change { key, value }).collect();
        block.stores.push(StoreChanges { store: store.into(), changes });
    }
    block
}

/// The node: opens its state, goes on where it is, and prints the app hash of each height.
fn node(dir: &Path, last: u64) -> Result<(), Box<dyn Error>> {
    let places = Places { v1: dir.join("application.db"), v2: dir.join("v2") };
    let store = Options { pruning: Pruning::Keep { recent: 50, interval: 10 }, ..Options::default() };
    let keeping = Keeping { store, ..Keeping::default() };
    let begin = || Begin { tuning: Tuning { reserve: 64 << 20, ..Tuning::default() }, ..Begin::new() };
    // From the second start on there may be a migration to carry on, or one that has ended: that is the store's matter.
    let mut state = LiveStore::open(&places, keeping, None)?;
    let mut was_v1 = state.source().is_some();
    let mut was_asked = false;
    let mut out = std::io::stdout();
    loop {
        let height = state.latest().map_or(0, |info| info.version.0) + 1;
        if height > last && !state.is_migrating() {
            return Ok(());
        }
        // A kill may have come before the migration was begun; if one was, opening the state has carried it on.
        if height >= BEGIN && !was_asked && state.source().is_some() && !state.is_migrating() {
            was_asked = true;
            state.migrate(begin())?;
        }
        let info = state.commit(block(height))?;
        let is_v1 = state.source().is_some();
        let note = if was_v1 && !is_v1 { " switched" } else { "" };
        was_v1 = is_v1;
        writeln!(out, "{height} {}{note}", info.app_hash())?;
        out.flush()?;
        std::thread::sleep(PACE);
    }
}

/// Starts the node, kills it now and then, and judges what it printed.
fn play(dir: &str) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir(dir)?;
    let mut printed: BTreeMap<u64, String> = BTreeMap::new();
    let mut switched = None;
    let kills = [10, 21, 22, 24, 27, 31, 36, 60, 200];
    for until in kills.into_iter().map(Some).chain([None]) {
        let mut command = Command::new(std::env::current_exe()?);
        let mut node = command.args(["--node", dir, &LAST.to_string()]).stdout(Stdio::piped()).spawn()?;
        let out = node.stdout.take().ok_or("no output")?;
        for line in BufReader::new(out).lines() {
            let line = line?;
            let mut words = line.split(' ');
            let (Some(height), Some(hash)) = (words.next(), words.next()) else { continue };
            let height = height.parse()?;
            if let Some(before) = printed.insert(height, hash.to_owned()).filter(|before| before != hash) {
                return Err(format!("height {height} was {before} before a kill, and {hash} after it").into());
            }
            if words.next() == Some("switched") {
                switched = Some(height);
                println!("height {height}: the chain goes on with store/v2");
            }
            if until == Some(height) {
                println!("height {height}: killed");
                node.kill()?;
                break;
            }
        }
        let status = node.wait()?;
        if until.is_none() && !status.success() {
            return Err(format!("the node ended with {status}").into());
        }
    }
    let layout = RootmultiLayout::new(Arc::new(MemoryDatabase::new(None, Outage::never())));
    let twin = RootStore::new(Arc::new(layout), Options::default())?;
    for height in 1..=LAST {
        let expected = twin.commit(block(height))?.app_hash().to_string();
        match printed.get(&height) {
            // Killed between the commit and the line about it; the next heights' hashes cover it.
            None => {}
            Some(found) if *found == expected => {}
            Some(found) => return Err(format!("height {height}: {found}, without a migration {expected}").into()),
        }
    }
    let heights = printed.len();
    println!("{heights} app hashes equal those of a node that never migrated; killed {} times", kills.len());
    if switched.is_none() {
        println!("the switch was made while the node was being killed; it is on store/v2");
    }
    Ok(())
}
