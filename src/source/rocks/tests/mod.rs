//! The reader held against RocksDB's own writer, in many shapes, and against planted damage.

mod damage;
mod refusals;
mod shapes;
mod speed;
mod writer;
