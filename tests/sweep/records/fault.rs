//! Faults in the records of a target in memory: where they are, what they do.

use crate::support::{job::World, random::Random};
use std::fmt;
use storeshift::{
    iavl::NodeKey,
    model::{StoreKey, Version},
};

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Sc(StoreKey, NodeKey),
    Info(Version),
    ScLatest,
    Ss(StoreKey, Vec<u8>, Version),
    SsLatest,
}

impl Place {
    pub fn name(&self) -> &'static str {
        match self {
            Place::Sc(..) => "SC record",
            Place::Info(_) => "SC commit info",
            Place::ScLatest => "SC watermark",
            Place::Ss(..) => "SS pair",
            Place::SsLatest => "SS watermark",
        }
    }

    /// All of a target's.
    pub fn all(world: &World) -> Vec<Place> {
        let (sc, ss) = (world.sc.data(), world.ss.data());
        let mut all: Vec<Place> = sc.records.keys().map(|(store, at)| Place::Sc(store.clone(), *at)).collect();
        all.extend(sc.infos.keys().map(|version| Place::Info(*version)));
        all.extend(ss.pairs.keys().map(|(store, key, at)| Place::Ss(store.clone(), key.clone(), *at)));
        all.extend(sc.latest.map(|_| Place::ScLatest));
        all.extend(ss.latest.map(|_| Place::SsLatest));
        all
    }

    /// What is there. A pair begins with 1, a removal is 0; a watermark has its eight bytes.
    pub fn get(&self, world: &World) -> Option<Vec<u8>> {
        let number = |latest: Option<Version>| latest.map(|version| version.0.to_le_bytes().to_vec());
        match self {
            Place::Sc(store, at) => world.sc.data().records.get(&(store.clone(), *at)).cloned(),
            Place::Info(version) => world.sc.data().infos.get(version).cloned(),
            Place::ScLatest => number(world.sc.data().latest),
            Place::SsLatest => number(world.ss.data().latest),
            Place::Ss(store, key, at) => {
                let data = world.ss.data();
                let value = data.pairs.get(&(store.clone(), key.clone(), *at))?;
                Some(value.as_ref().map_or(vec![0], |value| [&[1], value.as_slice()].concat()))
            }
        }
    }

    /// Puts something there, or takes away what is there. A watermark of another length is none.
    pub fn put(&self, world: &World, bytes: Option<Vec<u8>>) {
        let number = |bytes: Option<Vec<u8>>| Some(Version(u64::from_le_bytes(bytes?.try_into().ok()?)));
        fn set<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => drop(map.insert(key, value)),
                None => drop(map.remove(&key)),
            }
        }
        match self {
            Place::Sc(store, at) => set(&mut world.sc.data().records, (store.clone(), *at), bytes),
            Place::Info(version) => set(&mut world.sc.data().infos, *version, bytes),
            Place::ScLatest => world.sc.data().latest = number(bytes),
            Place::SsLatest => world.ss.data().latest = number(bytes),
            Place::Ss(store, key, at) => {
                let value = bytes.map(|bytes| match bytes.split_first() {
                    None | Some((0, _)) => None,
                    Some((_, value)) => Some(value.to_vec()),
                });
                set(&mut world.ss.data().pairs, (store.clone(), key.clone(), *at), value);
            }
        }
    }

    fn key_bits(&self) -> usize {
        8 * match self {
            Place::Sc(store, _) => store.as_str().len() + 12,
            Place::Info(_) => 8,
            Place::ScLatest | Place::SsLatest => 0,
            Place::Ss(store, key, _) => store.as_str().len() + key.len() + 8,
        }
    }

    /// The place under a key with a flipped bit; none if that is no key of its kind.
    fn beside(&self, bit: usize) -> Option<Place> {
        let flip = |bytes: &mut Vec<u8>, bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
        let other_store = |store: &StoreKey, bit: usize| {
            let mut name = store.as_str().as_bytes().to_vec();
            flip(&mut name, bit);
            String::from_utf8(name).ok().map(|name| StoreKey::from(name.as_str()))
        };
        Some(match self {
            Place::Sc(store, at) => match bit.checked_sub(8 * store.as_str().len()) {
                None => Place::Sc(other_store(store, bit)?, *at),
                Some(bit) if bit < 64 => {
                    Place::Sc(store.clone(), NodeKey::new(Version(at.version.0 ^ 1 << bit), at.nonce))
                }
                Some(bit) => Place::Sc(store.clone(), NodeKey::new(at.version, at.nonce ^ 1 << (bit - 64))),
            },
            Place::Info(version) => Place::Info(Version(version.0 ^ 1 << bit)),
            Place::ScLatest | Place::SsLatest => return None,
            Place::Ss(store, key, at) => {
                let name = 8 * store.as_str().len();
                if bit < name {
                    return Some(Place::Ss(other_store(store, bit)?, key.clone(), *at));
                }
                let (bit, mut key) = (bit - name, key.clone());
                if bit < 8 * key.len() {
                    flip(&mut key, bit);
                    Place::Ss(store.clone(), key, *at)
                } else {
                    let version = Version(at.0 ^ 1 << (bit - 8 * key.len()));
                    Place::Ss(store.clone(), key, version)
                }
            }
        })
    }
}

