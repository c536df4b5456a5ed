//! What every daemon is made of: the event loop around a machine, the store, configuration, authentication, the
//! server, telemetry. It decides nothing and knows no machine, no daemon and no wire format.
//!
//! Start with [`event_loop`]; then [`config`] and [`server`], which every daemon's `run` uses.

pub mod clock; // the one place where time is read
pub mod event_loop; // batch, step, commit, act, answer
mod handle; // tell, ask, read: reached through `event_loop`
pub mod store; // trait: load, commit a batch; in memory, in one file
