//! A disk that does everything really, in a directory of its own, and remembers it.

use super::log::{DirectoryId, FileId, Node, Op};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};
use storeshift::{
    disk::{Disk, DiskFile, Making, Real},
    journal::Lock,
};

/// A directory where files cost no disk, unless somebody asks for another one.
pub fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let is_asked_for = std::env::var_os("TMPDIR").is_some();
    if memory.is_dir() && !is_asked_for { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Files and directories by name, with what they hold.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub directories: Vec<BTreeMap<String, Node>>,
    pub files: Vec<Vec<u8>>,
}

impl Tree {
    /// An empty directory.
    pub fn empty() -> Tree {
        Tree { directories: vec![BTreeMap::new()], files: Vec::new() }
    }

    /// The tree that is in a directory; directory 0 is that one.
    pub fn read(path: &Path) -> Tree {
        let mut tree = Tree::default();
        tree.add(path);
        tree
    }

    fn add(&mut self, path: &Path) -> DirectoryId {
        let id = self.directories.len();
        self.directories.push(BTreeMap::new());
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let node = if entry.path().is_dir() {
                Node::Directory(self.add(&entry.path()))
            } else {
                self.files.push(fs::read(entry.path()).unwrap());
                Node::File(self.files.len() - 1)
            };
            self.directories[id].insert(name, node);
        }
        id
    }

    /// Makes it what a directory holds, and all of it.
    pub fn put(&self, path: &Path) {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        fs::create_dir(path).unwrap();
        self.write_directory(0, path, &mut BTreeMap::new());
    }

    fn write_directory(&self, id: DirectoryId, path: &Path, placed: &mut BTreeMap<FileId, PathBuf>) {
        for (name, node) in &self.directories[id] {
            let path = path.join(name);
            match node {
                Node::File(file) => match placed.get(file) {
                    Some(first) => fs::hard_link(first, &path).unwrap(),
                    None => {
                        fs::write(&path, &self.files[*file]).unwrap();
                        placed.insert(*file, path);
                    }
                },
                Node::Directory(below) => {
                    fs::create_dir(&path).unwrap();
                    self.write_directory(*below, &path, placed);
                }
            }
        }
    }

    /// What a path stands for.
    pub fn find(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Directory(0);
        for part in path.components() {
            let Component::Normal(name) = part else { panic!("{}", path.display()) };
            let Node::Directory(id) = node else { return None };
            node = *self.directories[id].get(name.to_str().unwrap())?;
        }
        Some(node)
    }

    fn directory(&self, path: &Path) -> DirectoryId {
        match self.find(path) {
            Some(Node::Directory(id)) => id,
            found => panic!("{}: {found:?}", path.display()),
        }
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Name { directory, name, to } => {
                match to {
                    Some(node) => self.directories[*directory].insert(name.clone(), *node),
                    None => self.directories[*directory].remove(name),
                };
            }
            Op::Rename { directory, from, to, node } => {
                self.directories[*directory].remove(from);
                self.directories[*directory].insert(to.clone(), *node);
            }
            Op::Write { file, offset, data } => {
                let (from, until) = (*offset as usize, *offset as usize + data.len());
                let bytes = &mut self.files[*file];
                if bytes.len() < until {
                    bytes.resize(until, 0);
                }
                bytes[from..until].copy_from_slice(data);
            }
            Op::Length { file, length } => self.files[*file].resize(*length as usize, 0),
            Op::SyncFile(_) | Op::SyncDirectory(_) | Op::Engine { .. } | Op::Told(_) => {}
        }
    }
}

#[derive(Default)]
struct Memory {
    tree: Tree,
    ops: Vec<Op>,
}

/// A recording of what happens under one directory. Clones share it.
#[derive(Clone)]
pub struct Recorder {
    root: PathBuf,
    memory: Arc<Mutex<Memory>>,
    grown: Arc<Condvar>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a recording of {}", self.root.display())
    }
}

impl Recorder {
    /// Begins one; what is there is durable.
    pub fn new(root: &Path) -> Recorder {
        let memory = Memory { tree: Tree::read(root), ops: Vec::new() };
        Recorder { root: root.to_owned(), memory: Arc::new(Mutex::new(memory)), grown: Arc::default() }
    }

    /// Notes something that is no operation on this disk, at this place among them.
    pub fn note(&self, op: Op) {
        self.memory().ops.push(op);
        self.grown.notify_all();
    }

    /// Waits until so many operations were done, or it is over.
    pub fn wait(&self, operations: usize, is_over: &dyn Fn() -> bool) {
        let mut memory = self.memory();
        while memory.ops.len() < operations {
            // That it is over, nobody tells.
            memory = self.grown.wait_timeout(memory, Duration::from_millis(5)).unwrap().0;
            if is_over() {
                return;
            }
        }
    }

