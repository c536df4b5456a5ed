//! RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME: what turns into what, and whether that may be (rules as
//! in Mesos' `validation.cpp`).
//!
//! ```text
//! plain ──RESERVE──▶ reserved ──RESERVE──▶ refined        disk, reserved ──CREATE──▶ volume
//!       ◀─UNRESERVE─          ◀─UNRESERVE─                              ◀─DESTROY─
//! ```
//! A volume grows by such disk, and gives some of it back when it shrinks. An operation is done altogether or not at all. It
//! changes no quantity, only for whom it is and what it is kept as.

mod resize; // volumes of another size

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
    /// Make a volume larger.
    Grow,
    /// Make a volume smaller.
    Shrink {
        /// By so many thousandths of a MB.
        by_milli: u64,
    },
}

impl OperationKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "RESERVE",
            Self::Unreserve => "UNRESERVE",
            Self::Create => "CREATE",
            Self::Destroy => "DESTROY",
            Self::Grow => "GROW_VOLUME",
            Self::Shrink { .. } => "SHRINK_VOLUME",
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
    /// What the offers hold by now, or what is free.
    pub(crate) pool: &'a Resources,
    /// What the agent has, so that volumes have names of their own.
    pub(crate) total: &'a Resources,
    pub(crate) who: Who<'a>,
    /// Shared volumes that tasks or other offers hold.
    pub(crate) in_use: &'a BTreeSet<Tag>,
    /// Destroyed volumes that the agent has not erased yet.
    pub(crate) erasing: &'a BTreeSet<VolumeName>,
}

/// On whose word.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    /// A framework's.
    Framework {
        /// In which role the offers are.
        role: &'a Role,
        /// Who the framework is.
        principal: Option<&'a str>,
        capabilities: &'a BTreeSet<Capability>,
    },
    /// That of people, who act for any role and name whom they like.
    People,
}

/// Why an operation is not done. Whoever wanted it gets the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// No resources are named.
    #[error("it names no resources")]
    Nothing,
    /// They are for everybody.
    #[error("{0} has no reservation")]
    Unreserved(Resources),
    /// The agent was started with it.
    #[error("reservation for role {0} is static; only dynamic ones come and go")]
    Static(Role),
    /// A framework acts for the role in which it was offered the resources.
    #[error("reservation for role {named} by a framework that was offered them in role {offered}")]
    OtherRole {
        /// Of the reservation.
        named: Role,
        /// Of the offers.
        offered: Role,
    },
    /// A framework names nobody but itself.
    #[error("principal {named:?} is not that of the framework, {}", own.as_deref().unwrap_or("which has none"))]
    OtherPrincipal {
        /// In the order.
        named: String,
        /// Its own.
        own: Option<String>,
    },
    /// They may be taken back at any time.
    #[error("revocable resources cannot be reserved: {0}")]
    Revocable(Resources),
    /// Devices are reserved whole.
    #[error("GPUs are reserved whole, not {0}")]
    PartOfGpu(Resources),
    /// A volume is on them.
    #[error("volume {0} is on them; it has to be destroyed first")]
    HasVolume(String),
    /// They are no volume.
    #[error("{0} is no volume")]
    NoVolume(Resources),
    /// Sizes are changed one by one.
    #[error("{0} are several volumes; one at a time changes its size")]
    ManyVolumes(Resources),
    /// Somebody may be using it.
    #[error("volume {0} is shared; its size does not change")]
    SharedSize(String),
    /// It grows by what it is made of.
    #[error(
        "volume {id} cannot grow by \"{addition}\": that is not disk, reserved as the volume is"
    )]
    CannotGrow {
        /// Of the volume.
        id: String,
        /// What was to be added.
        addition: Resources,
    },
    /// Something has to go, and something has to stay.
    #[error(
        "volume {id} of {} MB cannot shrink by {} MB: something has to go, and something to stay",
        *size_milli as f64 / 1e3, *by_milli as f64 / 1e3
    )]
    CannotShrink {
        /// Of the volume.
        id: String,
        /// How large it is, in thousandths of a MB.
        size_milli: u64,
        /// What was to be taken away, in the same.
        by_milli: u64,
    },
    /// Nobody could write to it.
    #[error("volume {0} is created to be read only")]
    ReadOnly(String),
    /// Volumes of a role have names of their own.
    #[error("volume {id} for role {role} exists on this agent")]
    VolumeExists {
        /// Of the volume.
        id: String,
        /// Whose.
        role: Role,
    },
    /// Of the same name.
    #[error("a volume {0} was destroyed on this agent and is not erased yet")]
    BeingErased(VolumeName),
    /// The agent has enough to do.
    #[error("{MAX_ERASURES} volumes of this agent are being erased already")]
    TooManyErasures,
    /// The framework does not know what that is.
    #[error("a shared volume needs the capability SHARED_RESOURCES")]
    CannotShare,
    /// Somebody holds it.
    #[error("volume {0} is in use by a task or in another offer")]
    InUse(String),
    /// Less than that is there; what is missing.
    #[error("it is not there: {}", .0.join(", "))]
    NotThere(Vec<String>),
}

