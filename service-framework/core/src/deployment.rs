//! How one state of things becomes another.

pub mod moving; // how many may come and go while agents drain
pub mod plan; // wanted × present → steps
pub mod progress; // what is the next thing to do
pub mod scale_down; // which instance goes first
pub mod upgrade; // how many old may go, how many new may come
