//! Why a task does not go onto an offer: every reason, with amounts.

use std::borrow::Cow;
use std::fmt;

use mete_model::{Offer, Ranges, Resources, Role};

use super::Waiting;
use crate::constraints::{Constraint, Place, Tally};
use crate::ports;

/// Why one waiting shape did not go onto one offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which of the waiting shapes.
    pub waiting: usize,
    /// Which of the offers.
    pub offer: usize,
    /// All that stands against it; empty when only [`super::MAX_LAUNCHES`] does.
    pub reasons: Vec<WhyNot>,
}

/// One reason. What is there is what other tasks have left of the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// The offer is in a role that the task does not take.
    UnfulfilledRole {
        /// Of the offer.
        offered: Role,
    },
    /// A constraint does not hold there.
    UnfulfilledConstraint {
        /// Which.
        constraint: Constraint,
        /// What the place has; `None` when it lacks the attribute.
        found: Option<String>,
    },
    /// Thousandths of a CPU.
    InsufficientCpus {
        /// By the task.
        asked_milli: u64,
        /// In the offer.
        there_milli: u64,
    },
    /// Thousandths of a MB of memory.
    InsufficientMemory {
        /// By the task.
        asked_milli: u64,
        /// In the offer.
        there_milli: u64,
    },
    /// Thousandths of a MB of disk.
    InsufficientDisk {
        /// By the task.
        asked_milli: u64,
        /// In the offer.
        there_milli: u64,
    },
    /// Thousandths of a GPU.
    InsufficientGpus {
        /// By the task.
        asked_milli: u64,
        /// In the offer.
        there_milli: u64,
    },
    /// A further scalar, in thousandths.
    InsufficientOther {
        /// Which.
        name: String,
        /// By the task.
        asked_milli: u64,
        /// In the offer.
        there_milli: u64,
    },
    /// Ports, by number or in number.
    InsufficientPorts {
        /// How many.
        asked: u64,
        /// How many the offer has.
        there: u64,
        /// Those asked for by number that are not there, or are asked for twice.
        missing: Ranges,
    },
}

impl WhyNot {
    /// Of which resource there is too little; the name of the reason, when it is about something else.
    pub(crate) fn resource(&self) -> &str {
        match self {
            Self::InsufficientOther { name, .. } => name,
            Self::UnfulfilledRole { .. }
            | Self::UnfulfilledConstraint { .. }
            | Self::InsufficientCpus { .. }
            | Self::InsufficientMemory { .. }
            | Self::InsufficientDisk { .. }
            | Self::InsufficientGpus { .. }
            | Self::InsufficientPorts { .. } => self.as_str(),
        }
    }

    /// How much of what is too little is there, in its smallest unit; 0 of what is no amount.
    pub(crate) const fn there(&self) -> u64 {
        match self {
            Self::UnfulfilledRole { .. } | Self::UnfulfilledConstraint { .. } => 0,
            Self::InsufficientCpus { there_milli, .. }
            | Self::InsufficientMemory { there_milli, .. }
            | Self::InsufficientDisk { there_milli, .. }
            | Self::InsufficientGpus { there_milli, .. }
            | Self::InsufficientOther { there_milli, .. } => *there_milli,
            Self::InsufficientPorts { there, .. } => *there,
        }
    }

    /// The name Marathon's queue gives it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::UnfulfilledRole { .. } => "UnfulfilledRole",
            Self::UnfulfilledConstraint { .. } => "UnfulfilledConstraint",
            Self::InsufficientCpus { .. } => "InsufficientCpus",
            Self::InsufficientMemory { .. } => "InsufficientMemory",
            Self::InsufficientDisk { .. } => "InsufficientDisk",
            Self::InsufficientGpus { .. } => "InsufficientGpus",
            Self::InsufficientOther { .. } => "InsufficientOther",
            Self::InsufficientPorts { .. } => "InsufficientPorts",
        }
    }
}

/// `cpus 2 asked, 0.5 there`.
impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut short = |name: &str, asked: u64, there: u64, unit: f64| {
            let (asked, there) = (asked as f64 / unit, there as f64 / unit);
            write!(f, "{name} {asked} asked, {there} there")
        };
        match self {
            Self::UnfulfilledRole { offered } => write!(f, "role {offered} is not taken"),
            Self::UnfulfilledConstraint { constraint, found } => match found {
                Some(found) => write!(f, "constraint {constraint} does not hold on {found}"),
                None => write!(f, "constraint {constraint} needs what is not there"),
            },
            Self::InsufficientCpus {
                asked_milli,
                there_milli,
            } => short("cpus", *asked_milli, *there_milli, 1e3),
            Self::InsufficientMemory {
                asked_milli,
                there_milli,
            } => short("mem", *asked_milli, *there_milli, 1e3),
            Self::InsufficientDisk {
                asked_milli,
                there_milli,
            } => short("disk", *asked_milli, *there_milli, 1e3),
            Self::InsufficientGpus {
                asked_milli,
                there_milli,
            } => short("gpus", *asked_milli, *there_milli, 1e3),
            Self::InsufficientOther {
                name,
                asked_milli,
                there_milli,
            } => short(name, *asked_milli, *there_milli, 1e3),
            Self::InsufficientPorts {
                asked,
                there,
                missing,
            } => {
                short("ports", *asked, *there, 1.0)?;
                if missing.is_empty() {
                    Ok(())
                } else {
                    write!(f, ", not {missing}")
                }
            }
        }
    }
}

