//! Tests of the growing tree: parity with Go, contents and invariants, damaged records, speed.

mod damage;
pub(in crate::iavl) mod histories;
pub(in crate::iavl) mod model;
mod parity;
mod speed;
