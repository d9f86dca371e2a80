//! A snapshot's directory: `<height>/<format>/<chunk>`, and what its metadata says of the chunks.
//!
//! Owns finding both, and reading the chunks as one sequence of bytes, each checked against its recorded hash before
//! anything of it is handed to [`super::stream`]. Nothing is written.

use super::{
    super::{
        SourceError,
        checkpoint::is_in_use,
        detect::{EngineKind, detect},
        leveldb, lsm, pebble,
    },
    item::Metadata,
};
use crate::model::{Hash, Version, to_hex};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// Formats whose items are those of format 3.
const FORMATS: [u32; 2] = [2, 3];
/// Bytes read at a time.
const BUFFER: usize = 1 << 17;

/// A snapshot's directory.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// The version.
    pub height: Version,
    /// The format.
    pub format: u32,
    /// The chunks' files and their lengths.
    pub chunks: Vec<(PathBuf, u64)>,
    /// SHA-256 of each chunk, if there is metadata.
    pub hashes: Vec<Hash>,
}

/// What is wrong with something in the snapshot.
pub fn damaged(path: &Path, what: impl Into<String>) -> SourceError {
    SourceError::Damaged { path: path.to_owned(), what: what.into() }
}

fn unrecognised(path: &Path, what: impl Into<String>) -> SourceError {
    SourceError::Unrecognised { path: path.display().to_string(), what: what.into() }
}

/// Whether a path is named as a snapshot is: `<height>/<format>`, with files that have numbers for names.
pub fn recognises(path: &Path) -> bool {
    numbers(path).is_some() && chunk_numbers(path).is_ok_and(|chunks| !chunks.is_empty())
}

/// If a directory above snapshots was given: one of them.
pub fn suggestion(path: &Path) -> Option<PathBuf> {
    let inside = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|e| e.path()).collect())
    };
    let mut found: Vec<PathBuf> = inside(path);
    found.extend(found.iter().flat_map(|path| inside(path)).collect::<Vec<_>>());
    found.retain(|path| recognises(path));
    found.into_iter().max_by_key(|path| numbers(path))
}

fn numbers(path: &Path) -> Option<(u64, u32)> {
    let path = path.canonicalize().ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
    let (height, format) = (number(path.parent()?)?, u32::try_from(number(&path)?).ok()?);
    (height > 0 && height <= Version::MAX.0).then_some((height, format))
}

