//! What can be set of a run, each with a default, as `--name value`.

use super::blocks::Chain;
use std::time::Duration;

macro_rules! knobs {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:literal),+ $(,)?) => {
        /// The knobs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Knobs {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Knobs {
            /// From arguments, two by two.
            pub fn read(args: &[String]) -> Result<Knobs, String> {
                let mut knobs = Knobs { $($name: $default),+ };
                for pair in args.chunks(2) {
                    let [name, value] = pair else { return Err(format!("{pair:?} is no knob and its value")) };
                    let number = || value.parse().map_err(|_| format!("{name} is {value:?}, not a number"));
                    match name.strip_prefix("--").map(|name| name.replace('-', "_")).as_deref() {
                        $(Some(stringify!($name)) => knobs.$name = number()?,)+
                        _ => return Err(format!("there is no knob {name}\n{}", Knobs::help())),
                    }
                }
                Ok(knobs)
            }

            /// As arguments.
            pub fn args(&self) -> Vec<String> {
                [$((stringify!($name), self.$name)),+]
                    .into_iter()
                    .flat_map(|(name, value)| [format!("--{}", name.replace('_', "-")), value.to_string()])
                    .collect()
            }

            pub fn help() -> String {
                [$((stringify!($name), $default, concat!($($doc),+))),+]
                    .map(|(name, default, what): (&str, u64, &str)| format!("  --{:<9} {what} ({default})", name.replace('_', "-")))
                    .join("\n")
            }
        }
    };
}

knobs! {
    /// what is drawn follows from it
    seed = 1,
    /// pairs of runs without and with a migration
    pairs = 32,
    /// commits of a run that are measured
    commits = 100,
    /// milliseconds from one commit's due time to the next
    every = 40,
    /// pairs that a block changes
    changes = 240,
    /// keys of the chain whose commits are measured, in thousands; two of three are there
    keys = 1500,
    /// switches of small chains
    switches = 1000,
    /// of these, in percent, how many are killed while they switch
    kills = 30,
    /// end after so many minutes; the next run with the same knobs goes on there
    minutes = 60,
}

/// Of so many pairs one goes on to the switch.
pub const SWITCHED: u64 = 3;
/// Commits of a run before the first one that is measured.
pub const WARM: u64 = 40;

impl Knobs {
    /// The chain whose commits are measured.
    pub fn chain(&self) -> Chain {
        Chain { seed: self.seed, stores: 8, keys: self.keys * 1000, genesis: 20, changes: self.changes }
    }

    pub fn pace(&self) -> Duration {
        Duration::from_millis(self.every)
    }

    /// What runs have to have in common to be of one series.
    pub fn series(&self) -> String {
        let Knobs { seed, commits, every, changes, keys, .. } = self;
        format!("{seed}-{keys}-{changes}-{every}-{commits}")
    }
}
