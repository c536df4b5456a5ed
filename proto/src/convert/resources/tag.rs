//! What makes resources special, read and written: reservations in both forms of Mesos, volumes, revocable, shared.
//!
//! The older form says a role in `role`, and in `reservation` that it was reserved while the agent ran; it cannot say
//! refinements. The newer form says all of it in `reservations` and leaves the others unset; answers over HTTP say both, and
//! are read back as long as the two agree.

use mete_model::resources::{VOLUME_ID_RULE, is_volume_id};
use mete_model::{Reservation, ReservationKind, Role, Tag, Volume};

use super::super::task::{labels, labels_to_wire};
use super::{ConvertError, refuse};
use crate::convert::container::target;
use crate::convert::{Fault, Within as _};
use crate::mesos::v1 as wire;
use wire::resource::reservation_info::Type;
use wire::resource::{DiskInfo, ReservationInfo, RevocableInfo, SharedInfo, disk_info};

/// What is special about a resource; the default when nothing is.
pub(super) fn read(resource: &wire::Resource) -> Result<Tag, ConvertError> {
    refuse(
        resource.provider_id.is_some(),
        "provider_id",
        "resource providers are",
    )?;
    let tag = Tag {
        reservations: reservations(resource)?,
        revocable: resource.revocable.is_some(),
        shared: resource.shared.is_some(),
        volume: match &resource.disk {
            Some(disk) => volume(&resource.name, disk).within("disk")?,
            None => None,
        },
    };
    let bad = |path: &str, rule| Err(ConvertError::bad_value(path, &resource.name, rule));
    if tag.shared && tag.volume.is_none() {
        return bad("shared", "only volumes are shared");
    }
    if tag.volume.is_some() && tag.reservations.is_empty() {
        return bad("disk.persistence", "a volume is on reserved disk");
    }
    if tag.volume.is_some() && tag.revocable {
        return bad("disk.persistence", "a volume is not on revocable disk");
    }
    Ok(tag)
}

/// Writes what is special into a resource, in the newer form.
pub(super) fn write(tag: &Tag, resource: &mut wire::Resource) {
    resource.reservations = tag.reservations.iter().map(info).collect();
    resource.revocable = tag.revocable.then_some(RevocableInfo {});
    resource.shared = tag.shared.then_some(SharedInfo {});
    resource.disk = tag.volume.as_ref().map(disk).map(Box::new);
}

/// Turns the newer form into the older one. Refined reservations have none and stay as they are.
pub(super) fn write_older_form(resource: &mut wire::Resource) {
    if resource.reservations.len() > 1 {
        return;
    }
    let Some(mut reservation) = resource.reservations.pop() else {
        resource.role = Some("*".to_owned());
        return;
    };
    resource.role = reservation.role.take();
    if reservation.r#type.take() == Some(Type::Dynamic.into()) {
        resource.reservation = Some(reservation);
    }
}

fn reservations(resource: &wire::Resource) -> Result<Vec<Reservation>, ConvertError> {
    let older_role = resource.role.as_deref().filter(|role| *role != "*");
    if resource.reservations.is_empty() {
        let older = older_form(older_role, resource.reservation.as_ref())?;
        return Ok(older.into_iter().collect());
    }
    let each = resource.reservations.iter().enumerate();
    let stack = each.map(|(at, info)| newer_form(info).within(format_args!("reservations[{at}]")));
    let stack: Vec<Reservation> = stack.collect::<Result<_, _>>()?;
    agree(older_role, resource.reservation.as_ref(), &stack)?;
    checked("reservations", stack)
}

/// Whether what is said in the older form beside the newer one is the same.
fn agree(
    role: Option<&str>,
    info: Option<&ReservationInfo>,
    stack: &[Reservation],
) -> Result<(), ConvertError> {
    let (role_rule, info_rule) = match stack {
        [_] => (
            "it is not the role in 'reservations'",
            "it is not what stands in 'reservations'",
        ),
        _ => {
            let rule = "it is not set beside several 'reservations'";
            (rule, rule)
        }
    };
    let only = match stack {
        [only] => Some(only),
        _ => None,
    };
    if let Some(role) = role
        && only.is_none_or(|only| only.role.as_str() != role)
    {
        return Err(ConvertError::bad_value("role", role, role_rule));
    }
    let Some(info) = info else { return Ok(()) };
    let older = older_form(only.map(|only| only.role.as_str()), Some(info))?;
    match older.as_ref() == only {
        true => Ok(()),
        false => Err(ConvertError::bad_value("reservation", "a value", info_rule)),
    }
}

