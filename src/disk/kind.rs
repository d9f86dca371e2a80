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

#[cfg(test)]
mod tests {
    use super::kind;
    use std::{fs, os::unix::fs::symlink, os::unix::net::UnixListener, path::Path};

    #[test]
    fn every_kind_of_file_is_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink(at("file"), at("link")).unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        let of = |path: &Path| kind(fs::symlink_metadata(path).unwrap().file_type());
        assert_eq!(of(dir.path()), "a directory");
        assert_eq!([of(&at("file")), of(&at("link")), of(&at("socket"))], ["a file", "a symbolic link", "a socket"]);
        assert_eq!(of(Path::new("/dev/null")), "a device");
    }
}
