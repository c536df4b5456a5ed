//! Criterion questions and their answers: the questions are in `benches/`, the answers in `README.md`,
//! and here is what the questions are asked about.

pub mod cluster; // agents half used, agents wholly used
pub mod dice; // the same random numbers in every run
pub mod offers; // offers and tasks of a hundred shapes
