//! RESERVE, UNRESERVE, CREATE, DESTROY: what turns into what, and whether that may be (rules as in Mesos'
//! `validation.cpp`).
//!
//! ```text
//! plain ──RESERVE──▶ reserved ──RESERVE──▶ refined        disk, reserved ──CREATE──▶ volume
//!       ◀─UNRESERVE─          ◀─UNRESERVE─                              ◀─DESTROY─
//! ```
//! An operation is done altogether or not at all. It changes no quantity, only for whom it is and what it is kept as.

use std::collections::BTreeSet;

use mete_model::resources::devices::WHOLE_DEVICE;
use mete_model::{Capability, ReservationKind, Resources, Role, Tag, Volume, VolumeName};

use crate::state::erasures::MAX_ERASURES;

/// What an operation does to offered resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Keep for a role.
    Reserve,
    /// Take the last reservation away.
    Unreserve,
    /// Make volumes.
    Create,
    /// Destroy volumes, with what is on them.
    Destroy,
}

impl OperationKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "RESERVE",
            Self::Unreserve => "UNRESERVE",
            Self::Create => "CREATE",
            Self::Destroy => "DESTROY",
        }
    }
}

/// `from` becomes `to`; both have the same quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Resources,
    pub(crate) to: Resources,
}

/// Who operates, and on what.
pub(crate) struct Operator<'a> {
    /// What the offers hold by now.
    pub(crate) pool: &'a Resources,
    /// What the agent has, so that volumes have names of their own.
    pub(crate) total: &'a Resources,
    /// In which role the offers are.
    pub(crate) role: &'a Role,
    /// Who the framework is.
    pub(crate) principal: Option<&'a str>,
    pub(crate) capabilities: &'a BTreeSet<Capability>,
    /// Shared volumes that tasks or other offers hold.
    pub(crate) in_use: &'a BTreeSet<Tag>,
    /// Destroyed volumes that the agent has not erased yet.
    pub(crate) erasing: &'a BTreeSet<VolumeName>,
}

/// Why an operation is not done. The framework gets the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OperationError {
    #[error("it names no resources")]
    Nothing,
    #[error("{0} has no reservation")]
    Unreserved(Resources),
    #[error("reservation for role {0} is static; only dynamic ones come and go")]
    Static(Role),
    #[error("reservation for role {named} by a framework that was offered them in role {offered}")]
    OtherRole { named: Role, offered: Role },
    #[error("principal {named:?} is not that of the framework, {own:?}")]
    OtherPrincipal { named: String, own: Option<String> },
    #[error("revocable resources cannot be reserved: {0}")]
    Revocable(Resources),
    #[error("GPUs are reserved whole, not {0}")]
    PartOfGpu(Resources),
    #[error("volume {0} is on them; it has to be destroyed first")]
    HasVolume(String),
    #[error("{0} is no volume")]
    NoVolume(Resources),
    #[error("volume {0} is created to be read only")]
    ReadOnly(String),
    #[error("volume {id} for role {role} exists on this agent")]
    VolumeExists { id: String, role: Role },
    #[error("a volume {0} was destroyed on this agent and is not erased yet")]
    BeingErased(VolumeName),
    #[error("{MAX_ERASURES} volumes of this agent are being erased already")]
    TooManyErasures,
    #[error("a shared volume needs the capability SHARED_RESOURCES")]
    CannotShare,
    #[error("volume {0} is in use by a task or in another offer")]
    InUse(String),
    #[error("the offers do not hold it: {}", .0.join(", "))]
    NotThere(Vec<String>),
}

/// What an operation on `asked` changes; `asked` says what is to be reserved and created, or what is not to be any more.
pub(crate) fn change(
    kind: OperationKind,
    asked: &Resources,
    operator: &Operator<'_>,
) -> Result<Change, OperationError> {
    if asked.is_empty() {
        return Err(OperationError::Nothing);
    }
    let plain = asked.plain();
    if !plain.is_empty() {
        return Err(match kind {
            OperationKind::Reserve | OperationKind::Unreserve => OperationError::Unreserved(plain),
            OperationKind::Create | OperationKind::Destroy => OperationError::NoVolume(plain),
        });
    }
    let mut left = operator.pool.clone();
    let mut ids = volumes(operator.total);
    let mut change = Change::default();
    for (tag, part) in asked.parts() {
        let (from, to) = match kind {
            OperationKind::Reserve => (reserve(tag, part, operator)?, Tag::clone(tag)),
            OperationKind::Unreserve => (Tag::clone(tag), unreserve(tag, part)?),
            OperationKind::Create => (create(tag, part, operator, &mut ids)?, Tag::clone(tag)),
            OperationKind::Destroy => (Tag::clone(tag), destroy(tag, part, operator)?),
        };
        let (from, to) = take(&mut left, from, to, part)?;
        change.from.add(&from);
        change.to.add(&to);
    }
    Ok(change)
}

