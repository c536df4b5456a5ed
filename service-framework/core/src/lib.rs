//! What the service framework decides: which instances of which apps run, and which of them get traffic.
//!
//! No sockets, no disk, no clock, no JSON of the API: see `service-framework` for those.
//!
//! ```text
//! wish ─▶ validate ─▶ plan ─▶ deployment ─▶ target of each app ─▶ settle: launch, drain, kill ─▶ healthy-task list
//!                                                 ▲                       │
//!                                                 └── reports of tasks ◀──┘
//! ```
//! Start with [`Orchestrator`], then follow one [`Input`] into `transitions`.

mod accepted; // what of an offer an app takes
pub mod backends; // the healthy-task list
pub mod deployment; // wanted × present → steps, and how far they are
pub mod effects; // records, actions, replies
pub mod events; // what subscribers hear
pub mod input; // all that can happen
pub mod launch; // what an instance is launched with
pub mod orchestrator; // the whole state, and `step`
pub mod probe; // a question to an instance, and what it answers
mod random; // numbers that nobody can foretell but that repeat with the seed
pub mod record; // what survives, and how it lies on disk
pub mod spec; // what is wanted: apps, versions, ports, dependencies
pub mod state; // what is: apps, instances, deployments, queue, proxies
pub mod transitions; // what happens: change, offers, status, drain, reconcile
pub mod validate; // whether a wish makes sense
pub mod view; // what readers may look at

pub use effects::{Action, Kept, Launch, LaunchGroup, LaunchSecrets, Missing, Reply};
pub use input::{Change, Done, Input, Origin, ProxyAck, Wanted};
pub use orchestrator::{Life, Orchestrator, Settings};
pub use record::{BadRecord, Record};
pub use view::View;
