//! Proving and cutting trees: nothing that does not prove is handed on, and however a tree is cut, the same nodes come
//! out.

mod cutting;
mod damage;
mod sweep;
pub mod tree;
