//! The seal of small JSON files beside the journal: a digest of the file's own bytes, so that no damage makes an order of another
//! one. A file without it, as one written by hand has none, is taken as it is.

/// What stands for the digest while it is taken.
pub(super) const BLANK: &str = "0000000000000000";

/// The text with its seal, where it has [`BLANK`].
pub(super) fn sealed(text: Vec<u8>) -> Vec<u8> {
    let digest = digest(&text);
    replace(text, BLANK, &digest)
}

/// Whether a text that says that this is its seal has it.
pub(super) fn holds(text: &[u8], seal: &str) -> bool {
    seal.len() == BLANK.len() && digest(&replace(text.to_vec(), seal, BLANK)) == seal
}

/// The last of these words replaced by another of the same length; the seal stands last.
fn replace(mut text: Vec<u8>, word: &str, by: &str) -> Vec<u8> {
    let at = text.windows(word.len().max(1)).rposition(|found| found == word.as_bytes());
    if let Some(part) = at.and_then(|at| text.get_mut(at..at + by.len())) {
        part.copy_from_slice(by.as_bytes());
    }
    text
}

fn digest(text: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("storeshift 2026 file beside the journal");
    hasher.update(text);
    let mut digest = [0; BLANK.len() / 2];
    hasher.finalize_xof().fill(&mut digest);
    crate::model::to_hex(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_the_bytes_it_was_made_of_and_no_others() {
        let text = format!("{{\"a\": 1, \"seal\": \"{BLANK}\"}}");
        let text = sealed(text.into_bytes());
        let seal = std::str::from_utf8(&text[text.len() - 18..text.len() - 2]).unwrap().to_owned();
        assert!(holds(&text, &seal) && seal != BLANK);
        for bit in 0..8 * (text.len() - 18) {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&flipped, &seal), "bit {bit}");
        }
        assert!(!holds(&text, "") && !holds(&text, BLANK) && !holds(&text, "0011223344556677"));
    }
}
