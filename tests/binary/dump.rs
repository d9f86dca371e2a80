//! Reads a target with RocksDB and nothing of storeshift: every SC pair, every SS record of every version.

use rocksdb::{ColumnFamilyDescriptor, DB, DBRawIterator, IteratorMode, Options, ReadOptions};
use std::{collections::BTreeMap, path::Path};

/// One SS record: key, timestamp, value or removal.
pub type Record = (Vec<u8>, u64, Option<Vec<u8>>);

/// Everything a target holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dump {
    pub sc: BTreeMap<Vec<u8>, Vec<u8>>,
    pub ss: Vec<Record>,
    /// Column family `default` of SS.
    pub ss_meta: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Options of the column family with timestamps.
pub fn timestamped() -> Options {
    Options::default().get_options_from_string("comparator=leveldb.BytewiseComparator.u64ts").unwrap()
}

impl Dump {
    /// Reads a target; an engine that is not there is empty.
    pub fn read(target: &Path) -> Dump {
        Dump::try_read(target).unwrap()
    }

    pub fn try_read(target: &Path) -> Result<Dump, rocksdb::Error> {
        let mut dump = Dump::default();
        if target.join("sc/CURRENT").exists() {
            let db = DB::open_for_read_only(&Options::default(), target.join("sc"), false)?;
            for pair in db.iterator(IteratorMode::Start) {
                let (key, value) = pair?;
                dump.sc.insert(key.into(), value.into());
            }
        }
        if target.join("ss/CURRENT").exists() {
            let families = [
                ColumnFamilyDescriptor::new("default", Options::default()),
                ColumnFamilyDescriptor::new("state_storage", timestamped()),
            ];
            let options = Options::default();
            let db = DB::open_cf_descriptors_read_only(&options, target.join("ss"), families, false)?;
            for pair in db.iterator(IteratorMode::Start) {
                let (key, value) = pair?;
                dump.ss_meta.insert(key.into(), value.into());
            }
            let mut read = ReadOptions::default();
            read.set_timestamp(u64::MAX.to_le_bytes());
            read.set_iter_start_ts(0u64.to_le_bytes());
            let family = db.cf_handle("state_storage").unwrap();
            let mut records: DBRawIterator<'_> = db.raw_iterator_cf_opt(family, read);
            records.seek_to_first();
            while let Some((key, value)) = records.item() {
                dump.ss.push(record(key, value));
                records.next();
            }
            records.status()?;
        }
        Ok(dump)
    }

    pub fn is_empty(&self) -> bool {
        self.sc.is_empty() && self.ss.is_empty()
    }

    /// Without removals of what never was there, which is what a repair leaves of an extra pair.
    pub fn without_idle_removals(mut self) -> Dump {
        let put: std::collections::BTreeSet<Vec<u8>> =
            self.ss.iter().filter(|(_, _, value)| value.is_some()).map(|(key, _, _)| key.clone()).collect();
        self.ss.retain(|(key, _, _)| put.contains(key));
        self
    }

    /// Asserts that two targets hold the same, pair by pair, and names the first differences if not.
    #[track_caller]
    pub fn assert_same(&self, other: &Dump, what: &str) {
        if self == other {
            return;
        }
        let sc: Vec<_> =
            self.sc.keys().chain(other.sc.keys()).filter(|key| self.sc.get(*key) != other.sc.get(*key)).collect();
        let ss: Vec<_> =
            self.ss.iter().filter(|record| !other.ss.contains(record)).map(|(key, at, _)| (key, at)).collect();
        let lost: Vec<_> =
            other.ss.iter().filter(|record| !self.ss.contains(record)).map(|(key, at, _)| (key, at)).collect();
        panic!(
            "{what}: {} and {} SC pairs, {} and {} SS records\nSC differs at {:?}\nonly left {:?}\nonly right {:?}\n{:?} {:?}",
            self.sc.len(),
            other.sc.len(),
            self.ss.len(),
            other.ss.len(),
            sc.iter().take(5).map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>(),
            &ss[..ss.len().min(5)],
            &lost[..lost.len().min(5)],
            self.ss_meta,
            other.ss_meta,
        );
    }
}

/// With `iter_start_ts` RocksDB hands out internal keys: key, timestamp LE8, then sequence number and kind LE8.
fn record(internal: &[u8], value: &[u8]) -> Record {
    const VALUE: u8 = 0x01;
    const REMOVALS: [u8; 3] = [0x00, 0x07, 0x14];
    let (rest, trailer) = internal.split_last_chunk::<8>().unwrap();
    let (key, timestamp) = rest.split_last_chunk::<8>().unwrap();
    let value = match trailer[0] {
        VALUE => Some(value.to_vec()),
        kind if REMOVALS.contains(&kind) => None,
        kind => panic!("a record of kind {kind:#x}"),
    };
    (key.to_vec(), u64::from_le_bytes(*timestamp), value)
}
