//! Why somebody got what it got, or nothing: reasons, and what would have to change.
//!
//! The reasons about agents come out of the same code that decides in a round
//! ([`crate::allocator`], `judge.rs`), which goes on at an obstacle instead of stopping. Each reason has a
//! [code](Reason::code) that stays the same for ever; words and amounts beside it are for people.

use std::fmt;

use mete_model::{AgentId, FrameworkId, Resources, Role, Timestamp};

use crate::allocator::Admission;
use crate::constraints::Constraint;
use crate::fairness::DEFAULT_WEIGHT_MILLI;
use crate::matcher::WhyNot;
use crate::packing::Policy;
use crate::quota::Amounts;

/// Somebody else in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rival {
    /// All frameworks at or below a role.
    Role(Role),
    /// The frameworks of a role itself, against the roles below it.
    FrameworksOf(Role),
    /// A framework in the same role.
    Framework(FrameworkId),
}

/// One reason.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The framework is away.
    Inactive,
    /// It wants no offers in this role.
    Suppressed,
    /// It said what waits, and nothing does.
    NothingWaits,
    /// All that waits is on offer to it already.
    AllOnOffer {
        /// How many tasks.
        tasks: u64,
    },
    /// Others hold a smaller share of the cluster and come first.
    Behind {
        /// Who.
        rival: Rival,
        /// Dominant share by weight.
        share: f64,
        /// Of the one that waits, or of the role it is in.
        own_share: f64,
    },
    /// Nobody in line comes first.
    First,
    /// The role's limit leaves too little.
    LimitReached {
        /// The top-level role.
        role: Role,
        /// What it may have.
        limit: Amounts,
        /// What counts against that.
        charged: Resources,
    },
    /// What is free is kept for the guarantees of other roles.
    HeadroomKept {
        /// Free on agents that may be offered.
        free: Resources,
        /// To be kept free for guarantees.
        kept: Resources,
    },
    /// No agent has anything to give.
    NothingFree,
    /// It may have what is free there.
    Fits,
    /// The agent's resources are not offered.
    NotOfferable {
        /// Why.
        admission: Admission,
    },
    /// It is in another region than the master, and the framework does not take such agents.
    OtherRegion {
        /// The agent's.
        region: String,
    },
    /// It has GPUs, and the framework takes none.
    HasGpus,
    /// The framework said that it takes no offers of such agents.
    OfferConstraint,
    /// The shape asks for another kind of agent.
    ConstraintNotMet {
        /// Which does not hold.
        constraint: Constraint,
        /// What the agent has there.
        found: Option<String>,
    },
    /// As many of the shape are on offer there as are to be on one agent.
    MaxPerAgent {
        /// How many.
        most: u32,
    },
    /// Too little is free.
    TooSmall {
        /// Of each resource, what is asked and what is there.
        short: Vec<WhyNot>,
    },
    /// What is left is not worth an offer.
    BelowMinimum {
        /// What is left.
        left: Resources,
    },
    /// It was declined.
    Filtered {
        /// It will be offered again from then on.
        until: Timestamp,
    },
    /// It is on offer to somebody.
    OnOffer {
        /// To whom.
        framework: FrameworkId,
        /// In which role.
        role: Role,
        /// How much.
        resources: Resources,
        /// Since when.
        since: Timestamp,
    },
    /// It is reserved for another role.
    ReservedFor {
        /// Which.
        role: Role,
        /// How much.
        resources: Resources,
    },
}

impl ExplainedRole {
    /// A role in which nobody is, and for which nothing is set.
    pub(crate) const fn unused(role: Role) -> Self {
        Self {
            role,
            weight_milli: DEFAULT_WEIGHT_MILLI.get(),
            share: 0.0,
            limit: None,
            guarantee: None,
            charged: Resources::none(),
            reasons: Vec::new(),
            frameworks: Vec::new(),
        }
    }
}

impl Reason {
    /// Whether it lies with the framework alone, whoever else asks and whatever is free.
    pub(crate) const fn is_of_framework(&self) -> bool {
        match self {
            Self::Inactive | Self::Suppressed | Self::NothingWaits | Self::AllOnOffer { .. } => {
                true
            }
            Self::Behind { .. }
            | Self::First
            | Self::LimitReached { .. }
            | Self::HeadroomKept { .. }
            | Self::NothingFree
            | Self::Fits
            | Self::NotOfferable { .. }
            | Self::OtherRegion { .. }
            | Self::HasGpus
            | Self::OfferConstraint
            | Self::ConstraintNotMet { .. }
            | Self::MaxPerAgent { .. }
            | Self::TooSmall { .. }
            | Self::BelowMinimum { .. }
            | Self::Filtered { .. }
            | Self::OnOffer { .. }
            | Self::ReservedFor { .. } => false,
        }
    }