    /// What was done so far.
    pub fn ops(&self) -> Vec<Op> {
        self.memory().ops.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    fn within<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap()
    }

    /// Does something while nobody else does, and remembers what it was if it came about.
    fn doing<T>(&self, act: impl FnOnce() -> io::Result<T>, ops: impl FnOnce(&mut Tree) -> Vec<Op>) -> io::Result<T> {
        let mut memory = self.memory();
        let done = act()?;
        let ops = ops(&mut memory.tree);
        ops.iter().for_each(|op| memory.tree.apply(op));
        memory.ops.extend(ops);
        self.grown.notify_all();
        Ok(done)
    }

    fn name(&self, tree: &Tree, path: &Path, to: Option<Node>) -> Op {
        let path = self.within(path);
        let directory = tree.directory(path.parent().unwrap());
        Op::Name { directory, name: path.file_name().unwrap().to_str().unwrap().to_owned(), to }
    }
}

impl Disk for Recorder {
    fn make(&self, path: &Path, making: Making) -> io::Result<Box<dyn DiskFile>> {
        let mut id = 0;
        let file = self.doing(
            || Real.make(path, making),
            |tree| {
                let before = tree.find(self.within(path)).map(|_| self.name(tree, path, None));
                tree.files.push(Vec::new());
                id = tree.files.len() - 1;
                before.into_iter().chain([self.name(tree, path, Some(Node::File(id)))]).collect()
            },
        )?;
        Ok(Box::new(Recorded { file, id, recorder: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = Real.open(path)?;
        let Some(Node::File(id)) = self.memory().tree.find(self.within(path)) else { panic!("{}", path.display()) };
        Ok(Box::new(Recorded { file, id, recorder: self.clone() }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.doing(
            || Real.make_directory(path),
            |tree| {
                tree.directories.push(BTreeMap::new());
                let id = tree.directories.len() - 1;
                vec![self.name(tree, path, Some(Node::Directory(id)))]
            },
        )
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.doing(
            || Real.link(from, to),
            |tree| {
                let known = from.strip_prefix(&self.root).ok().and_then(|from| tree.find(from));
                // What is linked from elsewhere is another's, and durable.
                let node = known.unwrap_or_else(|| {
                    tree.files.push(fs::read(from).unwrap());
                    Node::File(tree.files.len() - 1)
                });
                let whole = match (known, node) {
                    (None, Node::File(file)) => vec![
                        Op::Write { file, offset: 0, data: tree.files[file].as_slice().into() },
                        Op::SyncFile(file),
                    ],
                    _ => Vec::new(),
                };
                whole.into_iter().chain([self.name(tree, to, Some(node))]).collect()
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        assert_eq!(from.parent(), to.parent(), "names move within their directory only");
        self.doing(
            || Real.rename(from, to),
            |tree| {
                let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
                let node = tree.find(self.within(from)).unwrap();
                let directory = tree.directory(self.within(from).parent().unwrap());
                vec![Op::Rename { directory, from: name(from), to: name(to), node }]
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name == "lock") && path.exists() {
            assert!(Lock::is_taken(path.parent().unwrap()), "who removes a lock must have it: it may be another one's");
        }
        self.doing(|| Real.remove(path), |tree| vec![self.name(tree, path, None)])
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.doing(|| Real.remove_directory(path), |tree| vec![self.name(tree, path, None)])
    }

    /// Name by name, so that it can be cut off in between.
    fn remove_all(&self, path: &Path) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.remove_all(&entry.path())?;
            } else {
                self.remove(&entry.path())?;
            }
        }
        self.remove_directory(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.doing(
            || fs::symlink_metadata(path),
            |tree| match tree.find(self.within(path)) {
                Some(Node::File(id)) => vec![Op::SyncFile(id)],
                Some(Node::Directory(id)) => vec![Op::SyncDirectory(id)],
                None => panic!("{} is synced, and nobody made it", path.display()),
            },
        )?;
        Ok(())
    }
}

#[derive(Debug)]
struct Recorded {
    file: Box<dyn DiskFile>,
    id: FileId,
    recorder: Recorder,
}

impl DiskFile for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let act = || self.file.write_at(offset, data);
        self.recorder.doing(act, |_| vec![Op::Write { file: self.id, offset, data: data.into() }])
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.recorder.doing(|| self.file.set_len(length), |_| vec![Op::Length { file: self.id, length }])
    }

    fn sync(&self) -> io::Result<()> {
        // Nothing has to survive a real power cut here.
        self.recorder.doing(|| Ok(()), |_| vec![Op::SyncFile(self.id)])
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
