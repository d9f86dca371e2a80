//! What a sync of this disk takes: nothing else makes a latency on another machine mean anything.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

/// Blocks that are written over.
const BLOCKS: u64 = 64;

/// Times of so many writes of 4 KiB and a sync of the data, over blocks that are there, in a directory.
pub fn syncs(dir: &Path, count: u64) -> io::Result<Vec<Duration>> {
    let path = dir.join("sync.probe");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let block = [0x5a; 4096];
    (0..BLOCKS).try_for_each(|at| file.write_all_at(&block, at * 4096))?;
    file.sync_all()?;
    let mut times = Vec::new();
    for number in 0..count {
        let began = Instant::now();
        file.write_all_at(&block, number % BLOCKS * 4096)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(&path)?;
    Ok(times)
}
