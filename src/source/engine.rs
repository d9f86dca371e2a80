//! What the rootmulti layout needs from a key-value engine.

use super::{SourceError, lsm};
use crate::iavl::Access;
use std::sync::Arc;

/// A key-value database opened strictly read only.
pub trait Engine: Send + Sync {
    /// The engine's name, e.g. `goleveldb`.
    fn name(&self) -> &'static str;

    /// One value.
    ///
    /// # Errors
    /// The database could not be read, or is damaged where it was read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError>;

    /// A reader for many keys that lie near each other.
    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_>;

    /// A walk over the pairs from `from` up to and without `until`.
    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_>;

    /// About how many bytes on disk the keys from `start` up to `end` take.
    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64;
}

/// A key and its value, lent by a [`Scan`].
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// A walk over pairs in ascending order of keys.
pub trait Scan {
    /// Goes on with the first pair at or above a key; the end of the walk stays where it is.
    fn seek(&mut self, key: &[u8]);

    /// The next pair, key and value, or none at the end. After an error the walk is at its end until it is sought anew.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError>;
}

/// Reads many keys that lie near each other; remembers where it is.
pub trait PointReader {
    /// Appends the value to `out`; false if there is none.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError>;
}

impl<E: Engine + ?Sized> Engine for Arc<E> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        (**self).get(key)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        (**self).reader(access)
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        (**self).scan(from, until)
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        (**self).approximate_bytes(start, end)
    }
}

impl Engine for lsm::Database {
    fn name(&self) -> &'static str {
        self.engine()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(lsm::Database::get(self, key)?)
    }

    fn reader(&self, access: Access) -> Box<dyn PointReader + Send + '_> {
        Box::new(match access {
            Access::Runs => self.cursor_once(),
            Access::Points => self.cursor(),
        })
    }

    fn scan(&self, from: &[u8], until: &[u8]) -> Box<dyn Scan + Send + '_> {
        Box::new(self.iter(from, Some(until)))
    }

    fn approximate_bytes(&self, start: &[u8], end: &[u8]) -> u64 {
        // An estimate only: where even that cannot be read, whoever reads the data itself will say so.
        lsm::Database::approximate_bytes(self, start, Some(end)).unwrap_or(0)
    }
}

impl PointReader for lsm::Cursor {
    fn read(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, SourceError> {
        Ok(self.read_into(key, out)?)
    }
}

impl Scan for lsm::Iter {
    fn seek(&mut self, key: &[u8]) {
        lsm::Iter::seek(self, key);
    }

    fn next(&mut self) -> Result<Option<Pair<'_>>, SourceError> {
        Ok(lsm::Iter::next(self)?)
    }
}
