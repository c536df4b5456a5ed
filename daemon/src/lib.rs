//! What every daemon is made of: the event loop around a machine, the store, configuration, authentication, the
//! server, telemetry. It decides nothing and knows no machine, no daemon and no wire format.
//!
//! Start with [`event_loop`]; then [`config`] and [`server`], which every daemon's `run` uses.

pub mod aside; // work that may take its time, by threads that give way
pub mod clock; // the one place where time is read
pub mod event_loop; // batch, step, commit, act, answer
mod handle; // tell, ask, read: reached through `event_loop`
pub mod store; // trait: load, commit a batch; in memory, in one file

mod chain; // an error with its causes, in one line
pub mod config; // flags over environment over file over default, all faults together
pub mod descriptors; // how many files may be open
pub mod directory; // where a daemon keeps what it has, made when it is not there
pub mod exit; // the exit codes
pub mod shutdown; // SIGTERM and SIGINT
pub mod telemetry; // logs on stderr

pub mod auth; // bearer token; nobody is reachable without one by accident
pub mod host; // what the machine is called
pub mod http_client; // how HTTP clients begin, TLS included
pub mod http_error; // the one shape of an HTTP error
pub mod mesos_http; // habits of Mesos' HTTP servers
pub mod metrics; // /metrics and /health
pub mod recent; // how long something took, the last times
pub mod server; // gRPC and HTTP on one port

pub use chain::{chain, innermost};
