//! Tests of the whole reader on databases made by hand ([`writer`]), and of filters on one made by goleveldb. Parity with
//! goleveldb's own reading is in `tests/interop`, which needs Go.

mod cursor;
mod damage;
mod directory;
mod filters;
mod hostile;
mod logs;
pub(in crate::source) mod writer;
