//! The file `app_hashes` beside changeset files: what each version has to come to.
//!
//! Text, a line for each version: `<version> <app hash, 64 hex digits>`, and for each store that the version begins `+<name>`,
//! for each that it drops `-<name>`. Empty lines and what follows a `#` are left out.

use crate::model::{Hash, StoreKey, Version};
use std::collections::BTreeMap;

/// Stores that begin or end with a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades {
    /// Stores that are there from this version on; they begin empty.
    pub begun: Vec<StoreKey>,
    /// Stores that are gone.
    pub dropped: Vec<StoreKey>,
}

impl Upgrades {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.dropped.is_empty()
    }
}

/// Reads the file's text.
///
/// # Errors
/// The first line that is wrong, and how.
pub fn parse(text: &str) -> Result<BTreeMap<Version, (Hash, Upgrades)>, String> {
    let mut versions = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(version) = words.next() else { continue };
        let wrong = |what: &str| format!("line {number}: {what}");
        let version = version.parse().ok().filter(|version| (1..=Version::MAX.0).contains(version));
        let version = Version(version.ok_or_else(|| wrong("does not begin with a version"))?);
        let hash = words.next().ok_or_else(|| wrong("has no app hash"))?;
        let hash: Hash = hash.parse().map_err(|error| wrong(&format!("app hash: {error}")))?;
        let mut upgrades = Upgrades::default();
        for word in words {
            match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) if !name.is_empty() => upgrades.begun.push(StoreKey::from(name)),
                (_, Some(name)) if !name.is_empty() => upgrades.dropped.push(StoreKey::from(name)),
                _ => return Err(wrong(&format!("{word:?} is neither +store nor -store"))),
            }
        }
        if versions.insert(version, (hash, upgrades)).is_some() {
            return Err(wrong(&format!("version {version} is there twice")));
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_upgrades_comments_and_gaps_are_read_and_each_kind_of_nonsense_is_named() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let read = parse(&format!("# chain\n\n7 {a}\n8 {b} +new -old # upgrade\n")).unwrap();
        assert_eq!(read.len(), 2);
        let (hash, upgrades) = &read[&Version(8)];
        assert_eq!(hash.to_string(), b);
        assert_eq!((upgrades.begun[0].as_str(), upgrades.dropped[0].as_str()), ("new", "old"));
        assert!(read[&Version(7)].1.is_empty());
        for (text, word) in [
            (format!("x {a}"), "line 1: does not begin with a version"),
            (format!("0 {a}"), "version"),
            ("7".to_owned(), "no app hash"),
            ("7 ab".to_owned(), "app hash:"),
            (format!("7 {a} new"), "neither +store nor -store"),
            (format!("7 {a} +"), "neither"),
            (format!("7 {a}\n7 {a}"), "line 2: version 7 is there twice"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
