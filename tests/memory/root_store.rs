//! A root store on each layout, in memory: against a model, crashed at every write, with engines that lost what they had.

pub mod blocks;
mod crash;
mod gate;
mod model;
mod pruning;
mod warm;
pub mod worlds;
