//! ICS-23 proofs: what is there and what is not there proves up to the app hash, to the `ics23` crate, which shares nothing with
//! storeshift; and nothing else does.

mod damage;
mod histories;
pub(crate) mod judge;
mod stores;
