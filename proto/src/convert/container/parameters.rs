//! Docker's command line, as far as it says something about a container here.

use mete_model::container::{Mount, MountSource, Rlimit, RlimitKind};
use mete_model::{ContainerSpec, LinuxCapability};

use super::{hostname, named, volumes};
use crate::convert::ConvertError;
use crate::mesos::v1 as wire;

/// What one parameter says.
pub(super) fn read(
    spec: &mut ContainerSpec,
    parameter: &wire::Parameter,
) -> Result<(), ConvertError> {
    let value = parameter.value.as_str();
    let isolation = &mut spec.isolation;
    match parameter.key.as_str() {
        "cap-add" => isolation.add.extend(capabilities(value)?),
        "cap-drop" => isolation.drop.extend(capabilities(value)?),
        "cpus" => isolation.cpu_limit_milli = Some(thousandths(value)?),
        "group-add" => groups(spec, value)?,
        "hostname" => spec.hostname = Some(hostname("value", value)?),
        // For people who look at a Docker daemon; there is none, and the output is in the sandbox.
        "label" | "log-driver" | "log-opt" => {}
        // The first process of a container reaps what is left behind, asked or not.
        "init" => drop(truth(value)?),
        // What a task may swap at most, and how eagerly: none does.
        "memory-swap" => most(value)?,
        "memory-swappiness" => most(value)?,
        // `mem` of the task is what it is sure of.
        "memory-reservation" => drop(bytes(value)?),
        "oom-kill-disable" if truth(value)? => {
            return Err(bad(
                value,
                "a task that has no memory left is always killed",
            ));
        }
        "oom-kill-disable" => {}
        "pids-limit" => isolation.max_pids = Some(positive(value)?),
        "read-only" => isolation.read_only_root = truth(value)?,
        "security-opt" => security(spec, value)?,
        "shm-size" => isolation.shm_bytes = Some(bytes(value)?),
        "tmpfs" => spec.mounts.push(tmpfs(value)?),
        "ulimit" => isolation.rlimits.push(ulimit(value)?),
        "v" | "volume" => spec.mounts.push(volume(value)?),
        "user" => spec.user = Some(named("value", value)?),
        "workdir" => spec.working_dir = Some(volumes::target("value", value)?),
        key => {
            let rule = "known are cap-add, cap-drop, cpus, group-add, hostname, init, label, log-driver, log-opt, memory-reservation, \
                        memory-swap, memory-swappiness, oom-kill-disable, pids-limit, read-only, security-opt, shm-size, \
                        tmpfs, ulimit, user, volume, workdir";
            return Err(ConvertError::bad_value(
                "key",
                format_args!("{key:?}"),
                rule,
            ));
        }
    }
    Ok(())
}

/// Whatever of a container has no words but these.
pub(super) fn write(spec: &ContainerSpec) -> Vec<wire::Parameter> {
    let mut all = Vec::new();
    let mut say = |key: &str, value: String| {
        all.push(wire::Parameter {
            key: key.to_owned(),
            value,
        });
    };
    let isolation = &spec.isolation;
    for one in &isolation.add {
        say("cap-add", one.to_string());
    }
    for one in &isolation.drop {
        say("cap-drop", one.to_string());
    }
    if let Some(milli) = isolation.cpu_limit_milli {
        say("cpus", format!("{}.{:03}", milli / 1_000, milli % 1_000));
    }
    for group in &spec.groups {
        say("group-add", group.clone());
    }
    if let Some(count) = isolation.max_pids {
        say("pids-limit", count.to_string());
    }
    if isolation.read_only_root {
        say("read-only", "true".to_owned());
    }
    if isolation.privileged && isolation.no_new_privileges {
        say("security-opt", "no-new-privileges".to_owned());
    }
    if !isolation.privileged && !isolation.no_new_privileges {
        say("security-opt", "no-new-privileges:false".to_owned());
    }
    if let Some(bytes) = isolation.shm_bytes {
        say("shm-size", bytes.to_string());
    }
    for mount in &spec.mounts {
        if let MountSource::Tmpfs { size_bytes } = mount.source {
            let mode = if mount.read_only { "ro" } else { "rw" };
            let size = size_bytes.map_or_else(String::new, |bytes| format!(",size={bytes}"));
            say("tmpfs", format!("{}:{mode}{size}", mount.target));
        }
    }
    if let Some(user) = &spec.user {
        say("user", user.clone());
    }
    if let Some(path) = &spec.working_dir {
        say("workdir", path.clone());
    }
    all
}

/// Most groups that are added: the kernel takes 65,536, a login has some.
const MAX_GROUPS: usize = 100;

fn groups(spec: &mut ContainerSpec, value: &str) -> Result<(), ConvertError> {
    if spec.groups.len() == MAX_GROUPS {
        return Err(bad(value, "at most 100 groups are added"));
    }
    spec.groups.push(named("value", value)?);
    Ok(())
}

