//! How one state of things becomes another.

pub mod plan; // wanted × present → steps
