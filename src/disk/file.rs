//! An open file, written at any place or from its beginning to its end.

use std::{
    fmt::Debug,
    io::{self, Write},
};

/// An open file. What is written survives a power cut once it was synced.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The operating system's, as for all of these.
    fn len(&self) -> io::Result<u64>;

    /// Fills `out` with what lies at this byte.
    ///
    /// # Errors
    /// The file ends before that, or the operating system's.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of this at this byte; a file that ends before it is longer then.
    ///
    /// # Errors
    /// The operating system's; any part of it may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts it off, or makes it longer by zeros.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes its content and length durable, not its name.
    ///
    /// # Errors
    /// The operating system's. Nothing is known then of what was written since the last time.
    fn sync(&self) -> io::Result<()>;

    /// Locks it for this process until it is closed; false if another one has it.
    ///
    /// # Errors
    /// The operating system's.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Writes a file from its beginning to its end.
#[derive(Debug)]
pub struct Appender {
    file: Box<dyn DiskFile>,
    written: u64,
}

impl Appender {
    /// A file that was just made.
    #[must_use]
    pub fn new(file: Box<dyn DiskFile>) -> Appender {
        Appender { file, written: 0 }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &dyn DiskFile {
        self.file.as_ref()
    }
}

impl Write for Appender {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.written, data)?;
        self.written += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