/// The tag of which a reservation is to be made.
fn reserve(tag: &Tag, part: &Resources, by: &Operator<'_>) -> Result<Tag, OperationError> {
    let mut from = tag.clone();
    let Some(reservation) = from.reservations.pop() else {
        return Err(OperationError::Unreserved(part.clone()));
    };
    if let Some(volume) = &tag.volume {
        return Err(OperationError::HasVolume(volume.id.clone()));
    }
    if tag.revocable {
        return Err(OperationError::Revocable(part.clone()));
    }
    if !part.gpus_milli.is_multiple_of(u64::from(WHOLE_DEVICE)) {
        return Err(OperationError::PartOfGpu(part.clone()));
    }
    if reservation.kind == ReservationKind::Static {
        return Err(OperationError::Static(reservation.role));
    }
    if reservation.role != *by.role {
        return Err(OperationError::OtherRole {
            named: reservation.role,
            offered: by.role.clone(),
        });
    }
    is_own_principal(reservation.principal.as_deref(), by)?;
    Ok(from)
}

/// The tag that is left when the last reservation ends.
fn unreserve(tag: &Tag, part: &Resources) -> Result<Tag, OperationError> {
    let mut to = tag.clone();
    let Some(reservation) = to.reservations.pop() else {
        return Err(OperationError::Unreserved(part.clone()));
    };
    if let Some(volume) = &tag.volume {
        return Err(OperationError::HasVolume(volume.id.clone()));
    }
    if reservation.kind == ReservationKind::Static {
        return Err(OperationError::Static(reservation.role));
    }
    Ok(to)
}

/// The tag of the disk that a volume is made of.
fn create(
    tag: &Tag,
    part: &Resources,
    by: &Operator<'_>,
    ids: &mut BTreeSet<(Option<Role>, String)>,
) -> Result<Tag, OperationError> {
    let Some(volume) = &tag.volume else {
        return Err(OperationError::NoVolume(part.clone()));
    };
    let Some(role) = tag.role() else {
        return Err(OperationError::Unreserved(part.clone()));
    };
    if volume.read_only {
        return Err(OperationError::ReadOnly(volume.id.clone()));
    }
    if tag.shared && !by.capabilities.contains(&Capability::SharedResources) {
        return Err(OperationError::CannotShare);
    }
    is_own_principal(volume.principal.as_deref(), by)?;
    if let Some(name) = tag.volume_name().filter(|name| by.erasing.contains(name)) {
        return Err(OperationError::BeingErased(name));
    }
    if !ids.insert((Some(role.clone()), volume.id.clone())) {
        return Err(OperationError::VolumeExists {
            id: volume.id.clone(),
            role: role.clone(),
        });
    }
    Ok(without_volume(tag))
}

/// The tag of the disk that is left of a volume.
fn destroy(tag: &Tag, part: &Resources, by: &Operator<'_>) -> Result<Tag, OperationError> {
    let Some(Volume { id, .. }) = &tag.volume else {
        return Err(OperationError::NoVolume(part.clone()));
    };
    if by.in_use.contains(tag) {
        return Err(OperationError::InUse(id.clone()));
    }
    if by.erasing.len() >= MAX_ERASURES {
        return Err(OperationError::TooManyErasures);
    }
    Ok(without_volume(tag))
}

fn without_volume(tag: &Tag) -> Tag {
    Tag {
        shared: false,
        volume: None,
        ..tag.clone()
    }
}

/// Takes a part out of what is left, and says in which form it was and will be; GPUs on the devices that are there.
fn take(
    left: &mut Resources,
    from: Tag,
    to: Tag,
    part: &Resources,
) -> Result<(Resources, Resources), OperationError> {
    let asked = Resources::none().with_part(from.clone(), part.clone());
    let taken = left.pin(&asked).filter(|taken| left.contains(taken));
    let Some(taken) = taken else {
        return Err(OperationError::NotThere(left.shortages(&asked)));
    };
    *left = left.minus_at_most(&taken);
    // A plain tag adds to what is plain.
    let part = taken.part(&from).cloned();
    let part = part.unwrap_or_else(|| taken.plain());
    Ok((taken, Resources::none().with_part(to, part)))
}

fn is_own_principal(named: Option<&str>, by: &Operator<'_>) -> Result<(), OperationError> {
    match named {
        Some(named) if by.principal != Some(named) => Err(OperationError::OtherPrincipal {
            named: named.to_owned(),
            own: by.principal.map(str::to_owned),
        }),
        Some(_) | None => Ok(()),
    }
}

/// The volumes there are, by role and id.
fn volumes(total: &Resources) -> BTreeSet<(Option<Role>, String)> {
    let named = total.parts().filter_map(|(tag, _)| {
        let volume = tag.volume.as_ref()?;
        Some((tag.role().cloned(), volume.id.clone()))
    });
    named.collect()
}
