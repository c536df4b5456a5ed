//! Followers of the healthy-task list: `mete haproxy-sync` keeps an HAProxy in step with it. It decides nothing about
//! tasks: what is not in the list gets no traffic, and what a proxy has in effect is told back.
//!
//! ```text
//! GET /v2/backends?watch=true ──watch──► list ──sync──► haproxy (file + reload, or runtime commands)
//! PUT /v2/backends/acks/{proxyId} ◄──acks── what was read back from haproxy
//! ```
//! Start with [`config::Options`] and [`run()`], then `sync`, which holds the two against each other.

mod acks; // what is in effect, told back
pub mod config; // the options
pub mod haproxy; // everything that talks to haproxy
pub mod metrics;
mod run; // the daemon: its tasks and its port
mod sync; // list × haproxy → in step
pub mod watch; // the list, as it comes // what is counted; `/state`

pub use config::Options;
pub use run::{RunError, run};
pub use sync::{LaunchError, Unusable};
