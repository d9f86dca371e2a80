//! The switch beside a chain that commits: the right one keeps every rule in every world, and each of the wrong ones is found out.

use super::beside::explore;

/// Which switch is modelled, or what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Switcher {
    Right,
    /// Records the switch behind a gate that is closed, and may be opened by a commit.
    NoSeal,
    /// Seals, and does not look whether the gate was still closed.
    SealNotAsked,
    /// Fences the chain where it was last seen, and not where it stands.
    FencesWhereSeen,
    /// Opens the gate before the layout is replaced.
    OpensFirst,
    /// Replaces the layout before the journal says so.
    ReplacesFirst,
    /// Takes a switch whose record failed for recorded.
    FailureIsWritten,
    /// Takes it for not recorded, and goes on with the target.
    FailureIsUnwritten,
    /// Refuses commits where it is not known.
    BreaksOffInDoubt,
    /// Leaves the gate sealed after a failure.
    LeavesSealed,
    /// Leaves it as it was when the job's thread dies.
    PanicLeavesClosed,
    /// Leaves it closed after the switch.
    StaysClosed,
    /// Has commits wait as long as the gate is closed.
    NoTimeout,
    /// Holds nothing when the store is opened.
    ForgetsHolds,
    /// Lets go of what is held when the switch begins.
    ReleasesEarly,
    /// Lets go of it between two attempts.
    ReleasesBetween,
    /// Lets go of it when the node shuts down, and prunes once more.
    ReleasesOnShutdown,
    /// Goes by the journal alone when the store is opened.
    TrustsJournal,
    /// Goes on with store/v1 as long as it is there.
    PrefersV1,
}

#[test]
fn the_switch_beside_a_chain_keeps_every_rule_in_every_world_it_can_get_into() {
    let worlds = explore(Switcher::Right).unwrap();
    println!("{worlds} worlds");
    assert!(worlds > 10_000, "{worlds}");
}

fn assert_found(switcher: Switcher, words: &str) {
    let broken = explore(switcher).expect_err("a switch that breaks a rule was not found out");
    println!("{switcher:?}: {broken}");
    assert!(broken.contains(words), "{switcher:?} was found out for another reason: {broken}");
}

#[test]
fn the_gate_has_to_be_sealed_or_a_commit_comes_between_the_record_and_the_layout() {
    assert_found(Switcher::NoSeal, "that is lost");
}

#[test]
fn who_seals_has_to_look_whether_a_commit_has_opened_the_gate() {
    assert_found(Switcher::SealNotAsked, "that is lost");
}

#[test]
fn the_chain_is_fenced_where_it_stands_and_not_where_it_was_seen() {
    assert_found(Switcher::FencesWhereSeen, "that is lost");
}

#[test]
fn the_gate_is_opened_after_the_layout_is_replaced_and_not_before() {
    assert_found(Switcher::OpensFirst, "would go back");
}

#[test]
fn the_layout_is_replaced_after_it_is_recorded_and_not_before() {
    assert_found(Switcher::ReplacesFirst, "is lost");
}

#[test]
fn a_switch_whose_record_failed_is_not_gone_on_with() {
    assert_found(Switcher::FailureIsWritten, "is of record");
}

#[test]
fn nor_is_its_target_until_the_journal_was_read_again() {
    assert_found(Switcher::FailureIsUnwritten, "both stores went on");
}

#[test]
fn the_chain_goes_on_where_it_is_not_known_whether_it_was_switched() {
    assert_found(Switcher::BreaksOffInDoubt, "a commit is refused");
}

#[test]
fn the_gate_is_opened_after_every_failure() {
    assert_found(Switcher::LeavesSealed, "waits for ever");
}

#[test]
fn a_panic_opens_the_gate() {
    assert_found(Switcher::PanicLeavesClosed, "waits for ever");
}

#[test]
fn so_does_the_switch() {
    assert_found(Switcher::StaysClosed, "waits for ever");
}

#[test]
fn a_commit_opens_the_gate_of_a_migration_that_stalls() {
    assert_found(Switcher::NoTimeout, "a migration that stalls");
}

#[test]
fn what_a_job_needs_is_held_as_soon_as_the_store_is_opened() {
    assert_found(Switcher::ForgetsHolds, "was pruned");
}

#[test]
fn it_is_held_until_the_switch_is_made() {
    assert_found(Switcher::ReleasesEarly, "was pruned");
}

#[test]
fn it_is_held_between_two_attempts() {
    assert_found(Switcher::ReleasesBetween, "was pruned");
}

#[test]
fn it_is_held_while_the_node_shuts_down() {
    assert_found(Switcher::ReleasesOnShutdown, "was pruned");
}

#[test]
fn which_store_is_of_record_the_journal_does_not_know_alone() {
    assert_found(Switcher::TrustsJournal, "is lost");
}

#[test]
fn nor_does_it_follow_from_store_v1_being_there() {
    assert_found(Switcher::PrefersV1, "is lost");
}
