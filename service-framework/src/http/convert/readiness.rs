//! Readiness checks, both ways, and what they have said.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_proto::rest::readiness::{ReadinessCheck as Said, Response, TaskReadinessCheckResult};
use mete_service_framework_core::spec::app::{MAX_PATH_BYTES, ReadinessCheckSpec};
use mete_service_framework_core::state::apps::App;
use mete_service_framework_core::state::instances::Instance;

use super::Faults;

/// The longest name, of a check and of a port, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The check, if there is one; more than one is refused.
pub(super) fn read(checks: &[Said], faults: &mut Faults) -> Option<ReadinessCheckSpec> {
    if checks.len() > 1 {
        faults.meaning("/readinessChecks", "must have at most 1 element");
    }
    checks.first().map(|said| check(said, faults))
}

fn check(said: &Said, faults: &mut Faults) -> ReadinessCheckSpec {
    let mut spec = ReadinessCheckSpec::default();
    let path = |key: &str| format!("/readinessChecks(0)/{key}");
    let mut text = |key: &str, value: &Option<String>, maximum: usize, into: &mut String| {
        if let Some(value) = value {
            faults.text(&path(key), value, maximum);
            into.clone_from(value);
        }
    };
    text("name", &said.name, MAX_NAME_BYTES, &mut spec.name);
    text("path", &said.path, MAX_PATH_BYTES, &mut spec.path);
    text(
        "portName",
        &said.port_name,
        MAX_NAME_BYTES,
        &mut spec.port_name,
    );
    let protocol = said.protocol.as_deref().unwrap_or("HTTP");
    let schemes = [("HTTP", false), ("HTTPS", true)];
    let secure = faults.word(path("protocol"), protocol, &schemes);
    spec.secure = secure.unwrap_or_default();
    let mut seconds = |key: &str, value: Option<i64>, into: &mut Duration| {
        if let Some(value) = value.and_then(|it| faults.whole(&path(key), it, i32::MAX)) {
            *into = Duration::from_secs(value.unsigned_abs().into());
        }
    };
    seconds("intervalSeconds", said.interval_seconds, &mut spec.interval);
    seconds("timeoutSeconds", said.timeout_seconds, &mut spec.timeout);
    if let Some(codes) = &said.http_status_codes_for_ready {
        spec.statuses = statuses(&path("httpStatusCodesForReady"), codes, faults);
    }
    spec.keeps_response = said.preserve_last_response.unwrap_or_default();
    spec
}

fn statuses(path: &str, codes: &[i64], faults: &mut Faults) -> BTreeSet<u16> {
    if codes.is_empty() {
        faults.shape(path, "error.minItems");
    }
    let mut statuses = BTreeSet::new();
    for (at, code) in codes.iter().enumerate() {
        match u16::try_from(*code) {
            Ok(code @ 100..=999) => drop(statuses.insert(code)),
            Ok(_) | Err(_) => {
                let text = format!("is {code}, must be from 100 to 999");
                faults.shape(format!("{path}({at})"), text);
            }
        }
    }
    statuses
}

pub(super) fn write(check: &ReadinessCheckSpec) -> Said {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).ok();
    let protocol = if check.secure { "HTTPS" } else { "HTTP" };
    Said {
        name: Some(check.name.clone()),
        protocol: Some(protocol.to_owned()),
        path: Some(check.path.clone()),
        port_name: Some(check.port_name.clone()),
        interval_seconds: seconds(check.interval),
        timeout_seconds: seconds(check.timeout),
        http_status_codes_for_ready: Some(check.statuses.iter().copied().map(i64::from).collect()),
        preserve_last_response: Some(check.keeps_response),
    }
}

/// What the instances of an app have said, as long as a deployment asks them.
pub(in crate::http) fn results(app: &App) -> Vec<TaskReadinessCheckResult> {
    let instances = app.instances.values();
    instances.filter_map(|instance| result(instance)).collect()
}

/// Nothing before the first answer.
fn result(instance: &Instance) -> Option<TaskReadinessCheckResult> {
    let check = instance.version.spec.readiness_check.as_ref()?;
    let readiness = instance.readiness.as_ref()?;
    let response = readiness.last_response.as_ref();
    Some(TaskReadinessCheckResult {
        name: check.name.clone(),
        task_id: instance.task().to_string(),
        ready: readiness.is_ready?,
        last_response: response.map(|response| Response {
            status: response.status,
            content_type: response.content_type.clone(),
            body: response.body.clone(),
        }),
    })
}
