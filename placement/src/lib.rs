//! The algorithms of both levels: who is offered what, and what runs where. Pure values in and out:
//! no clock, no I/O, no randomness; the same events give the same decisions.
//!
//! - **level one**, used by the master: [`allocator`] keeps what is free on every agent and who may
//!   get it, and gives it away in rounds. [`fairness`] says who is next, [`quota`] how much a role
//!   may have, [`filters`] what was declined until when;
//! - **level two**, used by frameworks: [`matcher`] lays waiting tasks onto offers, honouring
//!   [`constraints`], says why not, and makes its plan better in steps;
//! - **both**: [`packing`] scores where something fits best; [`batch`] plans many tasks on many bins at
//!   once, and takes a seed for what it tries at random.
//!
//! Start with [`Allocator::round`] or [`matcher::match_tasks`].

pub mod allocator; // level one: free resources → grants
pub mod batch; // plans of many tasks on many bins, improved in steps
pub mod constraints; // UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS
pub mod demand; // what frameworks wait to run: shapes, counts, where they may go
pub mod explain; // why somebody got what it got, or nothing
pub mod fairness; // who is next: shares, weights, the tree of roles
pub mod filters; // what was declined, by whom, until when
pub mod fleet; // all nodes, so kept that the best one is found fast
pub mod maintenance; // planned agents: who was asked to leave, and what was said
pub mod matcher; // level two: waiting tasks × offers → launches, and why not
pub mod offer_constraints; // which agents a framework wants offers of at all
pub mod packing; // scores: best fit, spread, FGD, least worth lost, and what is typical
pub mod ports; // which ports of an offer a task gets
pub mod quota; // limits and guarantees of top-level roles

mod gpu_models; // machines told apart by their GPUs
mod slots; // dense numbers instead of names
mod sums; // exact sums over many agents

pub use allocator::{
    Admission, AgentFacts, Allocator, FrameworkFacts, Grant, Moved, NotTopLevel, Options,
    ReshapeError, RoleUsage, Unused, WhatIf, WhatIfAnswer, WhatIfShape,
};
pub use constraints::{BadConstraint, Constraint, Placed};
pub use demand::{Shape, ShapeId, Takes};
pub use gpu_models::GPU_MODEL;
pub use maintenance::{InverseAnswer, InverseGrant, Maintenance};
pub use matcher::{Matched, Placement, Rejection, Waiting, WhyNot, match_tasks};
pub use offer_constraints::OfferConstraints;
pub use packing::Policy;
pub use ports::PortAsk;
pub use quota::Amounts;
