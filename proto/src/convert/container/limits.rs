//! Limits of each process, and powers of root.

use std::collections::BTreeSet;

use mete_model::LinuxCapability;
use mete_model::container::{Rlimit, RlimitKind};

use crate::convert::{ConvertError, Within as _};
use crate::mesos::v1 as wire;
use wire::capability_info::Capability;
use wire::r_limit_info::r_limit::Type;

/// Mesos counts capabilities from here.
const FIRST_CAPABILITY: i32 = 1_000;

pub(super) fn rlimits(info: &wire::RLimitInfo) -> Result<Vec<Rlimit>, ConvertError> {
    let all = info.rlimits.iter().enumerate();
    all.map(|(at, limit)| rlimit(limit).within(format_args!("rlimits[{at}]")))
        .collect()
}

fn rlimit(limit: &wire::r_limit_info::RLimit) -> Result<Rlimit, ConvertError> {
    let name = limit.r#type().as_str_name();
    let kind = name
        .strip_prefix("RLMT_")
        .and_then(|name| RlimitKind::from_name(&name.to_ascii_lowercase()));
    let (soft, hard) = (limit.soft, limit.hard);
    let rule = match (soft, hard) {
        (Some(soft), Some(hard)) if soft > hard => Some("soft is at most hard"),
        (Some(_), Some(_)) | (None, None) => None,
        (Some(_), None) | (None, Some(_)) => Some("soft and hard are given both or not at all"),
    };
    if let Some(rule) = rule {
        let value = format_args!("{name} {soft:?}, {hard:?}").to_string();
        return Err(ConvertError::bad_value("soft", value, rule));
    }
    let kind = kind.ok_or_else(|| ConvertError::missing("type"))?;
    Ok(Rlimit { kind, soft, hard })
}

pub(super) fn rlimits_to_wire(limits: &[Rlimit]) -> Option<wire::RLimitInfo> {
    let limit = |limit: &Rlimit| {
        let name = format!("RLMT_{}", limit.kind.as_str().to_ascii_uppercase());
        wire::r_limit_info::RLimit {
            r#type: Type::from_str_name(&name).map(Into::into),
            hard: limit.hard,
            soft: limit.soft,
        }
    };
    (!limits.is_empty()).then(|| wire::RLimitInfo {
        rlimits: limits.iter().map(limit).collect(),
    })
}

pub(super) fn capabilities(
    info: &wire::CapabilityInfo,
) -> Result<BTreeSet<LinuxCapability>, ConvertError> {
    let known = |number: &i32| {
        let number = Capability::try_from(*number).ok()? as i32 - FIRST_CAPABILITY;
        LinuxCapability::from_number(u8::try_from(number).ok()?)
    };
    info.capabilities
        .iter()
        .enumerate()
        .map(|(at, number)| {
            known(number).ok_or_else(|| {
                let path = format!("capabilities[{at}]");
                ConvertError::bad_value(path, number, "it is a capability of Linux")
            })
        })
        .collect()
}

pub(super) fn capabilities_to_wire(all: &BTreeSet<LinuxCapability>) -> wire::CapabilityInfo {
    wire::CapabilityInfo {
        capabilities: all
            .iter()
            .map(|one| i32::from(one.number()) + FIRST_CAPABILITY)
            .collect(),
    }
}