/// All that stands against laying `shape` onto what is left of `offer`; the tallies are those of the
/// shape's constraints.
pub fn why_not(shape: &Waiting, offer: &Offer, left: &Resources, tallies: &[Tally]) -> Vec<WhyNot> {
    let mut reasons = Vec::new();
    if !shape.takes(&offer.role) {
        reasons.push(WhyNot::UnfulfilledRole {
            offered: offer.role.clone(),
        });
    }
    add_scalars(&shape.resources, left, &mut reasons);
    let gpus_milli = shape.resources.gpus_milli;
    if gpus_milli <= left.gpus_milli && left.pin(&shape.resources.plain()).is_none() {
        // The sum is there, but not on one device.
        reasons.push(WhyNot::InsufficientGpus {
            asked_milli: gpus_milli,
            there_milli: left.gpus_milli,
        });
    }
    let place = Place::from(offer);
    for (constraint, tally) in shape.constraints.iter().zip(tallies) {
        if !constraint.allows(place, tally) {
            reasons.push(WhyNot::UnfulfilledConstraint {
                constraint: constraint.clone(),
                found: constraint.field.value(place).map(Cow::into_owned),
            });
        }
    }
    reasons.extend(ports_missing(shape, &left.ports));
    reasons
}

/// What is missing when so much and so many ports without a number are asked of what is there. Who names what is reserved
/// is given just that; who does not takes either.
pub(crate) fn shortages(asked: &Resources, any_ports: u32, there: &Resources) -> Vec<WhyNot> {
    let mut reasons = Vec::new();
    let there = if asked.has_parts() {
        let none = Resources::none();
        for (tag, part) in asked.parts() {
            add_scalars(part, there.part(tag).unwrap_or(&none), &mut reasons);
        }
        Cow::Borrowed(there)
    } else {
        there.flat()
    };
    add_scalars(asked, &there, &mut reasons);
    let mut shape = Waiting::new(asked.plain());
    shape.ports = vec![ports::PortAsk::Any; any_ports as usize];
    reasons.extend(ports_missing(&shape, &there.ports));
    if reasons.is_empty() && asked.flat().gpus_milli > 0 && !there.contains(asked) {
        // The sums are there, but not on one device.
        reasons.push(WhyNot::InsufficientGpus {
            asked_milli: asked.flat().gpus_milli,
            there_milli: there.flat().gpus_milli,
        });
    }
    reasons
}

fn add_scalars(asked: &Resources, left: &Resources, reasons: &mut Vec<WhyNot>) {
    let short = |asked: u64, there: u64| (asked > there).then_some((asked, there));
    if let Some((asked_milli, there_milli)) = short(asked.cpus_milli, left.cpus_milli) {
        reasons.push(WhyNot::InsufficientCpus {
            asked_milli,
            there_milli,
        });
    }
    if let Some((asked_milli, there_milli)) = short(asked.mem_milli, left.mem_milli) {
        reasons.push(WhyNot::InsufficientMemory {
            asked_milli,
            there_milli,
        });
    }
    if let Some((asked_milli, there_milli)) = short(asked.disk_milli, left.disk_milli) {
        reasons.push(WhyNot::InsufficientDisk {
            asked_milli,
            there_milli,
        });
    }
    if let Some((asked_milli, there_milli)) = short(asked.gpus_milli, left.gpus_milli) {
        reasons.push(WhyNot::InsufficientGpus {
            asked_milli,
            there_milli,
        });
    }
    for (name, milli) in asked.others() {
        if let Some((asked_milli, there_milli)) = short(milli, left.other(name)) {
            reasons.push(WhyNot::InsufficientOther {
                name: name.to_owned(),
                asked_milli,
                there_milli,
            });
        }
    }
}

fn ports_missing(shape: &Waiting, there: &Ranges) -> Option<WhyNot> {
    let mut seen = shape.resources.ports.clone();
    let mut missing = seen.clone();
    missing.remove(there);
    for ask in &shape.ports {
        let ports::PortAsk::Exactly(port) = *ask else {
            continue;
        };
        let one = Ranges::interval(port, port);
        if seen.contains(port) || !there.contains(port) {
            missing.add(&one);
        }
        seen.add(&one);
    }
    let asked = (shape.ports.len() as u64).saturating_add(shape.resources.ports.count());
    let is_short = !missing.is_empty() || asked > there.count();
    is_short.then(|| WhyNot::InsufficientPorts {
        asked,
        there: there.count(),
        missing,
    })
}
