//! The spool: the records of a snapshot, laid out so that any of them can be read at once.
//!
//! Owns its files. Of each store `<number>.nodes`, each record behind the `uv` version of its node, in post-order; and
//! `<number>.offsets`, where each begins, as LE8: the nonce of a node is its post-order ordinal plus 2, so nothing has to be
//! sorted or searched. The file `whole` is renamed into place last, says what is there, and has a digest of each file. All of
//! it is derived: what is not whole is made again.

use super::rebuild::{Sink, StoreTally, Tally};
use crate::{
    disk::{self, Appender, Making},
    iavl::{
        NodeKey, NodeReader, ReadError, numbering,
        varint::{Fields, put_uv},
    },
    model::{Hash, StoreKey, Version, to_hex},
};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

const WHOLE: &str = "whole";
/// The first line of `whole`.
const FORMAT: &str = "storeshift spool 1";
const BUFFER: usize = 1 << 18;
/// Bytes read at a time when looking up records. Neighbours in post-order lie together, but are not asked for in that order.
const PAGE: u64 = 1 << 14;
/// Pages of a file that a reader keeps.
const PAGES: u64 = 48;

/// An input/output error with the file.
pub type At = (PathBuf, &'static str, io::Error);

fn at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> At {
    let path = path.to_owned();
    move |error| (path, doing, error)
}

/// Bytes of a spool with these records.
pub fn bytes(tally: &Tally) -> u64 {
    // Versions take up to 9 bytes, usually 3 or 4.
    let of = |store: &StoreTally| store.record_bytes + store.leaves * 2 * (8 + 5);
    tally.stores.iter().map(of).sum()
}

/// Writes a spool.
pub struct Writer {
    directory: PathBuf,
    /// The files of the stores that are whole.
    written: Vec<Files>,
    current: Option<(Part, Part)>,
    scratch: Vec<u8>,
}

/// One file being written.
struct Part {
    path: PathBuf,
    file: BufWriter<Appender>,
    digest: blake3::Hasher,
    length: u64,
}

impl Part {
    fn create(path: PathBuf) -> Result<Part, At> {
        let file = disk::make(&path, Making::Anew).map_err(at(&path, "create"))?;
        let file = BufWriter::with_capacity(BUFFER, Appender::new(file));
        Ok(Part { path, file, digest: blake3::Hasher::new(), length: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), At> {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(at(&self.path, "write"))
    }

    fn close(self) -> Result<(u64, blake3::Hash), At> {
        let file = self.file.into_inner().map_err(|error| at(&self.path, "write")(error.into_error()))?;
        file.file().sync().map_err(at(&self.path, "sync"))?;
        Ok((self.length, self.digest.finalize()))
    }
}

impl Writer {
    /// Begins a spool; whatever is in the directory is removed.
    pub fn create(directory: &Path) -> Result<Writer, At> {
        disk::clear_all(directory).map_err(at(directory, "remove"))?;
        disk::make_directories(directory).map_err(at(directory, "create"))?;
        Ok(Writer { directory: directory.to_owned(), written: Vec::new(), current: None, scratch: Vec::new() })
    }

    /// Makes everything durable, then says that it is whole.
    pub fn finish(mut self, identity: &str, tally: &Tally) -> Result<(), At> {
        self.end_store()?;
        let mut lines = format!("{FORMAT}\nsnapshot {identity}\n");
        for (files, store) in self.written.iter().zip(&tally.stores) {
            let Files { nodes: (nodes_length, nodes), offsets: (offsets_length, offsets) } = files;
            let root = store.root.map_or((0, 0), |root| (root.version.0, root.nonce));
            lines.push_str(&format!(
                "store {} {} {} {} {} {} {} {nodes_length} {nodes} {offsets_length} {offsets}\n",
                to_hex(store.name.as_str().as_bytes()),
                store.hash,
                root.0,
                root.1,
                store.leaves,
                store.pair_bytes,
                store.record_bytes,
            ));
        }
        for note in &tally.notes {
            lines.push_str(&format!("note {}\n", to_hex(note.as_bytes())));
        }
        lines.push_str(&format!("end {}\n", blake3::hash(lines.as_bytes())));
        let (temporary, whole) = (self.directory.join("whole.new"), self.directory.join(WHOLE));
        disk::write(&temporary, Making::Anew, lines.as_bytes()).map_err(at(&temporary, "write"))?;
        disk::rename(&temporary, &whole).map_err(at(&whole, "rename into place"))?;
        sync(&self.directory)
    }

    fn end_store(&mut self) -> Result<(), At> {
        if let Some((nodes, offsets)) = self.current.take() {
            self.written.push(Files { nodes: nodes.close()?, offsets: offsets.close()? });
        }
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), At> {
    disk::sync(path).map_err(at(path, "sync"))
}

impl Sink for Writer {
    type Error = At;

    fn store(&mut self, _: &StoreKey) -> Result<(), At> {
        self.end_store()?;
        let number = self.written.len();
        let part = |kind: &str| Part::create(self.directory.join(format!("{number}.{kind}")));
        self.current = Some((part("nodes")?, part("offsets")?));
        Ok(())
    }

    fn record(&mut self, version: Version, record: &[u8]) -> Result<(), At> {
        let Some((nodes, offsets)) = &mut self.current else { return Ok(()) };
        offsets.write(&nodes.length.to_le_bytes())?;
        self.scratch.clear();
        put_uv(&mut self.scratch, version.0);
        nodes.write(&self.scratch)?;
        nodes.write(record)
    }
}

/// A spool that is whole.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// What the snapshot holds.
    pub tally: Tally,
    stores: Vec<Files>,
}

#[derive(Debug)]
struct Files {
    nodes: (u64, blake3::Hash),
    offsets: (u64, blake3::Hash),
}

impl Spool {
    /// The spool in a directory, if it is whole and of this snapshot. Its files are not looked at yet.
    pub fn find(directory: &Path, identity: &str) -> Option<Spool> {
        let text = fs::read_to_string(directory.join(WHOLE)).ok()?;
        let (body, end) = text.split_at(text.rfind("end ")?);
        if end.trim_end().strip_prefix("end ")? != blake3::hash(body.as_bytes()).to_string() {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != FORMAT || lines.next()?.strip_prefix("snapshot ")? != identity {
            return None;
        }
        let mut spool = Spool { directory: directory.to_owned(), tally: Tally::default(), stores: Vec::new() };
        for line in lines {
            if let Some(note) = line.strip_prefix("note ") {
                spool.tally.notes.push(String::from_utf8(unhex(note)?).ok()?);
            } else {
                let (store, files) = parse_store(line)?;
                spool.tally.stores.push(store);
                spool.stores.push(files);
            }
        }
        Some(spool)
    }

    /// Whether its files are as they were written.
    pub fn is_sound(&self, stop: &dyn Fn() -> bool) -> bool {
        (0..).zip(&self.stores).all(|(number, files): (usize, _)| {
            let sound = |kind: &str, (length, digest): (u64, blake3::Hash)| {
                digest_of(&self.path(number, kind), stop).is_ok_and(|found| found == (length, digest))
            };
            sound("nodes", files.nodes) && sound("offsets", files.offsets)
        })
    }

    /// A reader of one store's records.
    pub fn nodes(&self, store: &StoreKey) -> Records {
        let none = || Records { nodes: Pages::none(), offsets: Pages::none() };
        let Some((number, files)) = self.number(store).and_then(|number| Some((number, self.stores.get(number)?)))
        else {
            return none();
        };
        let pages = |kind: &str, (length, _)| Pages::new(self.path(number, kind), length);
        Records { nodes: pages("nodes", files.nodes), offsets: pages("offsets", files.offsets) }
    }

    fn number(&self, store: &StoreKey) -> Option<usize> {
        self.tally.stores.iter().position(|tally| tally.name == *store)
    }

    fn path(&self, number: usize, kind: &str) -> PathBuf {
        self.directory.join(format!("{number}.{kind}"))
    }
}

fn digest_of(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<(u64, blake3::Hash)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; BUFFER]);
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0);
    loop {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut buffer)? {
            0 => return Ok((length, hasher.finalize())),
            read => {
                length += read as u64;
                hasher.update(buffer.get(..read).unwrap_or_default());
            }
        }
    }
}

