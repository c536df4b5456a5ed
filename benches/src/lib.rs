//! Criterion questions and their answers: the questions are in `benches/`, the answers in `README.md`,
//! and here is what the questions are asked about.

pub mod answers; // percentiles, and the machine they were found on
pub mod cluster; // agents and frameworks by number; half used, wholly used
pub mod cpu; // a measure for criterion: the thread's CPU time
pub mod daemon; // a daemon as a process that is measured
pub mod dice; // the same random numbers in every run
pub mod fleet; // nodes of several kinds in the midst of their work
pub mod interruption; // SIGINT and SIGTERM to programs that have started others
pub mod mesos; // the clusters on which Mesos was measured
pub mod offers; // offers and tasks of a hundred shapes
pub mod process; // memory and CPU time of a process
pub mod questions; // what is asked of a binary, and the answers
