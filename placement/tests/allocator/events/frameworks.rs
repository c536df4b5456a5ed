//! What frameworks say of themselves, and what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{Capability, MB_MILLI, Ranges, Resources, Role};
use mete_placement::constraints::Field;
use mete_placement::offer_constraints::{AttributeConstraint, Predicate};
use mete_placement::{Amounts, Constraint, FrameworkFacts, OfferConstraints, Shape, Takes};

use super::agents::FIRST_PORT;
use super::{Dice, Flavour};

impl Dice {
    pub(super) fn roles(&mut self) -> BTreeSet<Role> {
        (0..=self.below(3)).map(|_| self.role()).collect()
    }

    pub(super) fn framework_facts(&mut self, flavour: Flavour) -> FrameworkFacts {
        let all = Capability::ALL.iter().copied();
        let mut facts = FrameworkFacts {
            roles: self.roles(),
            capabilities: all.filter(|_| !self.one_in(3)).collect(),
            ..FrameworkFacts::default()
        };
        for role in facts.roles.clone() {
            if flavour.minima && self.one_in(3) {
                let minima = (0..self.below(3)).map(|_| self.amounts(3));
                facts.min_allocatable.insert(role.clone(), minima.collect());
            }
            if flavour.constraints && self.one_in(3) {
                facts
                    .offer_constraints
                    .insert(role, self.offer_constraints());
            }
        }
        facts
    }

    fn offer_constraints(&mut self) -> OfferConstraints {
        let text = || "r1".to_owned();
        let predicates = [
            Predicate::Exists,
            Predicate::NotExists,
            Predicate::TextEquals(text()),
            Predicate::TextNotEquals(text()),
        ];
        let field = *self.of(&["rack", "@hostname", "@region"]);
        let one = AttributeConstraint {
            field: Field::from_name(field),
            predicate: self.of(&predicates).clone(),
        };
        OfferConstraints::new(vec![vec![one]]).expect("one group of one")
    }

    /// As limits, guarantees and minima are stated.
    pub(super) fn amounts(&mut self, cpus: u64) -> Amounts {
        let mut amounts = Amounts::default();
        if !self.one_in(4) {
            amounts.cpus_milli = Some(self.below(cpus) * 500);
        }
        if self.one_in(2) {
            amounts.mem_milli = Some(self.below(cpus) * 64 * MB_MILLI);
        }
        if self.one_in(5) {
            amounts.gpus_milli = Some(self.below(4) * 750);
        }
        if self.one_in(5) {
            let fpgas = self.below(4) * 1_000;
            amounts.other = BTreeMap::from([(Arc::from("fpga"), fpgas)]);
        }
        amounts
    }

    pub(super) fn shapes(&mut self, flavour: Flavour) -> Vec<Shape> {
        let shapes = (0..self.below(4)).map(|_| self.shape(flavour));
        shapes.filter(|shape| shape.check().is_ok()).collect()
    }

    fn shape(&mut self, flavour: Flavour) -> Shape {
        let mut shape = Shape::new(self.amounts_of(5));
        shape.role = self.one_in(2).then(|| self.role());
        shape.count = 1 + self.small(4);
        if flavour.gpus && self.one_in(2) {
            shape.resources.gpus_milli = *self.of(&[250, 500, 600, 1_000, 2_000]);
        }
        if flavour.ports {
            shape.any_ports = self.small(3);
            if self.one_in(4) {
                let port = FIRST_PORT + self.below(3);
                shape.resources.ports = Ranges::interval(port, port);
            }
        }
        if flavour.constraints && self.one_in(2) {
            let (operator, value) = *self.of(&[("IS", "r1"), ("UNLIKE", "r1|r2"), ("LIKE", "r.*")]);
            let constraint = Constraint::parse("rack", operator, Some(value));
            shape.constraints.push(constraint.expect("a good one"));
        }
        if flavour.constraints && self.one_in(3) {
            let operator = self.of(&["IS", "UNLIKE"]);
            let constraint = Constraint::parse("rack", operator, Some("r1"));
            shape.preferred.push(constraint.expect("a good one"));
        }
        if flavour.constraints && flavour.gpus && self.one_in(4) {
            let constraint = Constraint::parse("gpu_model", "IS", Some("T4"));
            shape.constraints.push(constraint.expect("a good one"));
        }
        if self.one_in(3) {
            shape.max_per_agent = Some(1 + self.small(2));
        }
        shape.takes = match flavour.parts && self.one_in(2) {
            true if self.one_in(2) => Takes::Unreserved,
            true => Takes::Reserved,
            false => Takes::Any,
        };
        if flavour.parts && self.one_in(8) {
            let (tag, mut part) = (self.tag(flavour), self.amounts_of(3));
            if tag.volume.is_some() {
                part = Resources::none();
                part.disk_milli = 200 * MB_MILLI;
            }
            shape.resources.add_part(tag, part);
        }
        shape
    }
}
