//! `/v2` from outside: a real server on a free port, a real store, and the SDK's master in memory behind it.

#![expect(
    clippy::too_many_lines,
    reason = "a test is one story from end to end, or a table with a line for each rule"
)]

mod harness; // a service framework, its master, its callers

mod access; // who may what
mod backends; // the healthy-task list, its followers, draining
mod backups; // all that is known, in one file, and back
mod checks; // instances that are asked, and what they answer
mod errors; // every bad input has its answer
mod events; // what subscribers hear
mod groups; // apps in groups in groups
mod life; // an app from POST to DELETE
mod pods; // containers that run together
mod residents; // apps with persistent volumes
mod restart; // what a new life knows of the one before
mod secrets; // secrets and GPUs reach who asks for them
mod table; // every endpoint and every parameter, a line each