    /// Of agents that are told as one because too little of the same is there: as much as is on any of them.
    pub(crate) fn lift_to(&mut self, other: &Self) {
        if let (Self::TooSmall { short }, Self::TooSmall { short: others }) = (self, other) {
            for (mine, theirs) in short.iter_mut().zip(others) {
                if theirs.there() > mine.there() {
                    mine.clone_from(theirs);
                }
            }
        }
    }

    /// Its name, for programs; never changed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Inactive => "INACTIVE",
            Self::Suppressed => "SUPPRESSED",
            Self::NothingWaits => "NOTHING_WAITS",
            Self::AllOnOffer { .. } => "ALL_ON_OFFER",
            Self::Behind { .. } => "BEHIND",
            Self::First => "FIRST",
            Self::LimitReached { .. } => "LIMIT_REACHED",
            Self::HeadroomKept { .. } => "HEADROOM_KEPT",
            Self::NothingFree => "NOTHING_FREE",
            Self::Fits => "FITS",
            Self::NotOfferable { admission } => match admission {
                Admission::Offerable | Admission::Away => "AGENT_AWAY",
                Admission::Draining => "AGENT_DRAINING",
                Admission::Deactivated => "AGENT_DEACTIVATED",
            },
            Self::OtherRegion { .. } => "OTHER_REGION",
            Self::HasGpus => "HAS_GPUS",
            Self::OfferConstraint => "OFFER_CONSTRAINT",
            Self::ConstraintNotMet { .. } => "CONSTRAINT_NOT_MET",
            Self::MaxPerAgent { .. } => "MAX_PER_AGENT",
            Self::TooSmall { .. } => "TOO_SMALL",
            Self::BelowMinimum { .. } => "BELOW_MINIMUM",
            Self::Filtered { .. } => "FILTERED",
            Self::OnOffer { .. } => "ON_OFFER",
            Self::ReservedFor { .. } => "RESERVED_FOR",
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "role {role}"),
            Self::FrameworksOf(role) => write!(f, "the frameworks of role {role} itself"),
            Self::Framework(framework) => write!(f, "framework {framework}"),
        }
    }
}

/// A sentence for people, without full stop.
impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "one sentence for each reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive => f.write_str("the framework is not connected"),
            Self::Suppressed => f.write_str("the framework has suppressed offers in this role"),
            Self::NothingWaits => f.write_str("the framework says that nothing waits"),
            Self::AllOnOffer { tasks } => {
                write!(f, "all {tasks} waiting tasks are on offer to it")
            }
            Self::Behind {
                rival,
                share,
                own_share,
            } => write!(f, "share {own_share:.3} over {share:.3} of {rival}"),
            Self::First => f.write_str("it is first in line"),
            Self::LimitReached {
                role,
                limit,
                charged,
            } => write!(f, "role {role} has {charged} of its limit {limit}"),
            Self::HeadroomKept { free, kept } => {
                write!(
                    f,
                    "{kept} are kept for guarantees of other roles, of {free} free"
                )
            }
            Self::NothingFree => f.write_str("no agent has anything to give"),
            Self::Fits => f.write_str("it fits"),
            Self::NotOfferable { admission } => f.write_str(match admission {
                Admission::Offerable | Admission::Away => "the agent is not heard of",
                Admission::Draining => "the agent is draining",
                Admission::Deactivated => "the agent is deactivated",
            }),
            Self::OtherRegion { region } => write!(
                f,
                "the agent is in region {region}, and the framework is not REGION_AWARE"
            ),
            Self::HasGpus => {
                f.write_str("the agent has GPUs, and the framework does not have GPU_RESOURCES")
            }
            Self::OfferConstraint => {
                f.write_str("the framework's offer constraints exclude the agent")
            }
            Self::ConstraintNotMet { constraint, found } => match found {
                Some(found) => write!(f, "constraint {constraint} does not hold on {found}"),
                None => write!(f, "constraint {constraint} needs what is not there"),
            },
            Self::MaxPerAgent { most } => {
                write!(f, "{most} of them are on offer there, which is the most")
            }
            Self::TooSmall { short } => {
                f.write_str("too small: ")?;
                for (at, short) in short.iter().enumerate() {
                    write!(f, "{}{short}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::BelowMinimum { left } => write!(f, "{left} left is not worth an offer"),
            Self::Filtered { until } => write!(f, "declined until {}", moment(*until)),
            Self::OnOffer {
                framework,
                role,
                resources,
                since,
            } => write!(
                f,
                "{resources} on offer to {framework} in role {role} since {}",
                moment(*since)
            ),
            Self::ReservedFor { role, resources } => {
                write!(f, "{resources} reserved for role {role}")
            }
        }
    }
}

