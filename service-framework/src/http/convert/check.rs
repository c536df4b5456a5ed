//! What agents ask for information only, both ways.

use mete_proto::rest::apps::{Check as Said, PortCheck};
use mete_proto::rest::pods::{Command, CommandCheck};
use mete_service_framework_core::spec::app::{HealthCheckSpec, HealthProtocol};

use super::app_in::seconds;
use super::{Faults, app_out};

/// The longest path (Marathon's schema).
const MAX_PATH_BYTES: usize = 1024;

/// Schemes of checks that agents run.
pub(super) const SCHEMES: [(&str, HealthProtocol); 2] = [
    ("HTTP", HealthProtocol::MesosHttp),
    ("HTTPS", HealthProtocol::MesosHttps),
];

/// `None` when nothing is asked for, or something that cannot be.
pub(super) fn read(
    said: &Said,
    has_ports: bool,
    faults: &mut Faults,
) -> Option<Box<HealthCheckSpec>> {
    if *said == Said::default() {
        return None;
    }
    let mut spec = asked(said, has_ports, faults)?;
    for (key, value, into) in [
        ("intervalSeconds", said.interval_seconds, &mut spec.interval),
        ("timeoutSeconds", said.timeout_seconds, &mut spec.timeout),
        ("delaySeconds", said.delay_seconds, &mut spec.delay),
    ] {
        if let Some(time) = seconds(&format!("/check/{key}"), value, faults) {
            *into = time;
        }
    }
    Some(Box::new(spec))
}

fn asked(said: &Said, has_ports: bool, faults: &mut Faults) -> Option<HealthCheckSpec> {
    match (&said.http, &said.tcp, &said.exec) {
        (Some(http), None, None) => {
            let scheme = http.scheme.as_deref().unwrap_or("HTTP");
            let protocol = faults.word("/check/http/scheme", scheme, &SCHEMES)?;
            if let Some(path) = &http.path {
                faults.text("/check/http/path", path, MAX_PATH_BYTES);
            }
            let mut spec = on_port("/check/http", protocol, http, has_ports, faults);
            spec.path.clone_from(&http.path);
            Some(spec)
        }
        (None, Some(tcp), None) => {
            let protocol = HealthProtocol::MesosTcp;
            Some(on_port("/check/tcp", protocol, tcp, has_ports, faults))
        }
        (None, None, Some(exec)) => {
            let mut spec = HealthCheckSpec::new(HealthProtocol::Command);
            match exec.command.clone().unwrap_or_default() {
                Command {
                    shell: Some(line),
                    argv: None,
                } => spec.command = Some(line),
                Command {
                    shell: None,
                    argv: Some(words),
                } => spec.argv = words,
                Command { .. } => {
                    faults.shape("/check/exec/command", "must have one of shell and argv");
                    return None;
                }
            }
            Some(spec)
        }
        (_, _, _) => {
            faults.meaning(
                "/check",
                "Only one of http, tcp, or command may be specified",
            );
            None
        }
    }
}

/// Port 0 is what clients send that mean none; the first port is asked where nothing is said.
fn on_port(
    path: &str,
    protocol: HealthProtocol,
    said: &PortCheck,
    has_ports: bool,
    faults: &mut Faults,
) -> HealthCheckSpec {
    let mut number = |key: &str, value: Option<i64>| {
        let maximum = i32::from(u16::MAX);
        value.and_then(|value| faults.whole(&format!("{path}/{key}"), value, maximum))
    };
    let port = number("port", said.port).and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0);
    let index = number("portIndex", said.port_index).map(i32::unsigned_abs);
    HealthCheckSpec {
        port,
        port_index: index.or_else(|| (port.is_none() && has_ports).then_some(0)),
        ..HealthCheckSpec::new(protocol)
    }
}

/// As it is printed.
pub(super) fn write(check: &HealthCheckSpec) -> Said {
    let seconds = |time| Some(app_out::seconds(time));
    let port = PortCheck {
        port: check.port.map(i64::from),
        port_index: check.port_index.map(i64::from),
        ..PortCheck::default()
    };
    let mut said = Said {
        interval_seconds: seconds(check.interval),
        timeout_seconds: seconds(check.timeout),
        delay_seconds: seconds(check.delay),
        ..Said::default()
    };
    match check.protocol {
        HealthProtocol::Command => {
            let command = Command {
                shell: check.command.clone(),
                argv: Some(check.argv.clone()).filter(|words| !words.is_empty()),
            };
            said.exec = Some(CommandCheck {
                command: Some(command),
            });
        }
        HealthProtocol::Http | HealthProtocol::MesosHttp => {
            said.http = Some(PortCheck {
                path: check.path.clone(),
                scheme: Some("HTTP".to_owned()),
                ..port
            });
        }
        HealthProtocol::Https | HealthProtocol::MesosHttps => {
            said.http = Some(PortCheck {
                path: check.path.clone(),
                scheme: Some("HTTPS".to_owned()),
                ..port
            });
        }
        HealthProtocol::Tcp | HealthProtocol::MesosTcp | HealthProtocol::Grpc => {
            said.tcp = Some(port);
        }
    }
    said
}
