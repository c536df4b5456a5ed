//! Waiting tasks × offers: what runs where, and why not elsewhere.
//!
//! The same algorithms the allocator packs with, for the framework's side of the table.

pub use mete_placement::matcher::*;