/// As people read it; what no calendar holds is its end.
fn moment(at: Timestamp) -> jiff::Timestamp {
    let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX)
}

/// Something that could be done so that a shape finds its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The framework connects again.
    Connect,
    /// It revives its role.
    Revive {
        /// Which.
        role: Role,
    },
    /// A filter ends, or is taken back by a revive.
    Wait {
        /// When it ends.
        until: Timestamp,
    },
    /// So much more becomes free on the agent: tasks end there, or offers come back.
    Free {
        /// Where.
        agent: AgentId,
        /// What is missing.
        resources: Resources,
    },
    /// The agent gets so much more.
    Grow {
        /// Which.
        agent: AgentId,
        /// What it does not have at all.
        resources: Resources,
    },
    /// An operator lets the agent take part again.
    Reactivate {
        /// Which.
        agent: AgentId,
        /// It drains, so that this has to wait until it has drained.
        drains: bool,
    },
    /// The agent, which is not heard of, connects again.
    BringBack {
        /// Which.
        agent: AgentId,
    },
    /// The role's limit is raised.
    RaiseLimit {
        /// Which.
        role: Role,
        /// To so much.
        to: Amounts,
    },
    /// So much more is free anywhere, beyond what is kept for guarantees.
    AddCapacity {
        /// How much.
        resources: Resources,
    },
    /// The shape does without a constraint.
    DropConstraint {
        /// Which.
        constraint: Constraint,
    },
    /// The shape allows more on one agent.
    RaiseMaxPerAgent {
        /// So many.
        to: u32,
    },
    /// The framework drops its offer constraints in the role.
    DropOfferConstraints,
    /// The framework says that it has a capability.
    Declare {
        /// `REGION_AWARE`.
        capability: &'static str,
    },
}

impl Change {
    /// Its name, for programs; never changed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Revive { .. } => "REVIVE",
            Self::Wait { .. } => "WAIT",
            Self::Free { .. } => "FREE",
            Self::Grow { .. } => "GROW",
            Self::Reactivate { .. } => "REACTIVATE",
            Self::BringBack { .. } => "BRING_BACK",
            Self::RaiseLimit { .. } => "RAISE_LIMIT",
            Self::AddCapacity { .. } => "ADD_CAPACITY",
            Self::DropConstraint { .. } => "DROP_CONSTRAINT",
            Self::RaiseMaxPerAgent { .. } => "RAISE_MAX_PER_AGENT",
            Self::DropOfferConstraints => "DROP_OFFER_CONSTRAINTS",
            Self::Declare { .. } => "DECLARE",
        }
    }

    /// How much it takes to do it: what happens by itself is the least, what needs another machine the most.
    pub(crate) const fn effort(&self) -> u32 {
        match self {
            Self::Wait { .. } => 1,
            Self::Revive { .. } | Self::Connect => 2,
            Self::Free { .. } => 4,
            Self::Reactivate { .. } | Self::RaiseMaxPerAgent { .. } => 5,
            Self::RaiseLimit { .. } | Self::DropConstraint { .. } => 6,
            Self::DropOfferConstraints | Self::Declare { .. } => 7,
            Self::AddCapacity { .. } => 8,
            Self::BringBack { .. } => 12,
            Self::Grow { .. } => 16,
        }
    }
}

/// What to do, without full stop.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect the framework"),
            Self::Revive { role } => write!(f, "revive role {role}"),
            Self::Wait { until } => write!(f, "wait until {}, or revive", moment(*until)),
            Self::Free { agent, resources } => write!(f, "free {resources} on agent {agent}"),
            Self::Grow { agent, resources } => write!(f, "give agent {agent} {resources} more"),
            Self::Reactivate { agent, drains } => {
                let when = if *drains { " once it has drained" } else { "" };
                write!(f, "let agent {agent} take part again{when}")
            }
            Self::BringBack { agent } => write!(f, "bring agent {agent} back"),
            Self::RaiseLimit { role, to } => write!(f, "raise the limit of role {role} to {to}"),
            Self::AddCapacity { resources } => write!(
                f,
                "add {resources} to the cluster, or lower guarantees of other roles"
            ),
            Self::DropConstraint { constraint } => write!(f, "drop constraint {constraint}"),
            Self::RaiseMaxPerAgent { to } => write!(f, "allow {to} on one agent"),
            Self::DropOfferConstraints => f.write_str("drop the framework's offer constraints"),
            Self::Declare { capability } => write!(f, "declare the capability {capability}"),
        }
    }
}

