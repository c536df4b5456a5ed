//! Health checks, both ways.

use std::time::Duration;

use mete_proto::rest::apps::{CommandCheck, HealthCheck as Said};
use mete_service_framework_core::spec::app::{HealthCheckSpec, HealthProtocol};

use super::{Faults, UNKNOWN_WORD};

pub(super) fn read(checks: &[Said], has_ports: bool, faults: &mut Faults) -> Vec<HealthCheckSpec> {
    let one = |(at, said): (usize, &Said)| check(at, said, has_ports, faults);
    checks.iter().enumerate().filter_map(one).collect()
}

fn check(at: usize, said: &Said, has_ports: bool, faults: &mut Faults) -> Option<HealthCheckSpec> {
    let path = format!("/healthChecks({at})");
    let protocol = protocol(&path, said, faults)?;
    let ip = said.ip_protocol.as_deref().unwrap_or("IPv4");
    let place = format!("{path}/ipProtocol");
    if faults.word(&place, ip, &[("IPv4", 4), ("IPv6", 6)]) == Some(6) {
        faults.not_carried(place, "a check over IPv6");
    }
    let mut spec = HealthCheckSpec::new(protocol);
    spec.path.clone_from(&said.path);
    spec.command = said
        .command
        .as_ref()
        .and_then(|command| command.value.clone());
    if protocol == HealthProtocol::Command && spec.command.is_none() {
        faults.shape(format!("{path}/command"), "error.path.missing");
    }
    let mut number = |key: &str, value: Option<i64>, maximum: i32| {
        value.and_then(|value| faults.whole(&format!("{path}/{key}"), value, maximum))
    };
    spec.port = number("port", said.port, u16::MAX.into())
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0); // 0 is what clients send that mean none
    spec.port_index = number("portIndex", said.port_index, u16::MAX.into()).map(i32::unsigned_abs);
    let mut seconds = |key: &str, value: Option<i64>, into: &mut Duration| {
        if let Some(value) = number(key, value, i32::MAX) {
            *into = Duration::from_secs(value.unsigned_abs().into());
        }
    };
    seconds(
        "gracePeriodSeconds",
        said.grace_period_seconds,
        &mut spec.grace_period,
    );
    seconds("intervalSeconds", said.interval_seconds, &mut spec.interval);
    seconds("timeoutSeconds", said.timeout_seconds, &mut spec.timeout);
    seconds("delaySeconds", said.delay_seconds, &mut spec.delay);
    let failures = number(
        "maxConsecutiveFailures",
        said.max_consecutive_failures,
        i32::MAX,
    );
    if let Some(failures) = failures {
        spec.max_consecutive_failures = failures.unsigned_abs();
    }
    spec.ignore_http_1xx = said.ignore_http_1xx.unwrap_or_default();
    if protocol.needs_port() && spec.port.is_none() && spec.port_index.is_none() && has_ports {
        spec.port_index = Some(0);
    }
    Some(spec)
}

fn protocol(path: &str, said: &Said, faults: &mut Faults) -> Option<HealthProtocol> {
    let name = said.protocol.as_deref().unwrap_or("HTTP");
    let protocol = HealthProtocol::from_name(name);
    if protocol.is_none() {
        faults.shape(format!("{path}/protocol"), UNKNOWN_WORD);
    }
    protocol
}

pub(super) fn write(check: &HealthCheckSpec) -> Said {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    let asks_port = check.protocol.needs_port();
    Said {
        protocol: Some(check.protocol.as_str().to_owned()),
        path: check.path.clone(),
        port: check.port.map(i64::from),
        port_index: check.port_index.map(i64::from),
        command: check
            .command
            .clone()
            .map(|value| CommandCheck { value: Some(value) }),
        grace_period_seconds: seconds(check.grace_period),
        interval_seconds: seconds(check.interval),
        timeout_seconds: seconds(check.timeout),
        max_consecutive_failures: Some(check.max_consecutive_failures.into()),
        delay_seconds: seconds(check.delay),
        ignore_http_1xx: check.protocol.is_http().then_some(check.ignore_http_1xx),
        ip_protocol: asks_port.then(|| "IPv4".to_owned()),
    }
}
