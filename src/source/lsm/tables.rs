//! Owns the open tables, a bounded number of them, least recently used closed first.
//! Hands shared tables to cursors and iterators; one in use outlives its eviction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::dialect::Dialect;
use super::error::LsmError;
use super::table::Table;
use super::version::Table as Entry;

/// Open tables by number.
#[derive(Debug)]
pub(crate) struct Tables {
    dialect: &'static Dialect,
    capacity: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    clock: u64,
    tables: HashMap<u64, (Arc<Table>, u64)>,
}

impl Tables {
    pub(crate) fn new(dialect: &'static Dialect, capacity: usize) -> Tables {
        Tables { dialect, capacity: capacity.max(1), open: Mutex::default() }
    }

    /// The open table of `entry`, opened now if need be.
    pub(crate) fn get(&self, entry: &Entry) -> Result<Arc<Table>, LsmError> {
        if let Some(table) = self.lookup(entry.number) {
            return Ok(table);
        }
        // Opened outside the lock: two threads may open one table twice, none waits.
        let table = Arc::new(Table::open(entry, self.dialect)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let clock = open.clock;
        open.tables.insert(entry.number, (Arc::clone(&table), clock));
        while open.tables.len() > self.capacity {
            let oldest = open.tables.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(&number, _)| number) else {
                break;
            };
            open.tables.remove(&oldest);
        }
        Ok(table)
    }

    fn lookup(&self, number: u64) -> Option<Arc<Table>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let clock = open.clock;
        let (table, used) = open.tables.get_mut(&number)?;
        *used = clock;
        Some(Arc::clone(table))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.lock().unwrap().tables.len()
    }
}
