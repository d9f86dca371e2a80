//! Opening: refuses by name what no node writes, checks that all files are there and whole, replays the logs into memory.

use super::{Options, Rocks, RocksError, footer, logs, manifest, options};
use rocksdb::{DB, ErrorKind};
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

impl Rocks {
    /// Opens the database in `path`.
    ///
    /// # Errors
    /// The directory has column families, a key order, values outside tables or a table format that no node writes and this
    /// release reads; a file is missing, of another size than the manifest says, or damaged where it was read; the logs are
    /// larger than allowed, or something is missing between them. A last record of the newest log that was never finished is
    /// no error: that is how a killed writer leaves it.
    pub fn open(path: &Path, bounds: Options) -> Result<Rocks, RocksError> {
        let foreign = |what: String| RocksError::Foreign { path: path.to_path_buf(), what };
        let numbers = manifest::read(path)?;
        let live = logs::list(path, numbers.log)?;
        let bytes: u64 = live.iter().map(|(.., bytes)| bytes).sum();
        if bytes > bounds.log_bytes {
            return Err(foreign(format!(
                "has {bytes} bytes of write-ahead logs, which are read into memory, and at most {} are: have the node's \
                 RocksDB flush them into tables",
                bounds.log_bytes
            )));
        }
        logs::check(&live, numbers)?;
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
        let rocks = Rocks { path: path.to_path_buf(), db: Arc::new(db), is_live: false, points: options::points() };
        rocks.check_files()?;
        Ok(rocks)
    }

    /// Looks at each table the manifest names: it must be there, whole, and of a format that is read.
    fn check_files(&self) -> Result<(), RocksError> {
        let failed = |error: rocksdb::Error| RocksError::of(&self.path, &error);
        let blobs = self.db.property_int_value("rocksdb.num-blob-files").map_err(failed)?;
        if blobs != Some(0) {
            let what = "keeps values in blob files, which no node's settings do".to_owned();
            return Err(RocksError::Foreign { path: self.path.clone(), what });
        }
        for table in self.db.live_files().map_err(failed)? {
            let path = self.path.join(table.name.trim_start_matches('/'));
            let size = check_table(&path)?;
            if size != table.size as u64 {
                let what = format!("it has {size} bytes, and the manifest says {}", table.size);
                return Err(RocksError::Corrupt { path, what });
            }
        }
        Ok(())
    }
}

/// Looks at a table's last bytes; returns the size.
fn check_table(path: &Path) -> Result<u64, RocksError> {
    let failed = |source: std::io::Error| {
        let path = path.to_path_buf();
        match source.kind() {
            std::io::ErrorKind::NotFound => RocksError::Corrupt { path, what: "it is missing".to_owned() },
            std::io::ErrorKind::UnexpectedEof => RocksError::Corrupt { path, what: "it is cut off".to_owned() },
            _ => RocksError::Io { path, source },
        }
    };
    let mut end = [0; footer::BYTES as usize];
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    file.read_exact_at(&mut end, size.saturating_sub(footer::BYTES)).map_err(failed)?;
    match footer::objection(&end) {
        Some(what) => Err(RocksError::Foreign { path: path.to_path_buf(), what: format!("is {what}") }),
        None => Ok(size),
    }
}

/// RocksDB's error on opening.
fn explained(path: &Path, error: &rocksdb::Error) -> RocksError {
    let message = error.to_string();
    if message.contains("does not match existing comparator") || message.contains("user-defined timestamps") {
        let what = format!("orders its keys otherwise than nodes do, or has timestamps in them: {message}");
        return RocksError::Foreign { path: path.to_path_buf(), what };
    }
    // A table of a format that is not read counts as damage with RocksDB.
    if error.kind() == ErrorKind::Corruption
        && let Some(foreign) = tables(path).into_iter().find_map(|table| match check_table(&table) {
            Err(error @ RocksError::Foreign { .. }) => Some(error),
            _ => None,
        })
    {
        return foreign;
    }
    RocksError::of(path, error)
}

fn tables(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|found| found == "sst")).collect()
}