impl OperationError {
    /// Whether the order makes no sense on any agent, whatever is there.
    pub const fn is_about_the_order(&self) -> bool {
        match self {
            Self::Nothing
            | Self::Unreserved(_)
            | Self::Static(_)
            | Self::OtherRole { .. }
            | Self::OtherPrincipal { .. }
            | Self::Revocable(_)
            | Self::PartOfGpu(_)
            | Self::HasVolume(_)
            | Self::NoVolume(_)
            | Self::ManyVolumes(_)
            | Self::SharedSize(_)
            | Self::CannotGrow { .. }
            | Self::CannotShrink { .. }
            | Self::ReadOnly(_)
            | Self::CannotShare => true,
            Self::VolumeExists { .. }
            | Self::BeingErased(_)
            | Self::TooManyErasures
            | Self::InUse(_)
            | Self::NotThere(_) => false,
        }
    }
}

/// What an operation on `asked` changes; `asked` says what is to be reserved and created, or what is not to be any more: for
/// GROW_VOLUME the volume and what is added to it.
pub(crate) fn change(
    kind: OperationKind,
    asked: &Resources,
    operator: &Operator<'_>,
) -> Result<Change, OperationError> {
    use OperationError::{NoVolume, Unreserved};
    if asked.is_empty() {
        return Err(OperationError::Nothing);
    }
    match kind {
        OperationKind::Reserve => retag(asked, operator, Unreserved, |tag, part| {
            Ok((reserve(tag, part, operator)?, tag.clone()))
        }),
        OperationKind::Unreserve => retag(asked, operator, Unreserved, |tag, part| {
            Ok((tag.clone(), unreserve(tag, part)?))
        }),
        OperationKind::Create => {
            let mut ids = volumes(operator.total);
            retag(asked, operator, NoVolume, |tag, part| {
                Ok((create(tag, part, operator, &mut ids)?, tag.clone()))
            })
        }
        OperationKind::Destroy => retag(asked, operator, NoVolume, |tag, part| {
            Ok((tag.clone(), destroy(tag, part, operator)?))
        }),
        OperationKind::Grow => resize::grow(asked, operator),
        OperationKind::Shrink { by_milli } => resize::shrink(asked, by_milli, operator),
    }
}

/// Each part as it was and as it will be, by what `turn` says of its tag. What is plain cannot be meant.
fn retag(
    asked: &Resources,
    operator: &Operator<'_>,
    is_plain: fn(Resources) -> OperationError,
    mut turn: impl FnMut(&Tag, &Resources) -> Result<(Tag, Tag), OperationError>,
) -> Result<Change, OperationError> {
    let plain = asked.plain();
    if !plain.is_empty() {
        return Err(is_plain(plain));
    }
    let mut left = operator.pool.clone();
    let mut change = Change::default();
    for (tag, part) in asked.parts() {
        let (from, to) = turn(tag, part)?;
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
    match by.who {
        Who::Framework { role, .. } if reservation.role != *role => {
            return Err(OperationError::OtherRole {
                named: reservation.role,
                offered: role.clone(),
            });
        }
        Who::Framework { .. } | Who::People => {}
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
    if tag.shared && !by.who.can(Capability::SharedResources) {
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
    match (named, by.who) {
        (Some(named), Who::Framework { principal, .. }) if principal != Some(named) => {
            Err(OperationError::OtherPrincipal {
                named: named.to_owned(),
                own: principal.map(str::to_owned),
            })
        }
        (Some(_) | None, Who::Framework { .. } | Who::People) => Ok(()),
    }
}

impl Who<'_> {
    fn can(&self, capability: Capability) -> bool {
        match self {
            Self::Framework { capabilities, .. } => capabilities.contains(&capability),
            Self::People => true,
        }
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
