//! A node that is killed while it switches. The node and its judge are those of `make bench-live`, which does this a thousand times.

use super::{
    blocks::Twin,
    kill::{Kill, STAGES},
    node,
    trial::{Met, trial},
};
use std::{process::Command, time::Duration};

/// Where the node that this test starts finds its state.
const DIRECTORY: &str = "STORESHIFT_TEST_NODE";
/// When it is to kill itself.
const KILL: &str = "STORESHIFT_TEST_KILL";
const SEED: u64 = 77;

#[test]
#[ignore = "the node that the test below starts and kills"]
fn the_node() {
    let dir = std::env::var(DIRECTORY).expect("started by the test below");
    // On the line that the harness may have begun nothing is to be read.
    println!();
    let kill = std::env::var(KILL).ok().and_then(|kill| Kill::read(&kill));
    node::node(dir.as_ref(), SEED, kill, &mut std::io::stdout()).unwrap();
}

#[test]
fn a_node_killed_inside_its_switch_has_every_commit_it_has_said_once_and_comes_to_the_state_of_one_that_never_migrated()
{
    let mut twin = Twin::new(node::chain(SEED));
    for (number, stage) in STAGES.iter().chain(&STAGES).enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let command = |kill: Option<&Kill>| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["killed::the_node", "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, dir.path());
            if let Some(kill) = kill {
                command.env(KILL, kill.text());
            }
            command
        };
        // At the stage itself, then a moment after it.
        let after = Duration::from_micros(if number < STAGES.len() { 0 } else { 300 });
        let kill = Kill { stage: (*stage).to_owned(), after };
        let switched = trial(dir.path(), &command, &mut twin, Some(&kill)).unwrap();
        let expected = match *stage {
            // The journal has the switch begun, and nothing later can have happened.
            "fence" | "seal" | "record" if after.is_zero() => Met::Inside,
            "recorded" if after.is_zero() => Met::Decided,
            _ => switched.met.unwrap(),
        };
        assert_eq!(switched.met, Some(expected), "{stage}");
    }
    let dir = tempfile::tempdir().unwrap();
    let command = |_: Option<&Kill>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["killed::the_node", "--exact", "--ignored", "--nocapture"]).env(DIRECTORY, dir.path());
        command
    };
    assert_eq!(trial(dir.path(), &command, &mut twin, None).unwrap().met, None);
}
