//! The judge is RocksDB itself, with the options the engines use, and an older release's tools.

mod damage;
mod filters;
mod model;
mod older;
mod scratch;
mod sizes;
mod speed;
