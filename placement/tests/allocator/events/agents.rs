//! What agents have: amounts so small and round that much fits exactly and many are equal.

use std::sync::Arc;

use mete_model::{
    AttributeValue, Attributes, FaultDomain, MB_MILLI, Ranges, Reservation, ReservationKind,
    Resources, Role, Tag, Volume,
};
use mete_placement::AgentFacts;

use super::{Dice, Flavour};
use crate::role;

pub(super) const ROLES: [&str; 7] = ["*", "a", "a/x", "a/y", "a/x/deep", "b", "b/z"];

/// The first port of every agent.
pub(super) const FIRST_PORT: u64 = 31_000;

impl Dice {
    pub(crate) fn role(&mut self) -> Role {
        let name = *self.of(&ROLES);
        role(name)
    }

    /// CPUs and memory, now and then further scalars.
    pub(crate) fn amounts_of(&mut self, cpus: u64) -> Resources {
        let mut resources = Resources::cpus_mem(self.below(cpus) * 500, self.below(cpus) * 64);
        if self.one_in(4) {
            resources.disk_milli = self.below(4) * 100 * MB_MILLI;
        }
        if self.one_in(6) {
            resources.set_other("fpga", self.below(4) * 1_000);
        }
        resources
    }

    pub(super) fn facts(&mut self, flavour: Flavour) -> AgentFacts {
        let mut attributes = Attributes::new();
        if self.one_in(2) {
            let rack = *self.of(&["r1", "r2"]);
            attributes.set("rack", AttributeValue::Text(Arc::from(rack)));
        }
        if flavour.gpus && self.one_in(2) {
            let model = *self.of(&["T4", "V100"]);
            attributes.set("gpu_model", AttributeValue::Text(Arc::from(model)));
        }
        AgentFacts {
            total: self.total(flavour),
            attributes,
            hostname: (*self.of(&["h1", "h2", "h3"])).to_owned(),
            domain: self.one_in(3).then(|| FaultDomain {
                region: (*self.of(&["home", "away"])).to_owned(),
                zone: "z".to_owned(),
            }),
        }
    }

    pub(crate) fn total(&mut self, flavour: Flavour) -> Resources {
        let mut total = self.amounts_of(12);
        if flavour.ports {
            let last = FIRST_PORT + self.below(8);
            total.ports = Ranges::interval(FIRST_PORT, last);
        }
        if flavour.gpus && self.one_in(2) {
            total.gpus_milli = self.below(4) * 1_000;
        }
        if flavour.parts {
            while self.one_in(2) {
                let (tag, mut part) = (self.tag(flavour), self.amounts_of(6));
                if let Some(volume) = &tag.volume {
                    // Its name says how large it is: volumes do not grow.
                    part = Resources::none();
                    part.disk_milli = (1 + volume.id.len() as u64) * 100 * MB_MILLI;
                } else if flavour.gpus && self.one_in(4) {
                    part.gpus_milli = self.below(3) * 1_000;
                }
                if total.part(&tag).is_none() {
                    total.add_part(tag, part);
                }
            }
        }
        total.with_devices()
    }

    pub(super) fn tag(&mut self, flavour: Flavour) -> Tag {
        let mut tag = Tag::default();
        if !self.one_in(4) {
            let reserved = self.role();
            if reserved != Role::any() {
                tag = Tag::reserved(reserved);
            }
        }
        if let Some(below) = tag.role().map(|role| role.to_string() + "/x")
            && self.one_in(4)
        {
            tag.reservations.push(dynamic(role(&below)));
        }
        match self.below(5) {
            0 => tag.revocable = true,
            1 | 2 => {
                tag.volume = Some(Volume {
                    id: (*self.of(&["v", "vv"])).to_owned(),
                    container_path: "data".to_owned(),
                    read_only: false,
                    principal: None,
                });
                tag.shared = flavour.shared && self.one_in(2);
            }
            _ => {}
        }
        tag
    }
}

pub(super) const fn dynamic(role: Role) -> Reservation {
    Reservation {
        role,
        kind: ReservationKind::Dynamic,
        principal: None,
        labels: Vec::new(),
    }
}
