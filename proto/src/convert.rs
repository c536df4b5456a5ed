//! From messages to the words of `mete-model` and `mete-placement` and back.
//!
//! Message → model refuses what makes no sense or is not carried yet, with the path of the field and the value that was
//! found. Model → message cannot fail and repeats itself byte for byte. Model types that keep the message they came as
//! (`original`) give that message back; only fields that have changed since are written over.
//!
//! Conversions are `TryFrom<&message>` and `From<&model>`; where a plain type cannot carry one, a function stands in the
//! file of its noun.

pub mod account; // on whose account resources are handed out
pub mod agent; // AgentInfo, host and port, fault domain
pub mod attributes; // what an agent says of itself
pub mod check; // CheckInfo, CheckStatusInfo
pub mod command; // CommandInfo, environment, what to fetch
pub mod container; // ContainerInfo: image, mounts, isolation
pub mod demand; // what a framework waits to run: shapes and where they may go
pub mod executor; // ExecutorInfo, groups of tasks
pub mod framework; // FrameworkInfo, roles, capabilities
pub mod health; // HealthCheck
pub mod ids; // every id
pub mod maintenance; // Unavailability, InverseOffer
pub mod offer; // Offer, Filters
pub mod offer_constraints; // which agents a framework wants offers of
pub mod resources; // quantities: fixed point, ports, devices; reservations and volumes
pub mod running; // what is to be known of a task that runs
pub mod said; // what of a task nobody decides on, read where it lies
mod secret; // what secrets hold
pub mod status; // TaskStatus, states, sources, reasons
pub mod task; // TaskInfo, KillPolicy, labels
pub mod task_limits; // limits beyond the resources
pub mod terminal; // TTYInfo
pub mod volume; // names of volumes

mod time; // spans and moments

pub use time::{duration, duration_info, duration_of, moment, moment_of, time_info};

use std::fmt;

use mete_model::{BadId, BadRole, BadStack, Role};

/// Of a bad value, so much is repeated in the error: enough to know it again, whatever its length.
const SHOWN_CHARS: usize = 80;

/// Why a message cannot be taken: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct ConvertError {
    /// From the message to the field: `resources[1].scalar`.
    pub path: String,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is needed and not there.
    #[error("it is missing")]
    Missing,
    /// Its value breaks a rule.
    #[error("{value} is not possible: {rule}")]
    BadValue {
        /// The value, at most its beginning.
        value: String,
        /// The rule.
        rule: &'static str,
    },
    /// It is known, and Mete does not carry it yet.
    #[error("{what} not carried yet")]
    NotCarried {
        /// What it stands for, with its verb: `shared resources are`.
        what: &'static str,
    },
    /// What it asks for cannot be meant.
    #[error("{why}")]
    BadAsk {
        /// The rule and the value that breaks it, in words.
        why: String,
    },
    /// It is not an id.
    #[error(transparent)]
    BadId(#[from] BadId),
    /// It is not a role.
    #[error(transparent)]
    BadRole(#[from] BadRole),
    /// Reservations that cannot stand on top of one another.
    #[error(transparent)]
    BadStack(#[from] BadStack),
}

impl ConvertError {
    /// A field that is needed and not there.
    pub fn missing(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            fault: Fault::Missing,
        }
    }

    /// A value that breaks `rule`.
    pub fn bad_value(
        path: impl Into<String>,
        value: impl fmt::Display,
        rule: &'static str,
    ) -> Self {
        let value = value.to_string().chars().take(SHOWN_CHARS).collect();
        Self {
            path: path.into(),
            fault: Fault::BadValue { value, rule },
        }
    }

    /// A demand or a constraint that cannot be meant; `why` names the value, and its causes count.
    pub fn bad_ask(path: impl Into<String>, why: &dyn std::error::Error) -> Self {
        let mut text = why.to_string();
        let mut cause = why.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self {
            path: path.into(),
            fault: Fault::BadAsk { why: text },
        }
    }

    /// A field that Mete does not carry yet; `what` with its verb: `shared resources are`.
    pub fn not_carried(path: impl Into<String>, what: &'static str) -> Self {
        Self {
            path: path.into(),
            fault: Fault::NotCarried { what },
        }
    }
}

/// Says in which field of the message around it an error has happened.
pub trait Within<T> {
    /// Puts `field` before the path of the error.
    ///
    /// # Errors
    /// The same error, seen from one level up.
    fn within(self, field: impl fmt::Display) -> Result<T, ConvertError>;
}

impl<T> Within<T> for Result<T, ConvertError> {
    fn within(self, field: impl fmt::Display) -> Self {
        self.map_err(|error| ConvertError {
            path: format!("{field}.{}", error.path),
            fault: error.fault,
        })
    }
}

/// Refuses a field that is there and not carried yet.
fn refuse(present: bool, path: &str, what: &'static str) -> Result<(), ConvertError> {
    if present {
        Err(ConvertError::not_carried(path, what))
    } else {
        Ok(())
    }
}

/// Refuses a text that the kernel would cut short.
fn without_nul(path: &str, text: &str) -> Result<(), ConvertError> {
    if text.contains('\0') {
        return Err(ConvertError::bad_value(
            path,
            format_args!("{text:?}"),
            "it holds a NUL character",
        ));
    }
    Ok(())
}

/// A port to connect to.
fn port(path: &str, number: impl TryInto<u16> + fmt::Display + Copy) -> Result<u16, ConvertError> {
    match number.try_into() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(ConvertError::bad_value(
            path,
            number,
            "ports go from 1 to 65535",
        )),
    }
}

/// A role by its name.
///
/// # Errors
/// Names `path`, the text and the rule it breaks.
pub fn role(path: impl Into<String>, text: &str) -> Result<Role, ConvertError> {
    Role::new(text).map_err(|bad| ConvertError {
        path: path.into(),
        fault: Fault::BadRole(bad),
    })
}