/// How a framework stands in one of its roles.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedClient {
    /// Who.
    pub framework: FrameworkId,
    /// In which role.
    pub role: Role,
    /// Dominant share of what it holds in this role.
    pub share: f64,
    /// How places are chosen for it.
    pub policy: Policy,
    /// What is on offer to it: where, how much, since when; the oldest first, at most [`MAX_LISTED`].
    pub on_offer: Vec<(AgentId, Resources, Timestamp)>,
    /// What its tasks use in all.
    pub in_use: Resources,
    /// Why it gets something or nothing, the first that counts first.
    pub reasons: Vec<Reason>,
    /// How agents stand to it, alike ones together, the most first.
    pub agents: Vec<AlikeAgents>,
    /// What it is waiting for; empty when it says nothing. At most [`MAX_SHAPES_EXPLAINED`], and of [`MAX_NAMES_EXPLAINED`].
    pub shapes: Vec<ExplainedShape>,
}

/// Agents that stand alike to somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct AlikeAgents {
    /// The first reason, as it is on the first of them.
    pub reason: Reason,
    /// How many.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<AgentId>,
}

/// How a shape stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedShape {
    /// What it is called.
    pub name: Option<String>,
    /// In which role it is asked for.
    pub role: Role,
    /// What each takes.
    pub resources: Resources,
    /// How many wait.
    pub waiting: u32,
    /// How many of those are on offer.
    pub on_offer: u32,
    /// On how many agents one would fit now.
    pub fits_on: usize,
    /// How agents stand to it, alike ones together, the most first.
    pub agents: Vec<AlikeAgents>,
    /// The agents where least is missing, the nearest first; at most [`MAX_NEAREST`].
    pub nearest: Vec<Nearest>,
    /// The least that would have to change; empty when it fits or nothing is known to help.
    pub smallest_change: Vec<Change>,
}

/// An agent and what keeps a shape from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// Which.
    pub agent: AgentId,
    /// All that stands against it.
    pub reasons: Vec<Reason>,
    /// What would have to change, all of it.
    pub changes: Vec<Change>,
}

/// How a role stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedRole {
    /// Which.
    pub role: Role,
    /// Thousandths.
    pub weight_milli: u32,
    /// Dominant share of what is held at or below it, not divided by its weight.
    pub share: f64,
    /// Of its top-level role.
    pub limit: Option<Amounts>,
    /// Of its top-level role.
    pub guarantee: Option<Amounts>,
    /// What counts against those.
    pub charged: Resources,
    /// Why it gets something or nothing.
    pub reasons: Vec<Reason>,
    /// Its frameworks and those below it, without their agents; at most [`MAX_LISTED`].
    pub frameworks: Vec<ExplainedClient>,
}

/// How an agent stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedAgent {
    /// Which.
    pub agent: AgentId,
    /// Name of the machine.
    pub hostname: String,
    /// All it has.
    pub total: Resources,
    /// What nobody holds.
    pub free: Resources,
    /// What stands against offers of it at all, and what of it is on offer to whom.
    pub reasons: Vec<Reason>,
    /// What tasks use.
    pub in_use: Vec<(FrameworkId, Role, Resources)>,
    /// How it stands to everybody in line, in fair order as far as one look tells; at most [`MAX_LISTED`].
    pub clients: Vec<(FrameworkId, Role, Vec<Reason>)>,
}

/// The most entries of a list in an explanation that may be long.
pub const MAX_LISTED: usize = 100;
/// The most shapes of a framework that are laid against every agent: the most urgent ones.
pub const MAX_SHAPES_EXPLAINED: usize = 20;
/// The most names of resources in the shapes of a framework that are explained, beyond which the answer ends: each stands in
/// it some ten times, and hundreds of kilobytes are more than anybody reads.
pub const MAX_NAMES_EXPLAINED: usize = 2_048;
/// The most agents named as nearest.
pub const MAX_NEAREST: usize = 5;
/// The most agents named as examples.
pub(crate) const MAX_EXAMPLES: usize = 3;
/// The most rivals named that come first.
pub(crate) const MAX_RIVALS: usize = 5;
