//! The parts of a daemon against real files, real sockets and a real loop.

#![expect(
    clippy::unwrap_used,
    reason = "in helpers of tests too, a failure is a panic"
)]

mod auth_and_server; // token, port, panics, the end
mod configuration; // precedence, unknown keys, all faults together
mod event_loop; // store before act before answer
mod patience;
mod redb_store; // what survives
