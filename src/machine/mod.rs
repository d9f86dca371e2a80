//! The phase machine: what a migration's state is, what to do next, and what a fact changes.
//!
//! Two total, pure functions: [`State::next`] says which [`Step`] a state implies, [`State::apply`] folds an [`Event`]
//! into the next state or refuses it. No clock, no input or output, no memory of its own: a first start, a start after
//! Ctrl-C and a start after a power cut differ only in the state they are entered at.
//!
//! Hands steps to the phases, takes events from them; the driver makes both durable.

mod apply;
mod event;
pub mod invariants;
mod state;
mod step;

pub use event::{Cause, Event, Refusal, Verified};
pub use state::{Fence, Phase, Rank, State};
pub use step::Step;

#[cfg(test)]
mod tests;
