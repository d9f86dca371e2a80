//! When a migration yields to the chain whose state it moves.

use super::PlanError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// When to yield to a node on the same machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Yielding {
    /// Never.
    Off,
    /// Beside a node, by what can be measured. What cannot be is shown and holds nothing up: many containers do not show the
    /// pressure of their machine, and nobody asked for a migration there to creep.
    #[default]
    Auto,
    /// Always, and what cannot be measured counts as pressure.
    Strict,
}

impl fmt::Display for Yielding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Yielding::Off => "off",
            Yielding::Auto => "auto",
            Yielding::Strict => "strict",
        })
    }
}

impl FromStr for Yielding {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Yielding, PlanError> {
        match text {
            "off" => Ok(Yielding::Off),
            "auto" => Ok(Yielding::Auto),
            "strict" => Ok(Yielding::Strict),
            _ => Err(PlanError::Value(format!("yield is {text:?}, it must be off, auto or strict"))),
        }
    }
}
