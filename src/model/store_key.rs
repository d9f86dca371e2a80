//! Store keys: the names of module stores, and which of them can stand side by side in the store/v2 layout.

use std::{fmt, sync::Arc};

/// The name of one module's store, e.g. `bank`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(Arc<str>);

impl StoreKey {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StoreKey {
    fn from(name: &str) -> StoreKey {
        StoreKey(name.into())
    }
}

impl From<String> for StoreKey {
    fn from(name: String) -> StoreKey {
        StoreKey(name.into())
    }
}

impl From<StoreKey> for String {
    fn from(key: StoreKey) -> String {
        key.0.as_ref().to_owned()
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a set of store names cannot be laid out in store/v2. Nothing has been written when this is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreKeyError {
    /// The name is empty.
    #[error("a store has an empty name")]
    Empty,
    /// The name is longer than any real chain uses and than file formats here allow.
    #[error("the store name {0:?} is longer than 128 bytes")]
    TooLong(String),
    /// A character that cannot be told apart from a separator, or cannot be printed.
    #[error(
        "the store name {name:?} contains {character:?}: only printable ASCII without '/' can be laid out unambiguously"
    )]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// store/v2 keeps such stores in memory and drops them.
    #[error("the store name {0:?} begins with \"memory:\", and store/v2 would keep that store in memory only")]
    Memory(String),
    /// One name is another plus a letter that opens an IAVL record, so their key ranges overlap in store/v2.
    #[error(
        "the store names {shorter:?} and {longer:?} are ambiguous in store/v2: it puts bare names before IAVL records, \
         which begin with one of the letters s f m n o r, so records of {longer:?} would look like records of {shorter:?}"
    )]
    Ambiguous {
        /// The name that is a prefix.
        shorter: String,
        /// The name that is the prefix plus one of those letters and anything.
        longer: String,
    },
    /// The same name twice.
    #[error("the store name {0:?} appears twice in one commit info")]
    Twice(String),
}

/// Checks that the stores can be laid out side by side in store/v2, whose keys are `<name>` ‖ IAVL key without a
/// separator (store/v2 `commitment`; IAVL keys begin with `s`, `f`, `m`, `n`, `o` or `r`).
///
/// # Errors
/// The first name, or pair of names, that cannot.
pub fn check_store_keys(names: &[StoreKey]) -> Result<(), StoreKeyError> {
    let mut sorted: Vec<&str> = names.iter().map(StoreKey::as_str).collect();
    sorted.sort_unstable();
    for name in &sorted {
        check_name(name)?;
    }
    for (index, shorter) in sorted.iter().enumerate() {
        // Names with a common prefix are neighbours in sorted order.
        for longer in sorted.iter().skip(index + 1).take_while(|name| name.starts_with(shorter)) {
            match longer.as_bytes().get(shorter.len()) {
                None => return Err(StoreKeyError::Twice((*longer).to_owned())),
                Some(b's' | b'f' | b'm' | b'n' | b'o' | b'r') => {
                    return Err(StoreKeyError::Ambiguous {
                        shorter: (*shorter).to_owned(),
                        longer: (*longer).to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), StoreKeyError> {
    if name.is_empty() {
        return Err(StoreKeyError::Empty);
    }
    if name.len() > 128 {
        return Err(StoreKeyError::TooLong(name.to_owned()));
    }
    if name.starts_with("memory:") {
        return Err(StoreKeyError::Memory(name.to_owned()));
    }
    if let Some(character) = name.chars().find(|c| !c.is_ascii_graphic() || *c == '/') {
        return Err(StoreKeyError::Character { name: name.to_owned(), character });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str]) -> Result<(), StoreKeyError> {
        check_store_keys(&names.iter().map(|n| StoreKey::from(*n)).collect::<Vec<_>>())
    }

    #[test]
    fn ordinary_names_pass_and_prefixes_before_other_letters_do_too() {
        assert_eq!(check(&["bank", "acc", "ibc", "icahost", "a", "ab", "banka"]), Ok(()));
    }

    #[test]
    fn a_name_that_is_another_plus_a_record_letter_is_ambiguous() {
        for letter in ["s", "f", "m", "n", "o", "r"] {
            let longer = format!("bank{letter}x");
            assert_eq!(
                check(&["bank", "bankb", &longer]),
                Err(StoreKeyError::Ambiguous { shorter: "bank".into(), longer: longer.clone() })
            );
        }
    }

    #[test]
    fn hostile_names_are_refused_each_for_its_reason() {
        assert_eq!(check(&[""]), Err(StoreKeyError::Empty));
        assert_eq!(check(&["a/b"]), Err(StoreKeyError::Character { name: "a/b".into(), character: '/' }));
        assert_eq!(check(&["a\0"]), Err(StoreKeyError::Character { name: "a\0".into(), character: '\0' }));
        assert_eq!(check(&["memory:x"]), Err(StoreKeyError::Memory("memory:x".into())));
        assert_eq!(check(&["a", "a"]), Err(StoreKeyError::Twice("a".into())));
        assert_eq!(check(&[&"a".repeat(129)]), Err(StoreKeyError::TooLong("a".repeat(129))));
    }
}
