//! What of an offer an app takes: what is reserved for its role, and what is nobody's, as its `acceptedResourceRoles` say.
//! Who takes both takes of each resource what is reserved first, and the rest of what is nobody's (as Marathon does). What
//! bears labels is kept for something else, and volumes are nobody's to take.

use mete_model::{Offer, Resources, Role, Tag};
use mete_placement::{Matched, Placed, Policy, Waiting, match_tasks};

/// Of what the instances of an app may be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// Of what is reserved for its role.
    pub(crate) reserved: bool,
    /// Of what is nobody's.
    pub(crate) unreserved: bool,
}

/// What an app takes of, which decides which part of an offer its instances are matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Reserved,
    /// Reserved first, and what is missing of each resource of what is nobody's.
    Both,
    Unreserved,
}

/// Lays what waits onto offers. Each placement takes resources as they are offered.
pub(crate) fn lay(
    mut waiting: Vec<Waiting>,
    accepts: &[Accepts],
    offers: &[Offer],
    policy: Policy,
    seed: u64,
) -> Matched {
    let is_reserved = offers.iter().any(|offer| reserved(offer).has_parts());
    let part = |accepts: &Accepts| match (accepts.reserved, accepts.unreserved) {
        (_, false) => Part::Reserved,
        (true, true) if is_reserved => Part::Both,
        (true | false, true) => Part::Unreserved,
    };
    let parts: Vec<Part> = accepts.iter().map(part).collect();
    if parts.iter().all(|part| *part == Part::Unreserved) {
        return match_tasks(&waiting, offers, policy, seed);
    }
    let mut left: Vec<Resources> = offers.iter().map(open).collect();
    let mut all = Matched {
        missing: vec![0; waiting.len()],
        ..Matched::default()
    };
    for part in [Part::Reserved, Part::Both, Part::Unreserved] {
        let is_its = |at: usize| parts[at] == part;
        if !(0..waiting.len()).any(is_its) {
            continue;
        }
        let shown = offers.iter().zip(&left);
        let shown: Vec<Offer> = shown
            .map(|(offer, left)| shown_of(offer, left, part))
            .collect();
        let its = waiting.iter().enumerate().map(|(at, shape)| Waiting {
            count: shape.count * u32::from(is_its(at)),
            ..shape.clone()
        });
        let its: Vec<Waiting> = its.collect();
        let mut matched = match_tasks(&its, &shown, policy, seed);
        for launch in &mut matched.launches {
            launch.resources = take(&mut left[launch.offer], &launch.resources, part);
            let shape = &mut waiting[launch.waiting];
            if !shape.constraints.is_empty() {
                shape.placed.push(placed(&offers[launch.offer]));
            }
        }
        for at in (0..its.len()).filter(|at| is_its(*at)) {
            all.missing[at] = matched.missing[at];
        }
        let rejections = matched.rejections.into_iter();
        all.rejections
            .extend(rejections.filter(|one| is_its(one.waiting)));
        all.launches.append(&mut matched.launches);
    }
    all
}

/// What is anybody's of an offer, and what is reserved for the role it is made in.
fn open(offer: &Offer) -> Resources {
    offer.resources.plain().plus(&reserved(offer))
}

/// The offer as the matcher is to see it.
fn shown_of(offer: &Offer, left: &Resources, part: Part) -> Offer {
    let resources = match part {
        Part::Reserved => left.minus_at_most(&left.plain()).flat().into_owned(),
        Part::Both => left.flat().into_owned(),
        Part::Unreserved => left.plain(),
    };
    Offer {
        resources,
        ..offer.clone()
    }
}

/// So much of what is left, as it is offered.
fn take(left: &mut Resources, asked: &Resources, part: Part) -> Resources {
    match part {
        Part::Reserved | Part::Both => draw(left, asked),
        Part::Unreserved => {
            left.take_at_most(asked);
            asked.clone()
        }
    }
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
    tag.role().is_some() && tag.is_for(role) && !tag.is_labelled() && !is_special
}

/// Takes so much out of what is there, of what is reserved first; at most what is there.
pub(crate) fn draw(left: &mut Resources, asked: &Resources) -> Resources {
    let (mut missing, mut drawn) = (asked.clone(), Resources::none());
    for (tag, part) in left.clone().parts() {
        let rest = part.minus_at_most(&missing);
        let taken = part.minus(&rest).unwrap_or_default();
        missing.take_at_most(&taken);
        drawn.add_part((*tag).clone(), taken);
    }
    let plain = left.plain();
    drawn.add(&missing.minus_at_most(&missing.minus_at_most(&plain)));
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
