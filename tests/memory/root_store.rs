//! A root store on each layout, in memory: against a model, crashed at every write, with engines that lost what they had.

mod crash;
mod gate;
pub mod model;
mod pruning;
mod warm;
pub mod worlds;
