//! The machine, and models of the driver around it and of the chain beside it, explored exhaustively on a small scale.

mod beside;
mod driver;
mod states;
mod switchers;
