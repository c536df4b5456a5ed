//! What is wanted: apps, their versions, their ports, and who waits for whom.

pub mod app; // one app as its user describes it
pub mod dependencies; // who waits for whom
pub mod group; // groups of apps
pub mod history; // versions of an app
pub mod ports; // service ports
pub mod size; // how much of an app is text
pub mod time; // moments as the API writes them
