//! What a power cut can leave of a recording.
//!
//! What was synced is there. Of everything after it any part may be: each write whole, torn at a sector of 512 bytes or at any byte, or not
//! at all; pages of 4 KiB old or new; lengths; names, each by itself, whatever their order. An engine that is not ours has, of what it was
//! given since its last sync, some first part.

use super::{
    log::{FileId, Held, Node, Op},
    recorder::Tree,
};
use crate::support::random::Random;
use std::collections::BTreeMap;

/// What is on the disk after a power cut.
pub struct Image {
    pub tree: Tree,
    /// What each engine holds, by its number.
    pub engines: Vec<Option<Held>>,
    /// What somebody had been told before.
    pub told: Vec<String>,
}

/// How what is not certain comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Nothing,
    All,
    /// All but this one of the operations that are not certain.
    AllBut(usize),
    /// Only this one.
    Only(usize),
    /// Each or not, writes torn at sectors.
    Sectors(u64),
    /// Each or not, writes torn at any byte.
    Bytes(u64),
    /// Each or not, with pages that are old.
    Pages(u64),
}

/// A recording that is gone through from its beginning to its end.
pub struct Reel<'a> {
    ops: &'a [Op],
    at: usize,
    /// With everything that is certain.
    certain: Tree,
    engines: Vec<Option<Held>>,
    /// What is not certain yet.
    pending: Vec<usize>,
    told: Vec<String>,
}

impl<'a> Reel<'a> {
    pub fn new(base: &Tree, engines: &[Option<Held>], ops: &'a [Op]) -> Reel<'a> {
        let mut certain = base.clone();
        let (mut files, mut directories) = (certain.files.len(), certain.directories.len());
        let mut count = engines.len();
        for op in ops {
            let node = match op {
                Op::Name { to, .. } => *to,
                Op::Write { file, .. } => Some(Node::File(*file)),
                Op::Engine { engine, .. } => {
                    count = count.max(engine + 1);
                    None
                }
                _ => None,
            };
            match node {
                Some(Node::File(id)) => files = files.max(id + 1),
                Some(Node::Directory(id)) => directories = directories.max(id + 1),
                None => {}
            }
        }
        certain.files.resize_with(files, Vec::new);
        certain.directories.resize_with(directories, BTreeMap::new);
        let mut engines = engines.to_vec();
        engines.resize_with(count, || None);
        Reel { ops, at: 0, certain, engines, pending: Vec::new(), told: Vec::new() }
    }

    /// How many operations lie behind.
    pub fn at(&self) -> usize {
        self.at
    }

    /// One operation more; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(op) = self.ops.get(self.at) else { return false };
        match op {
            Op::Engine { engine, held, durable: true } => self.engines[*engine] = Some(held.clone()),
            Op::Told(what) => self.told.push(what.clone()),
            Op::SyncFile(_) | Op::SyncDirectory(_) => {}
            _ => self.pending.push(self.at),
        }
        let (ops, certain) = (self.ops, &mut self.certain);
        self.pending.retain(|pending| {
            let settled = settles(op, &ops[*pending]);
            if settled {
                certain.apply(&ops[*pending]);
            }
            !settled
        });
        self.at += 1;
        true
    }

    /// All the ways in which what is not certain may come out, that are looked at here: those that take or leave one operation, and
    /// `random` drawn ones.
    pub fn damages(&self, random: &mut Random, drawn: usize) -> Vec<Damage> {
        if self.pending.is_empty() {
            return vec![Damage::Nothing];
        }
        let mut damages = vec![Damage::Nothing, Damage::All];
        if self.pending.len() > 1 {
            damages.extend((0..self.pending.len()).flat_map(|one| [Damage::AllBut(one), Damage::Only(one)]));
        }
        damages.extend((0..drawn).map(|_| match random.below(3) {
            0 => Damage::Sectors(random.next()),
            1 => Damage::Bytes(random.next()),
            _ => Damage::Pages(random.next()),
        }));
        damages
    }

    pub fn image(&self, damage: Damage) -> Image {
        let mut tree = self.certain.clone();
        let mut engines = self.engines.clone();
        let (unit, seed) = match damage {
            Damage::Sectors(seed) => (512, seed),
            Damage::Bytes(seed) => (1, seed),
            Damage::Pages(seed) => (4096, seed),
            _ => (0, 0),
        };
        let mut random = Random(seed);
        // How far each engine came is one draw, for what it was given has an order.
        let mut reached: BTreeMap<usize, bool> = BTreeMap::new();
        for (index, op) in self.pending.iter().map(|at| &self.ops[*at]).enumerate() {
            let whole = match damage {
                Damage::Nothing => false,
                Damage::All => true,
                Damage::AllBut(one) => index != one,
                Damage::Only(one) => index == one,
                _ => random.below(4) > 0 && random.coin() || random.below(4) == 0,
            };
            match op {
                Op::Engine { engine, held, .. } => {
                    let goes_on = reached.entry(*engine).or_insert(true);
                    // One operation alone stands for all that the engine was given before it.
                    *goes_on &= whole || matches!(damage, Damage::Only(_));
                    if *goes_on && !matches!(damage, Damage::Only(one) if index > one) {
                        engines[*engine] = Some(held.clone());
                    }
                }
                Op::Write { file, offset, data } if unit > 0 => {
                    torn(&mut tree, *file, *offset, data, unit, &mut random)
                }
                op if whole => tree.apply(op),
                _ => {}
            }
        }
        Image { tree, engines, told: self.told.clone() }
    }
}

/// Whether one operation makes an earlier one certain.
fn settles(op: &Op, earlier: &Op) -> bool {
    match (op, earlier) {
        (Op::SyncFile(synced), Op::Write { file, .. } | Op::Length { file, .. }) => file == synced,
        (Op::SyncDirectory(synced), Op::Name { directory, .. } | Op::Rename { directory, .. }) => directory == synced,
        (Op::Engine { engine, durable: true, .. }, Op::Engine { engine: of, .. }) => of == engine,
        _ => false,
    }
}

/// Writes some units of a write. At bytes it is a run of them, as a write that is cut off leaves it.
fn torn(tree: &mut Tree, file: FileId, offset: u64, data: &[u8], unit: usize, random: &mut Random) {
    let mut part = |from: usize, until: usize| {
        let data = data[from..until].into();
        tree.apply(&Op::Write { file, offset: offset + from as u64, data });
    };
    if unit == 1 {
        let cut = random.below(data.len() as u64 + 1) as usize;
        if random.coin() {
            part(0, cut)
        } else {
            part(cut, data.len())
        }
        return;
    }
    let mut from = 0;
    while from < data.len() {
        // Units of the file, not of the write.
        let until = data.len().min(from + unit - (offset as usize + from) % unit);
        if random.coin() {
            part(from, until);
        }
        from = until;
    }
}

impl Image {
    /// A digest of everything in it.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        add(&self.tree, 0, &mut hasher);
        for engine in &self.engines {
            let place = engine.as_ref().map_or(0, Held::address);
            hasher.update(&place.to_le_bytes());
        }
        hasher.finalize()
    }
}

fn add(tree: &Tree, directory: usize, hasher: &mut blake3::Hasher) {
    for (name, node) in &tree.directories[directory] {
        hasher.update(name.as_bytes());
        match node {
            Node::File(file) => {
                let bytes = &tree.files[*file];
                hasher.update(&[0]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
            Node::Directory(below) => {
                hasher.update(&[1]);
                add(tree, *below, hasher);
                hasher.update(&[2]);
            }
        }
    }
}