/// The value breaks `rule`.
fn bad(value: &str, rule: &'static str) -> ConvertError {
    ConvertError::bad_value("value", format_args!("{value:?}"), rule)
}

fn capabilities(value: &str) -> Result<Vec<LinuxCapability>, ConvertError> {
    if value.eq_ignore_ascii_case("all") {
        return Ok(LinuxCapability::all().collect());
    }
    let one = value
        .parse()
        .map_err(|_| bad(value, "it is a capability of Linux, or ALL"))?;
    Ok(vec![one])
}

fn positive(value: &str) -> Result<u64, ConvertError> {
    value
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| bad(value, "it is a whole number above zero"))
}

fn truth(value: &str) -> Result<bool, ConvertError> {
    match value {
        "true" | "" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(value, "it is true or false")),
    }
}

/// A decimal number with up to three places, in thousandths.
fn thousandths(value: &str) -> Result<u64, ConvertError> {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let milli = || {
        let whole: u64 = whole.parse().ok()?;
        let part: u64 = format!("{part:0<3}").parse().ok()?;
        whole.checked_mul(1_000)?.checked_add(part)
    };
    Some(())
        .filter(|()| part.len() <= 3 && digits(whole) && digits(part))
        .and_then(|()| milli())
        .filter(|milli| *milli > 0)
        .ok_or_else(|| bad(value, "it is a number above zero with up to three places"))
}

/// A number of bytes with Docker's letters.
fn bytes(value: &str) -> Result<u64, ConvertError> {
    let text = value.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(_) | None => (text, 0),
    };
    let bytes = number.parse::<u64>().ok();
    bytes
        .and_then(|bytes| bytes.checked_mul(1 << shift))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| bad(value, "it is a number of bytes, with k, m or g"))
}

fn security(spec: &mut ContainerSpec, value: &str) -> Result<(), ConvertError> {
    let isolation = &mut spec.isolation;
    match value.replace('=', ":").as_str() {
        "no-new-privileges" | "no-new-privileges:true" => isolation.no_new_privileges = true,
        "no-new-privileges:false" => isolation.no_new_privileges = false,
        "seccomp:unconfined" => isolation.seccomp = false,
        _ => {
            return Err(bad(
                value,
                "known are no-new-privileges and seccomp=unconfined",
            ));
        }
    }
    Ok(())
}

/// An upper bound that is always kept; -1 is none.
fn most(value: &str) -> Result<(), ConvertError> {
    match value {
        "-1" | "0" => Ok(()),
        value => bytes(value).map(drop),
    }
}

/// `/on/the/machine:/inside:ro`.
fn volume(value: &str) -> Result<Mount, ConvertError> {
    let rule = "it is a path of the machine and one inside, as in /srv/data:/data:ro";
    let mut parts = value.split(':');
    let (Some(path), Some(target)) = (parts.next(), parts.next()) else {
        return Err(bad(value, rule));
    };
    let read_only = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        (_, _) => return Err(bad(value, rule)),
    };
    if !path.starts_with('/') || !target.starts_with('/') || path.contains('\0') {
        return Err(bad(value, rule));
    }
    Ok(Mount {
        target: volumes::target("value", target)?,
        source: MountSource::Host(path.to_owned()),
        read_only,
    })
}

/// `/path`, `/path:size=64m,ro`.
fn tmpfs(value: &str) -> Result<Mount, ConvertError> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let mut mount = Mount {
        target: volumes::target("value", path)?,
        source: MountSource::Tmpfs { size_bytes: None },
        read_only: false,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => {
                mount.source = MountSource::Tmpfs {
                    size_bytes: Some(bytes(size)?),
                };
            }
            None if option == "ro" => mount.read_only = true,
            // Memory is never a place for devices and set-user-id programs.
            None if matches!(option, "rw" | "nodev" | "nosuid") => {}
            Some(_) | None => return Err(bad(value, "options of tmpfs are size=, ro, rw")),
        }
    }
    Ok(mount)
}

/// `nofile=1024:2048`, `nofile=1024`; -1 is no limit.
fn ulimit(value: &str) -> Result<Rlimit, ConvertError> {
    let rule = "it is a limit as in nofile=1024:2048";
    let (name, amounts) = value.split_once('=').ok_or_else(|| bad(value, rule))?;
    let (soft, hard) = amounts.split_once(':').unwrap_or((amounts, amounts));
    let amount = |text: &str| match text {
        "-1" => Ok(None),
        text => text.parse().map(Some).map_err(|_| bad(value, rule)),
    };
    let (soft, hard) = (amount(soft)?, amount(hard)?);
    if hard < soft || hard.is_some() != soft.is_some() {
        let rule = "the first limit is at most the second, or both are -1";
        return Err(bad(value, rule));
    }
    let kind = RlimitKind::from_name(name).ok_or_else(|| bad(value, rule))?;
    Ok(Rlimit { kind, soft, hard })
}
