//! Tests of the whole reader on databases made by hand ([`writer`]) and by goleveldb
//! ([`parity`]).

mod cursor;
mod damage;
mod directory;
mod hostile;
mod logs;
mod parity;
mod writer;
