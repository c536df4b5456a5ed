//! What happens next: plays agents, frameworks and operators, and remembers what was offered to them.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Resources, Tag, Timestamp};
use mete_placement::{Admission, Grant, Options, Policy};

use super::{Dice, Event, Part};
use crate::{NOON, agent, framework};

/// What occurs in a run. Each bit of its number is one, so that a failure says what it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flavour {
    /// Frameworks say what they wait for.
    pub(crate) demand: bool,
    pub(crate) gpus: bool,
    pub(crate) quota: bool,
    /// Reservations, volumes, revocable resources.
    pub(crate) parts: bool,
    pub(crate) ports: bool,
    /// Of shapes and of offers.
    pub(crate) constraints: bool,
    /// Of frameworks.
    pub(crate) minima: bool,
    pub(crate) shared: bool,
    /// How many agents and frameworks there may be.
    pub(crate) agents: u64,
    pub(crate) frameworks: u64,
}

impl Flavour {
    pub(crate) fn new(run: u64) -> Self {
        let has = |bit: u64| (run >> bit) & 1 == 1;
        Self {
            demand: has(0),
            gpus: has(1),
            quota: has(2),
            parts: has(3),
            ports: has(4),
            constraints: has(5),
            minima: (run >> 6).is_multiple_of(4),
            shared: has(8),
            agents: 2 + (run >> 2) % 4,
            frameworks: 1 + (run >> 4) % 4,
        }
    }
}

/// All that is not the master.
#[derive(Clone)]
pub(crate) struct Player {
    pub(crate) flavour: Flavour,
    pub(crate) now: Timestamp,
    dice: Dice,
    /// What was offered and is not answered.
    offers: Vec<Grant>,
    /// What was launched or claimed and has not ended.
    tasks: Vec<Part>,
    /// What follows from what was decided before.
    next: VecDeque<Event>,
    volumes: u64,
}

impl Player {
    pub(crate) fn new(run: u64, seed: u64) -> Self {
        Self {
            flavour: Flavour::new(run),
            now: NOON,
            dice: Dice::new(seed),
            offers: Vec::new(),
            tasks: Vec::new(),
            next: VecDeque::new(),
            volumes: 0,
        }
    }

    /// How the allocator is to be made.
    pub(crate) fn options(&mut self) -> Options {
        Options {
            policy: self.policy(),
            region: self.dice.one_in(2).then(|| "home".to_owned()),
        }
    }

    /// These offers came.
    pub(crate) fn hear(&mut self, grants: &[Grant]) {
        self.offers.extend_from_slice(grants);
    }

    pub(crate) fn event(&mut self) -> Event {
        if let Some(event) = self.next.pop_front() {
            return event;
        }
        match self.dice.below(40) {
            0..=2 => self.agent_event(),
            3..=5 => self.framework_event(),
            6 | 7 => self.operator_event(),
            8..=10 if self.flavour.demand => {
                let id = self.framework();
                Event::SetDemand(id, self.dice.shapes(self.flavour))
            }
            11 => self.claim(),
            12..=15 => self.task_ends(),
            16 if self.flavour.parts => self.reshape(),
            17..=28 => self.offer_ends(),
            _ => {
                if self.dice.one_in(3) {
                    self.now = self.now + Duration::from_millis(self.dice.below(3_000));
                }
                Event::Round(self.now)
            }
        }
    }

    fn agent(&mut self) -> AgentId {
        agent(&format!("S{}", self.dice.below(self.flavour.agents)))
    }

    fn framework(&mut self) -> FrameworkId {
        framework(&format!("F{}", self.dice.below(self.flavour.frameworks)))
    }

    fn policy(&mut self) -> Policy {
        *self.dice.of(&Policy::ALL)
    }

    fn agent_event(&mut self) -> Event {
        let id = self.agent();
        match self.dice.below(8) {
            0..=3 => Event::AddAgent(id, self.dice.facts(self.flavour)),
            4 => Event::UpdateAgent(id, self.dice.total(self.flavour)),
            5 | 6 => {
                let admissions = [
                    Admission::Offerable,
                    Admission::Offerable,
                    Admission::Draining,
                    Admission::Deactivated,
                    Admission::Away,
                ];
                Event::SetAdmission(id, *self.dice.of(&admissions))
            }
            _ => Event::RemoveAgent(id),
        }
    }

    fn framework_event(&mut self) -> Event {
        let id = self.framework();
        match self.dice.below(12) {
            0..=3 => Event::AddFramework(id, self.dice.framework_facts(self.flavour)),
            4 => Event::UpdateFramework(id, self.dice.framework_facts(self.flavour)),
            5 | 6 => Event::SetActive(id, !self.dice.one_in(3)),
            7 => Event::RemoveFramework(id),
            8 => Event::Suppress(id, self.dice.one_in(2).then(|| self.dice.roles())),
            _ => Event::Revive(id, self.dice.one_in(2).then(|| self.dice.roles())),
        }
    }

    fn operator_event(&mut self) -> Event {
        let role = self.dice.role();
        let has_any = !self.dice.one_in(3);
        match self.dice.below(8) {
            0 | 1 => {
                let weight = NonZeroU32::new(500 + 500 * self.dice.small(4));
                Event::SetWeight(role, weight.expect("at least 500"))
            }
            2 => {
                let policy = has_any.then(|| self.policy());
                Event::SetPolicy(self.dice.one_in(2).then_some(role), policy)
            }
            3..=5 if self.flavour.quota => {
                let role = role.top_level();
                Event::SetLimit(role, has_any.then(|| self.dice.amounts(16)))
            }
            _ if self.flavour.quota => {
                Event::SetGuarantee(role, has_any.then(|| self.dice.amounts(16)))
            }
            _ => Event::Round(self.now),
        }
    }

