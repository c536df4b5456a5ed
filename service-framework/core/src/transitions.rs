//! What happens: one file per happening. A transition joins what the state files keep apart.

pub mod reconcile; // what the master is asked, and when
