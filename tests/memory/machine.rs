//! The machine, and a model of the driver around it, explored exhaustively on a small scale.

mod driver;
mod states;
