//! What is thrown at `/v2`: every body an endpoint takes, bent in every way, through a real server with a real store.
//!
//! Whatever comes, the answer is in time, no 5xx, and has Marathon's shape; and what was taken can be read again by the
//! next life. `METE_FUZZ_SECONDS` plays longer than the default, `METE_FUZZ_SEED` plays one run again.

#[expect(
    dead_code,
    reason = "the service framework of the API's tests, of which not all is needed here"
)]
#[path = "../api/harness.rs"]
mod harness; // a service framework, its master, its callers

mod answer; // what an answer must look like
mod bend; // a good body → a bad one
mod dice; // numbers that repeat with the seed
mod endpoints; // every body of /v2, in one table
mod named; // bad bodies that have names
mod random; // the run
