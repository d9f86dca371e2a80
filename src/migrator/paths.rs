//! Where source, target and what else a plan names really are, and that none of what is written lies in the source.

use crate::{error::Error, plan::Paths};
use std::path::{Path, PathBuf};

/// The paths as they really are, kept apart.
pub(super) fn resolved(paths: &Paths) -> Result<Paths, Error> {
    let paths = Paths {
        source: resolve(&paths.source),
        target: resolve(&paths.target),
        changesets: paths.changesets.as_deref().map(resolve),
        checkpoint: paths.checkpoint.as_deref().map(resolve),
    };
    keep_apart(&paths)?;
    Ok(paths)
}

/// Refuses a target inside the source or the other way round: the source is never written.
fn keep_apart(paths: &Paths) -> Result<(), Error> {
    if let Some(checkpoint) = paths.checkpoint.as_ref().filter(|checkpoint| checkpoint.starts_with(&paths.source)) {
        return Err(Error::Blocked {
            what: format!("the checkpoint's directory {} lies inside the source", checkpoint.display()),
            advice: "Nothing was changed. The source is never written: choose a directory beside it.".to_owned(),
        });
    }
    let read = [("source", Some(&paths.source)), ("changesets", paths.changesets.as_ref())];
    for (name, path) in read.into_iter().filter_map(|(name, path)| Some((name, path?))) {
        if !paths.target.starts_with(path) && !path.starts_with(&paths.target) {
            continue;
        }
        return Err(Error::Blocked {
            what: format!(
                "the target {} and the {name} {} lie inside each other",
                paths.target.display(),
                path.display()
            ),
            advice: "Nothing was changed. The source is never written: choose a target directory elsewhere.".to_owned(),
        });
    }
    Ok(())
}

/// The path with symbolic links followed as far as it exists.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return rest.iter().rev().fold(found, |path: PathBuf, name| path.join(name));
        }
        rest.extend(ancestor.file_name().map(std::ffi::OsStr::to_owned));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_written_may_lie_in_what_is_read_whatever_links_lead_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("source")).unwrap();
        std::os::unix::fs::symlink(at("source"), at("link")).unwrap();
        let paths = |target: &str, checkpoint: Option<&str>, changesets: Option<&str>| Paths {
            source: at("source"),
            target: at(target),
            changesets: changesets.map(at),
            checkpoint: checkpoint.map(at),
        };
        for (given, words) in [
            (paths("target", Some("source/checkpoint"), None), "lies inside the source"),
            (paths("target", Some("link/checkpoint"), None), "lies inside the source"),
            (paths("source/target", None, None), "lie inside each other"),
            (paths("link/a/b", None, None), "lie inside each other"),
            (paths("", None, None), "lie inside each other"),
            (paths("files/target", None, Some("files")), "the changesets"),
        ] {
            let error = resolved(&given).unwrap_err();
            assert!(matches!(&error, Error::Blocked { what, .. } if what.contains(words)), "{given:?}: {error}");
        }
        let apart = resolved(&paths("target", Some("checkpoint"), Some("files"))).unwrap();
        assert_eq!(apart.source, at("source").canonicalize().unwrap());
        assert_eq!(resolve(&at("link/none/such")), apart.source.join("none/such"));
    }
}