/// What is done to a target.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: &'static str,
    /// Where it is counted.
    at: Place,
    /// What is where afterwards.
    puts: Vec<(Place, Option<Vec<u8>>)>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Fault {
    pub fn place(&self) -> &'static str {
        self.at.name()
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Does it; false if nothing is different then.
    pub fn damage(&self, world: &World) -> bool {
        let mut differs = false;
        for (place, bytes) in &self.puts {
            differs |= place.get(world) != *bytes;
            place.put(world, bytes.clone());
        }
        differs
    }

    /// Any fault, but single bits.
    pub fn random(world: &World, random: &mut Random) -> Fault {
        let all = Place::all(world);
        let pick = |random: &mut Random| all[random.below(all.len() as u64) as usize].clone();
        let at = pick(random);
        let whole = at.get(world).unwrap();
        let length = whole.len() as u64;
        let mut bytes = whole.clone();
        // Another record of the same kind, if there is one.
        let alike: Vec<&Place> = all.iter().filter(|other| other.name() == at.name() && **other != at).collect();
        let other = alike.get(random.below(alike.len() as u64) as usize).map_or(at.clone(), |other| (*other).clone());
        let others = other.get(world).unwrap();
        let one = |kind, bytes: Vec<u8>| Fault { kind, at: at.clone(), puts: vec![(at.clone(), Some(bytes))] };
        match random.below(10) {
            0 => {
                for _ in 0..2 + random.below(15) {
                    bytes[random.below(length) as usize] ^= 1 << random.below(8);
                }
                one("several bits", bytes)
            }
            1 => {
                let from = random.below(length) as usize;
                let until = from + 1 + random.below(length - from as u64) as usize;
                bytes[from..until].fill(0);
                one("zeroed", bytes)
            }
            2 => {
                bytes.truncate(random.below(length) as usize);
                one("cut short", bytes)
            }
            3 => {
                let more = 1 + random.below(40);
                let garbage = random.coin();
                bytes.extend((0..more).map(|_| if garbage { random.next() as u8 } else { 0 }));
                one("longer", bytes)
            }
            4 => {
                let puts = vec![(at.clone(), Some(others)), (other, Some(whole))];
                Fault { kind: "swapped", at, puts }
            }
            5 => {
                // Written where another record belongs; its own place has it, or has not.
                let mut puts = vec![(other, Some(whole))];
                if random.coin() {
                    puts.push((at.clone(), None));
                }
                Fault { kind: "misdirected", at, puts }
            }
            6 => one("stale", stale(world, &at, random).unwrap_or(others)),
            7 => {
                // The same bits in two records: a sum by XOR would be what it was.
                let mut second = others;
                let shorter = length.min(second.len() as u64);
                for _ in 0..1 + random.below(4) {
                    let (byte, bit) = (random.below(shorter) as usize, 1 << random.below(8));
                    bytes[byte] ^= bit;
                    if other != at {
                        second[byte] ^= bit;
                    }
                }
                let mut puts = vec![(at.clone(), Some(bytes))];
                if other != at {
                    puts.push((other, Some(second)));
                }
                Fault { kind: "cancelling", at, puts }
            }
            8 => {
                let bits = at.key_bits() as u64;
                let beside = at.beside(random.below(bits.max(1)) as usize % at.key_bits().max(1));
                match beside.filter(|_| bits > 0) {
                    Some(beside) => Fault { kind: "doubled", puts: vec![(beside, Some(whole))], at },
                    None => Fault { kind: "removed", puts: vec![(at.clone(), None)], at },
                }
            }
            _ => Fault { kind: "removed", puts: vec![(at.clone(), None)], at },
        }
    }
}

/// What an older record of that place could be: another version of a key, or of a commit info; an older node at that nonce.
fn stale(world: &World, at: &Place, random: &mut Random) -> Option<Vec<u8>> {
    let older: Vec<Place> = Place::all(world)
        .into_iter()
        .filter(|other| match (at, other) {
            (Place::Sc(store, at), Place::Sc(of, other)) => {
                store == of && other.nonce == at.nonce && other.version < at.version
            }
            (Place::Info(at), Place::Info(other)) => other < at,
            (Place::Ss(store, key, at), Place::Ss(of, other, before)) => store == of && key == other && before < at,
            _ => false,
        })
        .collect();
    let picked = older.get(random.below(older.len() as u64) as usize)?;
    picked.get(world)
}

/// Each bit of each record's value and key flipped, and each record removed.
pub fn every_bit(world: &World) -> Vec<Fault> {
    let mut faults = Vec::new();
    for at in Place::all(world) {
        let whole = at.get(world).unwrap();
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            faults.push(Fault { kind: "bit", at: at.clone(), puts: vec![(at.clone(), Some(bytes))] });
        }
        for beside in (0..at.key_bits()).filter_map(|bit| at.beside(bit)) {
            let puts = vec![(at.clone(), None), (beside, Some(whole.clone()))];
            faults.push(Fault { kind: "bit of the key", at: at.clone(), puts });
        }
        faults.push(Fault { kind: "removed", puts: vec![(at.clone(), None)], at });
    }
    faults
}