fn parse_store(line: &str) -> Option<(StoreTally, Files)> {
    let mut words = line.strip_prefix("store ")?.split(' ');
    let name = String::from_utf8(unhex(words.next()?)?).ok()?;
    let hash: Hash = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (version, nonce, leaves, pair_bytes, record_bytes) = (number()?, number()?, number()?, number()?, number()?);
    let mut file = || Some((words.next()?.parse().ok()?, blake3::Hash::from_hex(words.next()?).ok()?));
    let files = Files { nodes: file()?, offsets: file()? };
    let root = (nonce > 0).then_some(NodeKey::new(Version(version), u32::try_from(nonce).ok()?));
    Some((StoreTally { name: StoreKey::from(name), hash, root, leaves, pair_bytes, record_bytes }, files))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let pairs = digits?;
    (pairs.len() % 2 == 0)
        .then(|| pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// Reads one store's records.
pub struct Records {
    nodes: Pages,
    offsets: Pages,
}

impl Records {
    fn offset(&mut self, ordinal: u64) -> Result<u64, ReadError> {
        if ordinal == self.offsets.length / 8 {
            return Ok(self.nodes.length);
        }
        let mut bytes = Vec::with_capacity(8);
        self.offsets.read(ordinal * 8, 8, &mut bytes)?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }
}

impl NodeReader for Records {
    fn parents_last(&self) -> bool {
        true
    }

    fn read(&mut self, key: NodeKey, out: &mut Vec<u8>) -> Result<bool, ReadError> {
        let Some(ordinal) = numbering::ordinal(key.nonce).filter(|ordinal| *ordinal < self.offsets.length / 8) else {
            return Ok(false);
        };
        let (from, to) = (self.offset(ordinal)?, self.offset(ordinal + 1)?);
        let length = to.checked_sub(from).ok_or_else(|| self.offsets.damaged("offsets do not ascend"))?;
        let start = out.len();
        self.nodes.read(from, length, out)?;
        let mut fields = Fields::new(out.get(start..).unwrap_or_default());
        let version = fields.uv();
        let header = length as usize - fields.rest().len();
        if version != Some(key.version.0) {
            out.truncate(start);
            return Ok(false);
        }
        out.drain(start..start + header);
        Ok(true)
    }
}

/// A file, read by the page; each page has one place where it is kept.
struct Pages {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    kept: Vec<(u64, Vec<u8>)>,
}

impl Pages {
    fn none() -> Pages {
        Pages { path: PathBuf::new(), file: None, length: 0, kept: Vec::new() }
    }

    fn new(path: PathBuf, length: u64) -> Pages {
        Pages { length, path, ..Pages::none() }
    }

    fn read(&mut self, mut from: u64, length: u64, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let to = from.checked_add(length).filter(|to| *to <= self.length);
        let to = to.ok_or_else(|| self.damaged("a record lies outside the file"))?;
        while from < to {
            let page = self.page(from / PAGE)?;
            let start = (from % PAGE) as usize;
            let taken = page.get(start..page.len().min(start + (to - from) as usize)).unwrap_or_default();
            out.extend_from_slice(taken);
            from += taken.len() as u64;
            if taken.is_empty() {
                return Err(self.damaged("it is shorter than it was written"));
            }
        }
        Ok(())
    }

    fn page(&mut self, number: u64) -> Result<&[u8], ReadError> {
        let failed = |path: &Path, error: io::Error| {
            let corrupt = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound);
            ReadError { corrupt, message: format!("{}: {error}", path.display()) }
        };
        if self.file.is_none() {
            self.file = Some(File::open(&self.path).map_err(|error| failed(&self.path, error))?);
            self.kept.resize_with(PAGES.min(self.length.div_ceil(PAGE)) as usize, || (u64::MAX, Vec::new()));
        }
        let place = (number % PAGES) as usize;
        let length = (self.length - number * PAGE).min(PAGE) as usize;
        if let (Some((kept, bytes)), Some(file)) = (self.kept.get_mut(place), &self.file)
            && *kept != number
        {
            *kept = u64::MAX;
            bytes.resize(length, 0);
            file.read_exact_at(bytes, number * PAGE).map_err(|error| failed(&self.path, error))?;
            *kept = number;
        }
        Ok(self.kept.get(place).map_or(&[], |(_, bytes)| bytes))
    }

    fn damaged(&self, what: &str) -> ReadError {
        ReadError { corrupt: true, message: format!("{}: {what}", self.path.display()) }
    }
}