fn older_form(
    role: Option<&str>,
    info: Option<&ReservationInfo>,
) -> Result<Option<Reservation>, ConvertError> {
    let Some(text) = role else {
        return match info {
            None => Ok(None),
            Some(_) => Err(ConvertError::bad_value(
                "role",
                "\"*\"",
                "a reservation is for another role",
            )),
        };
    };
    let mut reservation = Reservation {
        role: parse_role(text)?,
        kind: ReservationKind::Static,
        principal: None,
        labels: Vec::new(),
    };
    if let Some(info) = info {
        for (set, path) in [
            (info.role.is_some(), "reservation.role"),
            (info.r#type.is_some(), "reservation.type"),
        ] {
            if set {
                let rule = "it is set in 'reservations' only";
                return Err(ConvertError::bad_value(path, "a value", rule));
            }
        }
        reservation.kind = ReservationKind::Dynamic;
        reservation.principal.clone_from(&info.principal);
        reservation.labels = labels(info.labels.as_ref());
    }
    Ok(Some(reservation))
}

fn newer_form(info: &ReservationInfo) -> Result<Reservation, ConvertError> {
    let number = info.r#type.ok_or_else(|| ConvertError::missing("type"))?;
    let kind = match Type::try_from(number) {
        Ok(Type::Static) => ReservationKind::Static,
        Ok(Type::Dynamic) => ReservationKind::Dynamic,
        Ok(Type::Unknown) | Err(_) => {
            let rule = "a reservation is STATIC or DYNAMIC";
            return Err(ConvertError::bad_value("type", number, rule));
        }
    };
    let role = info.role.as_deref();
    Ok(Reservation {
        role: parse_role(role.ok_or_else(|| ConvertError::missing("role"))?)?,
        kind,
        principal: info.principal.clone(),
        labels: labels(info.labels.as_ref()),
    })
}

fn checked(path: &str, stack: Vec<Reservation>) -> Result<Vec<Reservation>, ConvertError> {
    let tag = Tag {
        reservations: stack,
        ..Tag::default()
    };
    tag.check_stack().map_err(|bad| ConvertError {
        path: path.to_owned(),
        fault: Fault::BadStack(bad),
    })?;
    Ok(tag.reservations)
}

fn parse_role(text: &str) -> Result<Role, ConvertError> {
    Role::new(text).map_err(|bad| ConvertError {
        path: "role".to_owned(),
        fault: Fault::BadRole(bad),
    })
}

fn info(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => Type::Static,
        ReservationKind::Dynamic => Type::Dynamic,
    };
    ReservationInfo {
        principal: reservation.principal.clone(),
        labels: labels_to_wire(&reservation.labels),
        role: Some(reservation.role.as_str().to_owned()),
        r#type: Some(kind.into()),
    }
}

/// A volume, or plain disk of the agent's own.
fn volume(name: &str, info: &DiskInfo) -> Result<Option<Volume>, ConvertError> {
    refuse(
        info.source.is_some(),
        "source",
        "disks other than the agent's own (PATH, MOUNT, BLOCK, RAW) are",
    )?;
    let Some(persistence) = &info.persistence else {
        refuse(
            info.volume.is_some(),
            "volume",
            "volumes that end with their task are",
        )?;
        return Ok(None);
    };
    if name != "disk" {
        let rule = "volumes are of the resource 'disk'";
        return Err(ConvertError::bad_value("persistence", name, rule));
    }
    let id = persistence.id.as_str();
    if !is_volume_id(id) {
        let shown = format_args!("{id:?}");
        return Err(ConvertError::bad_value(
            "persistence.id",
            shown,
            VOLUME_ID_RULE,
        ));
    }
    let volume = info
        .volume
        .as_ref()
        .ok_or_else(|| ConvertError::missing("volume"))?;
    refuse(
        volume.host_path.is_some(),
        "volume.host_path",
        "volumes elsewhere on the host are",
    )?;
    refuse(volume.image.is_some(), "volume.image", "images are")?;
    refuse(
        volume.source.is_some(),
        "volume.source",
        "volumes of other sources are",
    )?;
    if volume.container_path.is_empty() {
        return Err(ConvertError::missing("volume.container_path"));
    }
    let place = target("volume.container_path", &volume.container_path)?;
    Ok(Some(Volume {
        id: id.to_owned(),
        container_path: place,
        read_only: volume.mode() == wire::volume::Mode::Ro,
        principal: persistence.principal.clone(),
    }))
}

fn disk(volume: &Volume) -> DiskInfo {
    let mode = if volume.read_only {
        wire::volume::Mode::Ro
    } else {
        wire::volume::Mode::Rw
    };
    let mut written = wire::Volume {
        container_path: volume.container_path.clone(),
        ..wire::Volume::default()
    };
    written.set_mode(mode);
    DiskInfo {
        persistence: Some(disk_info::Persistence {
            id: volume.id.clone(),
            principal: volume.principal.clone(),
        }),
        volume: Some(written),
        source: None,
    }
}
