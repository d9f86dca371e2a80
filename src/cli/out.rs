//! What is printed, where somebody may have stopped listening.
//!
//! `println!` and `eprintln!` of the standard library panic where a reader has gone (`storeshift journal | head`, or a `tee` that took
//! the Ctrl-C first), a log's disk is full or a terminal is closed. That is no reason to end a migration in the middle, and the exit
//! code would be none of ours. So `cli` has macros of these names that come here and go on.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether something for standard output is lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// A line on standard output.
pub fn line(text: Arguments<'_>) {
    note(writeln!(io::stdout().lock(), "{text}"));
}

/// A line on standard error. If it is lost there is nobody to tell.
pub fn error_line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether something for standard output is lost, and not because its reader had enough.
pub fn is_lost() -> bool {
    note(io::stdout().lock().flush());
    LOST.load(Ordering::Relaxed)
}

fn note(written: io::Result<()>) {
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}
