//! The master as a daemon: agents and frameworks over gRPC, people and tools over HTTP, on one port.
//!
//! It decides nothing: streams become inputs of [`mete_master_core::Cluster`], its actions become messages on streams.
//!
//! ```text
//! grpc/* ──inputs──▶ event loop around Cluster ──actions──▶ hands ──▶ links ──▶ streams
//! http/* ◀──view────────────┘
//! ```
//! Start with [`run`], then follow one stream through `grpc/framework.rs`.

mod amounts; // limits and guarantees, in JSON and in messages
mod config; // the options
mod draining; // how an agent drains, in the words of Mesos
mod grpc; // streams in, inputs out
mod hands; // each action to the stream it belongs to
mod http; // what people and tools read
mod links; // live streams, each with a bounded queue
mod orders; // what operators want: asked of the cluster, and what they are told when it cannot be
mod resize; // volumes of another size, as frameworks and operators say it
mod rounds; // how long rounds of allocation take
mod run; // from the options to the end
mod sums; // what is used and offered, by agent and by framework
mod v1; // Mesos' v1 HTTP API

pub use config::Options;
pub use run::{RunError, run, run_on};
