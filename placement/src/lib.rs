//! The algorithms of both levels: who is offered what, and what runs where. Pure values in and out:
//! no clock, no I/O, no randomness; the same events give the same decisions.
//!
//! - **level one**, used by the master: [`allocator`] keeps what is free on every agent and who may
//!   get it, and gives it away in rounds. [`fairness`] says who is next, [`quota`] how much a role
//!   may have, [`filters`] what was declined until when;
//! - **level two**, used by frameworks: [`matcher`] lays waiting tasks onto offers, honouring
//!   [`constraints`], and says why not;
//! - **both**: [`packing`] scores where something fits best.
//!
//! Start with [`Allocator::round`] or [`matcher::match_tasks`].

pub mod allocator; // level one: free resources → grants
pub mod constraints; // UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS
pub mod demand; // what frameworks wait to run: shapes, counts, where they may go
pub mod fairness; // who is next: shares, weights, the tree of roles
pub mod filters; // what was declined, by whom, until when
pub mod matcher; // level two: waiting tasks × offers → launches, and why not
pub mod offer_constraints; // which agents a framework wants offers of at all
pub mod packing; // scores: best fit, spread, first fit
pub mod ports; // which ports of an offer a task gets
pub mod quota; // limits and guarantees of top-level roles

mod slots; // dense numbers instead of names
mod sums; // exact sums over many agents

pub use allocator::{Allocator, Grant, NotTopLevel, RoleUsage};
pub use constraints::{BadConstraint, Constraint, Placed};
pub use demand::{Shape, ShapeId};
pub use matcher::{Matched, Placement, Rejection, Waiting, WhyNot, match_tasks};
pub use offer_constraints::OfferConstraints;
pub use packing::Policy;
pub use ports::PortAsk;
pub use quota::Amounts;
