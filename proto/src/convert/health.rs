//! Health checks. What is not said has the default of its field; a check of no said kind is of the kind whose part is there.

use mete_model::{CommandSpec, HealthCheck, Probe};

use super::command::{names_its_program, without_secrets};
use super::{ConvertError, Within as _, duration, port, refuse};
use crate::mesos::v1 as wire;
use wire::health_check::{GrpcCheckInfo, HttpCheckInfo, TcpCheckInfo, Type};
use wire::network_info::Protocol;

/// Longest name of a gRPC service: names of packages and services, never sentences.
const MAX_SERVICE_BYTES: usize = 512;

impl TryFrom<&wire::HealthCheck> for HealthCheck {
    type Error = ConvertError;
    fn try_from(check: &wire::HealthCheck) -> Result<Self, ConvertError> {
        Ok(Self {
            probe: probe(check)?,
            delay: duration("delay_seconds", check.delay_seconds())?,
            interval: duration("interval_seconds", check.interval_seconds())?,
            timeout: duration("timeout_seconds", check.timeout_seconds())?,
            grace_period: duration("grace_period_seconds", check.grace_period_seconds())?,
            consecutive_failures: check.consecutive_failures(),
        })
    }
}

impl From<&HealthCheck> for wire::HealthCheck {
    fn from(check: &HealthCheck) -> Self {
        let mut message = Self {
            delay_seconds: Some(check.delay.as_secs_f64()),
            interval_seconds: Some(check.interval.as_secs_f64()),
            timeout_seconds: Some(check.timeout.as_secs_f64()),
            grace_period_seconds: Some(check.grace_period.as_secs_f64()),
            consecutive_failures: Some(check.consecutive_failures),
            ..Self::default()
        };
        match &check.probe {
            Probe::Http {
                port,
                path,
                statuses,
                secure,
            } => {
                message.set_type(Type::Http);
                message.http = Some(HttpCheckInfo {
                    scheme: secure.then(|| "https".to_owned()),
                    port: (*port).into(),
                    path: Some(path.clone()),
                    statuses: statuses.iter().copied().map(u32::from).collect(),
                    ..HttpCheckInfo::default()
                });
            }
            Probe::Tcp { port } => {
                message.set_type(Type::Tcp);
                message.tcp = Some(TcpCheckInfo {
                    port: (*port).into(),
                    ..TcpCheckInfo::default()
                });
            }
            Probe::Grpc { port, service } => {
                message.set_type(Type::Grpc);
                message.grpc = Some(GrpcCheckInfo {
                    port: (*port).into(),
                    service: Some(service.clone()).filter(|service| !service.is_empty()),
                });
            }
            Probe::Command(command) => {
                message.set_type(Type::Command);
                message.command = Some(command.into());
            }
        }
        message
    }
}

fn probe(check: &wire::HealthCheck) -> Result<Probe, ConvertError> {
    match kind(check) {
        Type::Unknown => Err(ConvertError::missing("type")),
        Type::Http => http(
            check
                .http
                .as_ref()
                .ok_or_else(|| ConvertError::missing("http"))?,
        )
        .within("http"),
        Type::Tcp => {
            let tcp = check
                .tcp
                .as_ref()
                .ok_or_else(|| ConvertError::missing("tcp"))?;
            refuse(
                tcp.protocol() == Protocol::IPv6,
                "tcp.protocol",
                "checks over IPv6 are",
            )?;
            Ok(Probe::Tcp {
                port: port("tcp.port", tcp.port)?,
            })
        }
        Type::Grpc => {
            let grpc = check
                .grpc
                .as_ref()
                .ok_or_else(|| ConvertError::missing("grpc"))?;
            let service = grpc.service();
            if service.len() > MAX_SERVICE_BYTES || service.chars().any(char::is_control) {
                let rule = "the name of a service is short and holds no control characters";
                return Err(ConvertError::bad_value(
                    "grpc.service",
                    format_args!("{service:?}"),
                    rule,
                ));
            }
            Ok(Probe::Grpc {
                port: port("grpc.port", grpc.port)?,
                service: service.to_owned(),
            })
        }
        Type::Command => {
            let command = check
                .command
                .as_ref()
                .ok_or_else(|| ConvertError::missing("command"))?;
            let command = CommandSpec::try_from(command).within("command")?;
            names_its_program(&command).within("command")?;
            without_secrets(&command, "secrets of checks are").within("command")?;
            Ok(Probe::Command(command))
        }
    }
}

/// The kind that is said, or else the kind of the part that is there.
fn kind(check: &wire::HealthCheck) -> Type {
    match check.r#type() {
        Type::Unknown if check.http.is_some() => Type::Http,
        Type::Unknown if check.tcp.is_some() => Type::Tcp,
        Type::Unknown if check.grpc.is_some() => Type::Grpc,
        Type::Unknown if check.command.is_some() => Type::Command,
        said @ (Type::Unknown | Type::Http | Type::Tcp | Type::Grpc | Type::Command) => said,
    }
}

fn http(http: &HttpCheckInfo) -> Result<Probe, ConvertError> {
    refuse(
        http.protocol() == Protocol::IPv6,
        "protocol",
        "checks over IPv6 are",
    )?;
    let secure = match http.scheme.as_deref() {
        None | Some("" | "http") => false,
        Some("https") => true,
        Some(other) => {
            return Err(ConvertError::bad_value(
                "scheme",
                other,
                "it is http or https",
            ));
        }
    };
    let status = |status: &u32| match u16::try_from(*status) {
        Ok(status @ 100..=599) => Ok(status),
        Ok(_) | Err(_) => Err(ConvertError::bad_value(
            "statuses",
            status,
            "statuses go from 100 to 599",
        )),
    };
    Ok(Probe::Http {
        port: port("port", http.port)?,
        path: path(http.path.as_deref())?,
        statuses: http.statuses.iter().map(status).collect::<Result<_, _>>()?,
        secure,
    })
}

/// What a GET asks for; `/` when nothing is said.
pub(super) fn path(said: Option<&str>) -> Result<String, ConvertError> {
    let path = said.filter(|path| !path.is_empty()).unwrap_or("/");
    if !path.starts_with('/') || path.chars().any(|c| c.is_control() || c == ' ') {
        let rule = "a path begins with a slash and holds no blanks and control characters";
        return Err(ConvertError::bad_value(
            "path",
            format_args!("{path:?}"),
            rule,
        ));
    }
    Ok(path.to_owned())
}