fn chunk_numbers(path: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        if let Some(number) = number
            && entry.path().is_file()
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Directory {
    /// Looks at a snapshot's directory and its metadata. Reads no chunk.
    ///
    /// # Errors
    /// It is of another format, chunks are missing, or the metadata says something else or is damaged.
    pub fn open(path: &Path) -> Result<Directory, SourceError> {
        let (height, format) =
            numbers(path).ok_or_else(|| unrecognised(path, "is not named <height>/<format>, as a snapshot is"))?;
        if !FORMATS.contains(&format) {
            return Err(unrecognised(
                path,
                format!("is a snapshot of format {format}; this release reads formats 2 and 3"),
            ));
        }
        let numbers = chunk_numbers(path).map_err(SourceError::io(path, "list"))?;
        let mut chunks = Vec::with_capacity(numbers.len());
        for (expected, number) in (0..).zip(numbers) {
            if number != expected {
                return Err(damaged(path, format!("chunk {expected} is missing")));
            }
            let chunk = path.join(number.to_string());
            let length = chunk.metadata().map_err(SourceError::io(&chunk, "look at"))?.len();
            chunks.push((chunk, length));
        }
        let mut directory =
            Directory { path: path.to_owned(), height: Version(height), format, chunks, hashes: Vec::new() };
        if let Some((of, bytes)) = directory.find_metadata()? {
            let metadata = Metadata::decode(&bytes).map_err(|what| damaged(&of, what))?;
            directory.check(&of, metadata)?;
        }
        Ok(directory)
    }

    /// Bytes of all chunks.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|(_, length)| length).sum()
    }

    /// The chunks as one sequence of bytes.
    pub fn read(&self) -> Chunks<'_> {
        Chunks { directory: self, next: 0, current: None }
    }

    fn check(&mut self, of: &Path, metadata: Metadata) -> Result<(), SourceError> {
        let count = self.chunks.len() as u64;
        if (metadata.height, metadata.format) != (self.height.0, self.format) {
            return Err(damaged(of, "is of another snapshot than its key says"));
        }
        if u64::from(metadata.chunks) != count {
            let what = format!("{count} chunks are there, the metadata says {}", metadata.chunks);
            return Err(damaged(&self.path, what));
        }
        if !metadata.chunk_hashes.is_empty() && metadata.chunk_hashes.len() as u64 != count {
            return Err(damaged(of, "has another number of chunk hashes than of chunks"));
        }
        self.hashes = metadata.chunk_hashes;
        Ok(())
    }

    /// store/v1 keeps metadata in a database beside the snapshots, store/v2 in files.
    fn find_metadata(&self) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
        let real = self.path.canonicalize().map_err(SourceError::io(&self.path, "find"))?;
        let Some(snapshots) = real.parent().and_then(Path::parent) else { return Ok(None) };
        let file = snapshots.join("metadata").join(format!("{:020}-{:08}", self.height.0, self.format));
        if file.is_file() {
            let bytes = std::fs::read(&file).map_err(SourceError::io(&file, "read"))?;
            return Ok(Some((file, bytes)));
        }
        let database = snapshots.join("metadata.db");
        if !database.join("CURRENT").is_file() {
            return Ok(None);
        }
        let unread = |why: &str| {
            tracing::warn!(path = %database.display(), why, "chunk hashes are not compared; the app hash decides alone");
            Ok(None)
        };
        let open = match detect(&database) {
            Ok(EngineKind::Goleveldb) => leveldb::open,
            Ok(EngineKind::Pebble) => pebble::open,
            _ => return unread("is no database of goleveldb or PebbleDB"),
        };
        if is_in_use(&database) {
            return unread("a node has it open");
        }
        let metadata = open(&database, lsm::Options { block_cache_bytes: 1 << 20, open_files: 16 })?;
        let mut key = vec![1];
        key.extend_from_slice(&self.height.0.to_be_bytes());
        key.extend_from_slice(&self.format.to_be_bytes());
        Ok(metadata.get(&key)?.map(|bytes| (database, bytes)))
    }
}

/// Reads the chunks of a snapshot one after the other.
pub struct Chunks<'a> {
    directory: &'a Directory,
    next: usize,
    current: Option<BufReader<File>>,
}

impl Chunks<'_> {
    /// Opens the next chunk; its hash is compared before anything of it is handed out.
    fn open_next(&mut self) -> io::Result<bool> {
        let Some((path, _)) = self.directory.chunks.get(self.next) else { return Ok(false) };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = File::open(path).map_err(named)?;
        if let Some(expected) = self.directory.hashes.get(self.next) {
            let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
            loop {
                match file.read(&mut buffer).map_err(named)? {
                    0 => break,
                    read => hasher.update(buffer.get(..read).unwrap_or_default()),
                }
            }
            let found: [u8; 32] = hasher.finalize().into();
            if found != expected.0 {
                let what = format!("its SHA-256 is {}, the snapshot's metadata says {expected}", to_hex(&found));
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display())));
            }
            file = File::open(path).map_err(named)?;
        }
        self.current = Some(BufReader::with_capacity(BUFFER, file));
        self.next += 1;
        Ok(true)
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            let is_empty = match &mut self.current {
                Some(current) => current.fill_buf()?.is_empty(),
                None => true,
            };
            if !is_empty {
                break;
            }
            if !self.open_next()? {
                return Ok(&[]);
            }
        }
        self.current.as_mut().map_or(Ok(&[]), BufRead::fill_buf)
    }

    fn consume(&mut self, amount: usize) {
        if let Some(current) = &mut self.current {
            current.consume(amount);
        }
    }
}
