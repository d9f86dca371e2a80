//! Faults in the bytes of a file, as disks and file systems make them.

use crate::{support::random::Random, table::Scale};
use std::{collections::BTreeMap, path::Path};

/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// A directory that costs no disk.
pub fn fresh() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("storeshift-sweep-");
    if shm.is_dir() { builder.tempdir_in(shm).unwrap() } else { builder.tempdir().unwrap() }
}

/// What damage may take bytes from, besides the file itself.
pub struct Others<'a> {
    /// The file as it was earlier.
    pub earlier: Option<&'a [u8]>,
    /// Another file beside it.
    pub beside: &'a [u8],
}

/// A flipped bit.
pub fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// Seeded damage of any shape but a single bit; what kind it is, and the damaged bytes.
pub fn random(bytes: &[u8], others: &Others<'_>, random: &mut Random) -> (&'static str, Vec<u8>) {
    let length = bytes.len();
    let mut damaged = bytes.to_vec();
    let below = |random: &mut Random, bound: usize| random.below(bound.max(1) as u64) as usize;
    let sector = |random: &mut Random| {
        let from = below(random, length.div_ceil(SECTOR)) * SECTOR;
        from..(from + SECTOR).min(length)
    };
    if length == 0 {
        let more = 1 + below(random, 2 * SECTOR);
        return ("extended", (0..more).map(|_| random.next() as u8).collect());
    }
    match random.below(9) {
        0 => {
            for _ in 0..2 + below(random, 15) {
                damaged[below(random, length)] ^= 1 << random.below(8);
            }
            ("several bits", damaged)
        }
        1 => {
            damaged[sector(random)].fill(0);
            ("sector zeroed", damaged)
        }
        2 => {
            let (one, other) = (sector(random), sector(random));
            let until = one.len().min(other.len());
            let (one, other) = (one.start..one.start + until, other.start..other.start + until);
            damaged[one.clone()].copy_from_slice(&bytes[other.clone()]);
            damaged[other].copy_from_slice(&bytes[one]);
            ("swapped", damaged)
        }
        3 => {
            // A sector of this file or of another one that was written here.
            let from = if random.coin() || others.beside.is_empty() { bytes } else { others.beside };
            let into = sector(random);
            let begin = below(random, from.len().div_ceil(SECTOR)) * SECTOR;
            let until = into.len().min(from.len() - begin);
            damaged[into.start..into.start + until].copy_from_slice(&from[begin..begin + until]);
            ("misdirected", damaged)
        }
        4 => match others.earlier.filter(|earlier| !earlier.is_empty()) {
            Some(earlier) if random.coin() => ("stale", earlier.to_vec()),
            Some(earlier) => {
                let into = sector(random);
                let until = earlier.len().min(into.end).max(into.start);
                let old = earlier.get(into.start..until).unwrap_or_default();
                damaged[into.start..into.start + old.len()].copy_from_slice(old);
                ("stale", damaged)
            }
            None => {
                damaged.truncate(length.saturating_sub(1 + below(random, SECTOR)));
                ("cut short", damaged)
            }
        },
        5 | 6 => {
            damaged.truncate(below(random, length));
            ("cut short", damaged)
        }
        7 => {
            let garbage = random.coin();
            let more = 1 + below(random, 2 * SECTOR);
            damaged.extend((0..more).map(|_| if garbage { random.next() as u8 } else { 0 }));
            ("extended", damaged)
        }
        _ => {
            // Twice the same bits: a sum by XOR over bytes, words or sectors would be what it was.
            let distance = [1, 4, 8, SECTOR][below(random, 4)];
            let at = below(random, length);
            let bits = 1 + random.below(255) as u8;
            damaged[at] ^= bits;
            damaged[(at + distance) % length] ^= bits;
            ("cancelling", damaged)
        }
    }
}

/// Is told which file is damaged, how, and what is in its place then.
pub type Each<'a> = dyn FnMut(&str, &'static str, Option<Vec<u8>>) + 'a;

/// Damages the files of a directory one at a time: about so many bits of all they have, and so many times seeded damage, to which that a
/// file is missing, is another one, and is there twice over.
pub fn sweep(
    files: &BTreeMap<String, Vec<u8>>,
    earlier: &BTreeMap<String, Vec<u8>>,
    (bits, trials): (u64, u64),
    seed: u64,
    each: &mut Each<'_>,
) {
    let scale = Scale::asked();
    let all: usize = files.values().map(|bytes| 8 * bytes.len()).sum();
    let stride = scale.stride(all, bits);
    let mut at = seed as usize % stride;
    for (name, bytes) in files {
        while at < 8 * bytes.len() {
            each(name, "bit", Some(flipped(bytes, at)));
            at += stride;
        }
        at -= 8 * bytes.len();
        each(name, "missing", None);
        each(name, "twice over", Some([bytes.as_slice(), bytes].concat()));
        each(name, "empty", Some(Vec::new()));
        for (other, theirs) in files.iter().chain(earlier).filter(|(_, theirs)| *theirs != bytes) {
            each(name, if other == name { "stale" } else { "another one" }, Some(theirs.clone()));
        }
    }
    let (names, mut numbers) = (files.keys().collect::<Vec<_>>(), Random(seed));
    for _ in 0..scale.random(trials, 300 * trials) {
        let name = names[numbers.below(names.len() as u64) as usize];
        let beside = names[numbers.below(names.len() as u64) as usize];
        let others = Others { earlier: earlier.get(name).map(Vec::as_slice), beside: &files[beside] };
        let (kind, damaged) = random(&files[name], &others, &mut numbers);
        if damaged != files[name] {
            each(name, kind, Some(damaged));
        }
    }
    println!("{all} bits of {} files, one in {stride}", files.len());
}
