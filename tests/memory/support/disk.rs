//! A disk in memory for the journal: it survives "crashes", can fail from a chosen write on, and can remember what was
//! written between two syncs so that crash images can be made of it.

use redb::StorageBackend;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use storeshift::target::Outage;

/// One thing done to the disk.
#[derive(Clone, Debug)]
pub enum Action {
    Write { offset: u64, data: Vec<u8> },
    Length(u64),
    Sync,
}

#[derive(Debug, Default)]
pub struct Content {
    pub bytes: Vec<u8>,
    /// Everything done so far, if it is to be remembered.
    pub actions: Option<Vec<Action>>,
}

/// A handle on a disk; clones share the content.
#[derive(Clone, Debug)]
pub struct Disk {
    content: Arc<Mutex<Content>>,
    outage: Outage,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { content: Arc::default(), outage: Outage::never() }
    }

    pub fn holding(bytes: Vec<u8>) -> Disk {
        let disk = Disk::new();
        disk.content().bytes = bytes;
        disk
    }

    /// The same disk, failing with this outage.
    pub fn with(&self, outage: &Outage) -> Disk {
        Disk { content: self.content.clone(), outage: outage.clone() }
    }

    /// Remembers everything that is done from now on.
    pub fn remember(&self) {
        self.content().actions = Some(Vec::new());
    }

    pub fn actions(&self) -> usize {
        self.content().actions.as_ref().map_or(0, Vec::len)
    }

    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    fn change(&self, action: Action) -> io::Result<()> {
        if !self.outage.lets_through() {
            return Err(io::Error::other("an outage planted by a test"));
        }
        let mut content = self.content();
        apply(&mut content.bytes, &action);
        if let Some(actions) = &mut content.actions {
            actions.push(action);
        }
        Ok(())
    }
}

/// Does to the bytes of a disk what an action says.
pub fn apply(bytes: &mut Vec<u8>, action: &Action) {
    match action {
        Action::Write { offset, data } => {
            let (from, until) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < until {
                bytes.resize(until, 0);
            }
            bytes[from..until].copy_from_slice(data);
        }
        Action::Length(length) => bytes.resize(*length as usize, 0),
        Action::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        let from = offset as usize;
        let part = content.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Action::Length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Action::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Action::Write { offset, data: data.to_vec() })
    }
}
