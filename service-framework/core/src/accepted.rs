//! What of an offer an app takes: what is reserved for its role, and what is nobody's, as its `acceptedResourceRoles` say.
//! No instance takes of both. What bears labels is kept for something else, and volumes are nobody's to take.

use mete_model::{Offer, Resources, Role, Tag};
use mete_placement::{Matched, Placed, Policy, Waiting, match_tasks};

/// Of what the instances of an app may be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// Of what is reserved for its role; looked at first, as in Marathon.
    pub(crate) reserved: bool,
    /// Of what is nobody's.
    pub(crate) unreserved: bool,
}

/// Lays what waits onto offers. Each placement takes resources as they are offered: all of them reserved, or none.
pub(crate) fn lay(
    mut waiting: Vec<Waiting>,
    accepts: &[Accepts],
    offers: &[Offer],
    policy: Policy,
    seed: u64,
) -> Matched {
    let first = reserved_first(&mut waiting, accepts, offers, policy, seed);
    let unreserved = accepts.iter().zip(&mut waiting);
    for (_, shape) in unreserved.filter(|(accepts, _)| !accepts.unreserved) {
        shape.count = 0;
    }
    let mut matched = match_tasks(&waiting, offers, policy, seed);
    let Some(first) = first else { return matched };
    let only = |shape: usize| !accepts[shape].unreserved;
    for (shape, missing) in matched.missing.iter_mut().enumerate() {
        *missing += first.missing[shape] * u32::from(only(shape));
    }
    let of_only = first.rejections.into_iter();
    let of_only = of_only.filter(|rejection| only(rejection.waiting));
    matched.rejections.extend(of_only);
    matched.launches.splice(0..0, first.launches);
    matched
}

/// What finds its place on what is reserved; it counts in `waiting` no more, and constraints know where it is. `None` when
/// there is nothing of the kind, and nobody who takes nothing else.
fn reserved_first(
    waiting: &mut [Waiting],
    accepts: &[Accepts],
    offers: &[Offer],
    policy: Policy,
    seed: u64,
) -> Option<Matched> {
    let mut left: Vec<Resources> = offers.iter().map(reserved).collect();
    let is_there = left.iter().any(Resources::has_parts) && accepts.iter().any(|one| one.reserved);
    if !is_there && accepts.iter().all(|one| one.unreserved) {
        return None;
    }
    let flat = offers.iter().zip(&left).map(|(offer, reserved)| Offer {
        resources: reserved.flat().into_owned(),
        ..offer.clone()
    });
    let flat: Vec<Offer> = flat.collect();
    let shapes = waiting.iter().zip(accepts);
    let shapes = shapes.map(|(shape, accepts)| Waiting {
        count: shape.count * u32::from(accepts.reserved || !accepts.unreserved),
        ..shape.clone()
    });
    let shapes: Vec<Waiting> = shapes.collect();
    let mut matched = match_tasks(&shapes, &flat, policy, seed);
    for launch in &mut matched.launches {
        launch.resources = draw(&mut left[launch.offer], &launch.resources);
        let shape = &mut waiting[launch.waiting];
        shape.count -= 1;
        if !shape.constraints.is_empty() {
            shape.placed.push(placed(&offers[launch.offer]));
        }
    }
    Some(matched)
}

/// What of an offer is reserved for the role it is made in, and kept for nothing of its own.
fn reserved(offer: &Offer) -> Resources {
    let mut all = Resources::none();
    let open = offer.resources.parts();
    for (tag, part) in open.filter(|(tag, _)| is_open(tag, &offer.role)) {
        all.add_part((*tag).clone(), part.clone());
    }
    all
}

fn is_open(tag: &Tag, role: &Role) -> bool {
    let is_special = tag.revocable || tag.shared || tag.volume.is_some();
    tag.role() == Some(role) && !tag.is_labelled() && !is_special
}

/// Takes so much out of what is there, whatever it is reserved as; at most what is there.
pub(crate) fn draw(left: &mut Resources, asked: &Resources) -> Resources {
    let (mut missing, mut drawn) = (asked.clone(), Resources::none());
    for (tag, part) in left.clone().parts() {
        let rest = part.minus_at_most(&missing);
        let taken = part.minus(&rest).unwrap_or_default();
        missing.take_at_most(&taken);
        drawn.add_part((*tag).clone(), taken);
    }
    left.take_at_most(&drawn);
    drawn
}

fn placed(offer: &Offer) -> Placed {
    Placed {
        hostname: offer.endpoint.hostname.clone(),
        domain: offer.domain.clone(),
        attributes: offer.attributes.clone(),
    }
}
