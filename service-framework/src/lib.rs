//! Shell of the service framework: sockets, store and the link to the master, around the core that decides.
//!
//! ```text
//!   /v2 ──http──▶ input ──▶ event loop (core) ──▶ action ──hands──▶ master
//!    ▲                          ▲     │
//!    └── view ◀─────────────────┼─────┘
//!                    master ──link
//! ```
//! It knows no other daemon than the master, and that one through the public SDK alone. Start with [`run`], then
//! `http.rs` for what comes in and `hands.rs` for what goes out.

mod access; // who may what
mod audit; // who changed what
pub mod backup; // all that is known, in one file, and back
mod config; // what the operator may say
mod run; // store, recover, loop, link, server

mod hands; // actions → calls to the master, questions to instances, events to subscribers
mod link; // events of the master → inputs
mod log; // what happens, as lines of the log
mod offers; // what is on the table between an offer and its answer
mod probes; // questions to instances, and their answers
mod reserved; // the question what is reserved for us
mod secrets; // kept elsewhere, fetched when an instance is launched
mod why; // what the master says of apps that wait

mod http; // /v2
mod metrics; // what is, as numbers

pub use access::AccessError;
pub use audit::AuditError;
pub use config::Options;
pub use probes::NoClient;
pub use run::{RunError, run, run_on};
