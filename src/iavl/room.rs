//! Owns the one way in which a buffer of nodes' slots gets larger. Hands it back empty.

/// Empties a buffer and makes room for so many, if there is any. Slots are aligned, and aligned memory grows by being copied with all
/// that is not used of it, which only then takes memory; and both copies are there meanwhile. So the old one goes first.
pub(super) fn make_room<T>(slots: &mut Vec<T>, most: usize) {
    slots.clear();
    if slots.capacity() < most {
        *slots = Vec::new();
        // Where it is refused the buffer grows as it is filled.
        let _ = slots.try_reserve_exact(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_and_large_enough_and_stays_where_it_is_if_it_was() {
        let mut slots = vec![7u64; 10];
        make_room(&mut slots, 1000);
        assert!(slots.is_empty() && slots.capacity() >= 1000);
        let place = slots.as_ptr();
        slots.push(7);
        make_room(&mut slots, 10);
        assert!(slots.is_empty() && slots.capacity() >= 1000 && slots.as_ptr() == place);
    }

    #[test]
    fn more_than_there_can_be_is_no_panic() {
        let mut slots = vec![7u64; 10];
        make_room(&mut slots, usize::MAX);
        assert!(slots.is_empty());
    }
}
