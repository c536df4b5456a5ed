//! GROW_VOLUME and SHRINK_VOLUME: a volume takes up more of the disk it is made of, or gives some of it back. What is on it
//! stays.

use std::sync::Arc;

use mete_model::{Resources, Tag, Volume};

use super::{Change, OperationError, Operator, without_volume};

/// `asked` is one volume and what it is to grow by: disk that is reserved as the volume is.
pub(super) fn grow(asked: &Resources, by: &Operator<'_>) -> Result<Change, OperationError> {
    let (tag, volume, size) = one_volume(asked)?;
    let made_of = without_volume(tag);
    let addition = asked.minus_at_most(&only(tag, size));
    let disk = addition.part(&made_of).map_or(0, |part| part.disk_milli);
    if disk == 0 || addition != only(&Arc::new(made_of), &of_disk(disk)) {
        return Err(OperationError::CannotGrow {
            id: volume.id.clone(),
            addition,
        });
    }
    change(asked, only(tag, &size.plus(&of_disk(disk))), by)
}

/// `asked` is one volume.
pub(super) fn shrink(
    asked: &Resources,
    by_milli: u64,
    by: &Operator<'_>,
) -> Result<Change, OperationError> {
    let (tag, volume, size) = one_volume(asked)?;
    let rest = asked.minus_at_most(&only(tag, size));
    if !rest.is_empty() {
        return Err(OperationError::NoVolume(rest));
    }
    let left = size.disk_milli.checked_sub(by_milli);
    match left.filter(|left| by_milli > 0 && *left > 0) {
        Some(left) => {
            let freed = Resources::none().with_part(without_volume(tag), of_disk(by_milli));
            change(asked, only(tag, &of_disk(left)).plus(&freed), by)
        }
        None => Err(OperationError::CannotShrink {
            id: volume.id.clone(),
            size_milli: size.disk_milli,
            by_milli,
        }),
    }
}

/// The volume that is named.
fn one_volume(asked: &Resources) -> Result<(&Arc<Tag>, &Volume, &Resources), OperationError> {
    let named = asked.parts().filter_map(|(tag, size)| {
        let volume = tag.volume.as_ref()?;
        Some((tag, volume, size))
    });
    let named: Vec<_> = named.collect();
    match named[..] {
        [] => Err(OperationError::NoVolume(asked.clone())),
        [(tag, volume, _)] if tag.shared => Err(OperationError::SharedSize(volume.id.clone())),
        [one] => Ok(one),
        [_, _, ..] => Err(OperationError::ManyVolumes(asked.clone())),
    }
}

/// When all of it is there.
fn change(from: &Resources, to: Resources, by: &Operator<'_>) -> Result<Change, OperationError> {
    if !by.pool.contains(from) {
        return Err(OperationError::NotThere(by.pool.shortages(from)));
    }
    Ok(Change {
        from: from.clone(),
        to,
    })
}

fn only(tag: &Arc<Tag>, part: &Resources) -> Resources {
    Resources::none().with_part(Arc::clone(tag), part.clone())
}

fn of_disk(milli: u64) -> Resources {
    let mut disk = Resources::none();
    disk.disk_milli = milli;
    disk
}