    /// A task came back with its agent.
    fn claim(&mut self) -> Event {
        let mut resources = self.dice.amounts_of(4);
        if self.flavour.gpus && self.dice.one_in(4) {
            resources.gpus_milli = *self.dice.of(&[500, 1_000]);
            let half = resources.gpus_milli == 500;
            // It says which device it has.
            let all = resources.clone();
            resources.gpus_milli = 1_000;
            resources = resources.with_devices();
            if half {
                resources = resources.pin(&all).expect("half of a whole one");
            }
        }
        if self.flavour.parts && self.dice.one_in(3) {
            let tag = self.dice.tag(Flavour {
                shared: false,
                ..self.flavour
            });
            if tag.volume.is_none() {
                resources.add_part(tag, self.dice.amounts_of(3));
            }
        }
        let part = Part {
            agent: self.agent(),
            framework: self.framework(),
            role: self.dice.role(),
            resources,
        };
        self.tasks.push(part.clone());
        Event::Claim(part)
    }

    fn task_ends(&mut self) -> Event {
        let Some(mut task) = self.dice.take(&mut self.tasks) else {
            return Event::Round(self.now);
        };
        if self.dice.one_in(8) {
            // More than it uses, or something else.
            task.resources.add(&self.dice.amounts_of(6));
        }
        Event::Release(task)
    }

    /// An offer is declined, withdrawn, or used for some tasks.
    fn offer_ends(&mut self) -> Event {
        let Some(grant) = self.dice.take(&mut self.offers) else {
            return Event::Round(self.now);
        };
        let mut rest = grant.resources.clone();
        let mut launched = 0;
        if !self.dice.one_in(3) {
            let used = self.used(&grant);
            if let Some(left) = rest.minus(&used)
                && !used.is_empty()
            {
                launched = 1;
                rest = left;
                let task = part_of(&grant, used);
                self.tasks.push(task.clone());
                self.next.push_back(Event::Launched(task));
            }
        }
        let refuse_for = match self.dice.below(4) {
            0 => Duration::ZERO,
            1 => Duration::from_secs(60),
            _ => Duration::from_millis(self.dice.below(6) * 1_000),
        };
        if self.dice.one_in(16) {
            rest = self.dice.amounts_of(8);
        }
        let rest = part_of(&grant, rest);
        self.next
            .push_back(Event::GiveBack(self.now, rest, refuse_for));
        if !grant.units.is_empty() {
            let launched = launched * self.dice.small(4);
            let part = part_of(&grant, Resources::none());
            self.next
                .push_back(Event::Answered(part, grant.units, launched));
        }
        self.next.pop_front().expect("at least what is given back")
    }

    /// What a framework launches with an offer: all, half of it, or something small.
    fn used(&mut self, grant: &Grant) -> Resources {
        let all = &grant.resources;
        match self.dice.below(3) {
            0 => all.clone(),
            1 => {
                let mut half = all.plain();
                half.cpus_milli /= 2;
                half.mem_milli /= 2;
                half.ports = mete_model::Ranges::new();
                half
            }
            _ => {
                let mut asked = self.dice.amounts_of(3);
                if self.flavour.gpus && self.dice.one_in(2) {
                    asked.gpus_milli = *self.dice.of(&[250, 500, 1_000]);
                }
                all.pin(&asked).unwrap_or_default()
            }
        }
    }

    /// No volume is made twice: the master refuses that.
    fn new_tag(&mut self) -> Tag {
        let mut tag = self.dice.tag(self.flavour);
        if let Some(volume) = &mut tag.volume {
            self.volumes += 1;
            volume.id = format!("n{}", self.volumes);
        }
        tag
    }

    /// RESERVE, UNRESERVE, CREATE or DESTROY on an offer, or by an operator.
    fn reshape(&mut self) -> Event {
        let Some(grant) = self.dice.take(&mut self.offers) else {
            let (id, tag) = (self.agent(), self.new_tag());
            let (from, into) = into_part(self.dice.amounts_of(3), tag);
            return if self.dice.one_in(2) {
                Event::ReshapeFree(id, from, into)
            } else {
                Event::ReshapeFree(id, into, from)
            };
        };
        let (from, into) = match grant.resources.parts().next() {
            Some((tag, part)) if self.dice.one_in(2) => {
                let (plain, part) = into_part(part.clone(), (**tag).clone());
                (part, plain)
            }
            _ => {
                let tag = self.new_tag();
                into_part(grant.resources.plain(), tag)
            }
        };
        let event = Event::Reshape(part_of(&grant, from.clone()), into.clone());
        let resources = match grant.resources.minus(&from) {
            Some(rest) => rest.plus(&into),
            None => grant.resources.clone(),
        };
        self.offers.push(Grant { resources, ..grant });
        event
    }
}

fn part_of(grant: &Grant, resources: Resources) -> Part {
    Part {
        agent: grant.agent.clone(),
        framework: grant.framework.clone(),
        role: grant.role.clone(),
        resources,
    }
}

/// As it is plain and as it is under a tag; of a volume only disk.
fn into_part(plain: Resources, tag: Tag) -> (Resources, Resources) {
    let mut plain = plain;
    if tag.volume.is_some() {
        let disk_milli = plain.disk_milli;
        plain = Resources::none();
        plain.disk_milli = disk_milli;
    }
    let part = Resources::none().with_part(tag, plain.clone());
    (plain, part)
}
