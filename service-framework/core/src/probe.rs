//! A question that the framework itself asks of an instance, and what it hears. Pure.
//!
//! What is asked, where and how long is decided here, and what an answer means; the shell only asks.

use std::time::Duration;

use crate::spec::app::{HealthCheckSpec, ReadinessCheckSpec, with_slash};
use crate::state::instances::{Instance, InstanceId, Place};

/// Of the body of an answer so much is kept: what a person reads, times the instances that a deployment starts.
pub const MAX_BODY_BYTES: usize = 4_096;

/// Which check of an instance a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The health check at this place of its version's list.
    Health(usize),
    /// The readiness check.
    Readiness,
}

/// One question, to be asked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who is asked.
    pub instance: InstanceId,
    /// For which check.
    pub check: Check,
    /// Where: a name or an address.
    pub host: String,
    /// Where, the port.
    pub port: u16,
    /// What.
    pub question: Question,
    /// An answer that takes longer is none.
    pub timeout: Duration,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// GET; redirects are answers.
    Http {
        /// Over TLS, whatever certificate is shown.
        secure: bool,
        /// Path and query, beginning with a slash.
        path: String,
        /// Whether more than the status is wanted: the answer is `Answer::Response`.
        keeps_response: bool,
    },
    /// A connection.
    Tcp,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection was accepted.
    Connected,
    /// HTTP answered.
    Status(u16),
    /// The same, with all that was said.
    Response(Response),
    /// No answer, or none in time, in words.
    None(String),
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The type of its body; empty when not said.
    pub content_type: String,
    /// The beginning of its body, at most [`MAX_BODY_BYTES`].
    pub body: String,
}

/// What an answer means to a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It passes.
    Passed,
    /// It fails, and why.
    Failed(String),
    /// Nothing.
    Ignored,
}

/// The question of a check; `None` when the instance has no address or no such port.
pub(crate) fn question(instance: &Instance, check: Check) -> Option<Probe> {
    let ((host, port), question, timeout) = match check {
        Check::Health(at) => {
            let spec = instance.version.spec.health_checks.get(at)?;
            (address(instance, spec)?, of_health(spec), spec.timeout)
        }
        Check::Readiness => {
            let spec = instance.version.spec.readiness_check.as_ref()?;
            let address = named(instance, &spec.port_name)?;
            (address, of_readiness(spec), spec.timeout)
        }
    };
    Some(Probe {
        instance: instance.id.clone(),
        check,
        host,
        port,
        question,
        timeout,
    })
}

fn of_health(spec: &HealthCheckSpec) -> Question {
    match spec.protocol.is_http() {
        true => Question::Http {
            secure: spec.protocol.is_secure(),
            path: spec.http_path(),
            keeps_response: false,
        },
        false => Question::Tcp,
    }
}

fn of_readiness(spec: &ReadinessCheckSpec) -> Question {
    Question::Http {
        secure: spec.secure,
        path: with_slash(&spec.path),
        keeps_response: spec.keeps_response,
    }
}

/// How often a check is asked; `None` when there is no such check.
pub(crate) fn interval(instance: &Instance, check: Check) -> Option<Duration> {
    let spec = &instance.version.spec;
    match check {
        Check::Health(at) => spec.health_checks.get(at).map(|check| check.interval),
        Check::Readiness => spec.readiness_check.as_ref().map(|check| check.interval),
    }
}

/// What an answer means to a health check: 200 to 399 passes, and that a connection is accepted.
pub(crate) fn meaning(spec: &HealthCheckSpec, answer: Answer) -> Meaning {
    let status = match answer {
        Answer::Connected => return Meaning::Passed,
        Answer::None(why) => return Meaning::Failed(why),
        Answer::Status(status) | Answer::Response(Response { status, .. }) => status,
    };
    match status {
        200..=399 => Meaning::Passed,
        100..=199 if spec.ignore_http_1xx => Meaning::Ignored,
        _ => Meaning::Failed(format!("status {status}")),
    }
}

/// Where a health check of an instance is asked.
fn address(instance: &Instance, check: &HealthCheckSpec) -> Option<(String, u16)> {
    let place = instance.place.as_ref()?;
    match check.port {
        Some(port) => fixed(instance, place, port),
        None => own(instance, place, check.port_index.unwrap_or(0) as usize),
    }
}

/// The port of this name, as [`own`] has it.
fn named(instance: &Instance, name: &str) -> Option<(String, u16)> {
    let place = instance.place.as_ref()?;
    let mut names = instance.version.spec.port_definitions.iter();
    let index = names.position(|definition| definition.name.as_deref() == Some(name))?;
    own(instance, place, index)
}

/// One of the instance's own ports: at its host, or at an address of its own where it has no port of the host.
fn own(instance: &Instance, place: &Place, index: usize) -> Option<(String, u16)> {
    let ports = instance.version.spec.instance_ports(&place.ports);
    let port = ports.get(index)?;
    match port.host {
        Some(port) => Some((place.host.clone(), port)),
        None => Some((place.ip_addresses.first()?.clone(), port.inner)),
    }
}

/// A fixed port: of the host, or on a network of its own of the container, which is reached at the port of the host
/// that leads to it, if there is one.
fn fixed(instance: &Instance, place: &Place, port: u16) -> Option<(String, u16)> {
    let spec = &instance.version.spec;
    if spec.network.is_host() {
        return Some((place.host.clone(), port));
    }
    let ports = spec.instance_ports(&place.ports);
    let index = ports.iter().position(|own| own.inner == port);
    match index {
        Some(index) => own(instance, place, index),
        None => Some((place.ip_addresses.first()?.clone(), port)),
    }
}
