//! Opening: refuses by name what no node writes, checks that all files are there and whole, replays the logs into memory.

use super::{Options, Rocks, RocksError, footer, options};
use rocksdb::DB;
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

impl Rocks {
    /// Opens the database in `path`.
    ///
    /// # Errors
    /// The directory has column families, a key order, values outside tables or a table format that no node writes and this
    /// release reads; a file is missing, of another size than the manifest says, or damaged where it was read; the logs are
    /// larger than allowed. A last record of a log that was never finished is no error: that is how a killed writer leaves it.
    pub fn open(path: &Path, bounds: Options) -> Result<Rocks, RocksError> {
        let foreign = |what: String| RocksError::Foreign { path: path.to_path_buf(), what };
        let logs = log_bytes(path)?;
        if logs > bounds.log_bytes {
            return Err(foreign(format!(
                "has {logs} bytes of write-ahead logs, which are read into memory, and at most {} are; start the node's \
                 RocksDB once and have it flush",
                bounds.log_bytes
            )));
        }
        let library = options::database(bounds);
        let failed = |error: rocksdb::Error| explained(path, &error);
        let families = DB::list_cf(&library, path).map_err(failed)?;
        let others: Vec<&str> = families.iter().map(String::as_str).filter(|name| *name != "default").collect();
        if !others.is_empty() {
            let others = others.join(", ");
            return Err(foreign(format!(
                "has column families beside the default one, which no application.db has: {others}"
            )));
        }
        let db = DB::open_for_read_only(&library, path, false).map_err(failed)?;
        let rocks = Rocks { path: path.to_path_buf(), db, points: options::points() };
        rocks.check_tables()?;
        Ok(rocks)
    }

    /// Looks at the end of each table the manifest names: it must be there, whole, and of a format that is read.
    fn check_tables(&self) -> Result<(), RocksError> {
        let blobs = self.db.property_int_value("rocksdb.num-blob-files").map_err(|error| RocksError::of(&self.path, &error))?;
        if blobs != Some(0) {
            let what = "keeps values in blob files, which no node's settings do".to_owned();
            return Err(RocksError::Foreign { path: self.path.clone(), what });
        }
        let tables = self.db.live_files().map_err(|error| RocksError::of(&self.path, &error))?;
        for table in tables {
            let path = self.path.join(table.name.trim_start_matches('/'));
            let mut end = [0; footer::BYTES as usize];
            let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
            let size = file.metadata().map_err(|error| unreadable(&path, error))?.len();
            if size != table.size as u64 {
                let what = format!("it has {size} bytes, and the manifest says {}", table.size);
                return Err(RocksError::Corrupt { path, what });
            }
            file.read_exact_at(&mut end, size.saturating_sub(footer::BYTES)).map_err(|error| unreadable(&path, error))?;
            if let Some(what) = footer::objection(&end) {
                return Err(RocksError::Foreign { path, what: format!("is {what}") });
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> RocksError {
    let path = path.to_path_buf();
    match source.kind() {
        std::io::ErrorKind::NotFound => RocksError::Corrupt { path, what: "it is missing".to_owned() },
        _ => RocksError::Io { path, source },
    }
}

/// Bytes of all write-ahead logs in a directory.
fn log_bytes(path: &Path) -> Result<u64, RocksError> {
    let fail = |source| RocksError::Io { path: path.to_path_buf(), source };
    let mut bytes = 0u64;
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let path: PathBuf = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|found| found == "log") {
            let found = path.metadata().map_err(|error| unreadable(&path, error))?;
            bytes = bytes.saturating_add(found.len());
        }
    }
    Ok(bytes)
}

/// RocksDB's error on opening.
fn explained(path: &Path, error: &rocksdb::Error) -> RocksError {
    let message = error.to_string();
    if message.contains("does not match existing comparator") {
        let what = format!("orders its keys otherwise than nodes do, or has timestamps in them: {message}");
        return RocksError::Foreign { path: path.to_path_buf(), what };
    }
    RocksError::of(path, error)
}
