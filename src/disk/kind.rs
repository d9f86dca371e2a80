//! Kinds of files in words, for whoever refuses one.

use std::{fs::FileType, os::unix::fs::FileTypeExt as _};

/// A kind of file in words, with its article.
#[must_use]
pub fn kind(kind: FileType) -> &'static str {
    match () {
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_dir() => "a directory",
        () if kind.is_file() => "a file",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}
