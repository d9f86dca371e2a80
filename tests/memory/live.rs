//! A node whose state migrates itself, with its databases in memory: whatever happens to the migration, commits go on.

#[path = "../live/chain.rs"]
#[allow(dead_code)]
mod chain;
mod faults;
mod places;

use crate::existence::judge;
