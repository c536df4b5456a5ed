//! Offers and tasks for the matcher.

use std::sync::Arc;

use mete_model::{
    AgentId, AttributeValue, Attributes, Endpoint, FrameworkId, Offer, OfferId, Ranges, Resources,
    Role,
};
use mete_placement::{PortAsk, Waiting};

use crate::dice::Dice;

/// Offers of a hundred shapes, in thirty racks.
pub fn offers(count: usize) -> Vec<Offer> {
    let mut dice = Dice::new(3);
    (0..count).map(|number| offer(number, &mut dice)).collect()
}

/// A task of one of a hundred shapes that takes one port.
pub fn task(dice: &mut Dice) -> Waiting {
    let cpus_milli = 250 * (1 + dice.below(10));
    let resources = Resources::cpus_mem(cpus_milli, 256 * (1 + dice.below(10)));
    Waiting {
        ports: vec![PortAsk::Any],
        ..Waiting::new(resources)
    }
}

fn offer(number: usize, dice: &mut Dice) -> Offer {
    let rack = AttributeValue::Text(Arc::from(format!("rack-{}", dice.below(30))));
    let mut attributes = Attributes::new();
    attributes.set("rack", rack);
    let cpus_milli = 1_000 * (1 + dice.below(10));
    let resources = Resources::cpus_mem(cpus_milli, 1_024 * (1 + dice.below(10)))
        .with_ports(Ranges::interval(31_000, 31_999));
    Offer {
        id: OfferId::new(format!("8f3c2a-O{number}")).expect("a good id"),
        framework: FrameworkId::new("8f3c2a-0000").expect("a good id"),
        agent: AgentId::new(format!("8f3c2a-S{number}")).expect("a good id"),
        endpoint: Endpoint {
            hostname: format!("host-{number}.example.com"),
            ip: "10.0.0.1".to_owned(),
            port: 5_051,
        },
        role: Role::any(),
        resources,
        attributes,
        domain: None,
        unavailability: None,
    }
}
