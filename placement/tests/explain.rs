//! Explanations: the reasons are the right ones, and the smallest change that is suggested helps.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{
    AgentId, AttributeValue, Attributes, FrameworkId, Resources, Role, Tag, Timestamp,
};
use mete_placement::demand::{Shape, Takes};
use mete_placement::explain::{Change, Reason};
use mete_placement::{
    Admission, AgentFacts, Allocator, Amounts, Constraint, FrameworkFacts, Grant, Options,
};

const NOON: Timestamp = Timestamp::from_millis(43_200_000);

fn role(name: &str) -> Role {
    Role::new(name).expect("a good role")
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("a good id")
}

fn framework(name: &str) -> FrameworkId {
    FrameworkId::new(name).expect("a good id")
}

const GIGABYTE: u64 = 1_024;

/// xorshift64*, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A cluster where something may stand against anything: what waits, and who waits.
struct World {
    dice: Dice,
    now: Timestamp,
    allocator: Allocator,
    shape: Shape,
}

const AGENTS: u64 = 5;

fn asker() -> FrameworkId {
    framework("asker")
}

fn holder() -> FrameworkId {
    framework("holder")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed * 7_919 + 1);
        let mut allocator = Allocator::new(Options {
            region: Some("here".to_owned()),
            ..Options::default()
        });
        let facts = FrameworkFacts::in_roles([role("b")]);
        allocator.add_framework(holder(), facts);
        allocator.set_framework_active(&holder(), false);
        for n in 0..AGENTS {
            let cpus = 1 + dice.below(8);
            let total = Resources::cpus_mem(cpus * 1_000, (1 + dice.below(16)) * GIGABYTE)
                .with_ports(mete_model::Ranges::interval(31_000, 31_000 + dice.below(3)));
            let mut attributes = Attributes::new();
            attributes.set("rack", AttributeValue::Text(format!("r{}", n % 2).into()));
            let mut facts = AgentFacts::new(total.clone());
            facts.attributes = attributes;
            let id = agent(&format!("S{n}"));
            allocator.add_agent(id.clone(), facts);
            let used = Resources::cpus_mem(
                dice.below(cpus + 1) * 1_000,
                dice.below(total.mem_milli / mete_model::MB_MILLI + 1),
            );
            allocator.claim(&id, &holder(), &role("b"), &used);
            if dice.one_in(5) {
                allocator.set_admission(&id, Admission::Deactivated);
            }
        }
        allocator.add_framework(asker(), FrameworkFacts::in_roles([role("a")]));
        let mut shape = Shape::new(Resources::cpus_mem(
            dice.below(9_000) + 1,
            dice.below(20 * GIGABYTE) + 1,
        ));
        shape.any_ports = u32::try_from(dice.below(4)).expect("small");
        if dice.one_in(3) {
            let rack = Constraint::parse("rack", "IS", Some("r1")).expect("good");
            shape.constraints.push(rack);
        }
        if dice.one_in(3) {
            let limit = Amounts::from(&Resources::cpus_mem(dice.below(6_000), 8 * GIGABYTE));
            allocator
                .set_limit(&role("a"), Some(limit))
                .expect("at the top");
        }
        if dice.one_in(4) {
            let kept = Amounts::from(&Resources::cpus_mem(dice.below(30_000) + 1, GIGABYTE));
            allocator
                .set_guarantee(&role("b"), Some(kept))
                .expect("at the top");
        }
        Self {
            dice,
            now: NOON,
            allocator,
            shape,
        }
    }

    /// Asks, and declines what comes, so that filters stand in the way; then asks to know why.
    fn ask(&mut self) {
        self.allocator
            .set_demand(&asker(), vec![self.shape.clone()]);
        while self.dice.one_in(2) {
            for grant in self.allocator.round(self.now) {
                let refuse = Duration::from_secs(60);
                let Grant {
                    agent,
                    framework,
                    role,
                    resources,
                    units,
                } = grant;
                self.allocator
                    .give_back(self.now, &agent, &framework, &role, &resources, refuse);
                self.allocator
                    .answered(&agent, &framework, &role, &units, 0);
            }
        }
        if self.dice.one_in(6) {
            self.allocator.suppress(&asker(), None);
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Connect => self.allocator.set_framework_active(&asker(), true),
            Change::Revive { .. } => self.allocator.revive(&asker(), None),
            Change::Wait { until } => self.now = *until,
            Change::Free { agent, resources } => {
                self.allocator
                    .release(agent, &holder(), &role("b"), resources);
            }
            Change::Grow { agent, resources } => {
                let explained = self.allocator.explain_agent(agent).expect("it is there");
                self.allocator
                    .update_agent(agent, explained.total.plus(resources));
            }
            Change::Reactivate { agent, .. } | Change::BringBack { agent } => {
                self.allocator.set_admission(agent, Admission::Offerable);
            }
            Change::RaiseLimit { role, to } => {
                self.allocator
                    .set_limit(role, Some(to.clone()))
                    .expect("at the top");
            }
            Change::AddCapacity { resources } => {
                let facts = AgentFacts::new(resources.clone());
                self.allocator.add_agent(agent("more"), facts);
            }
            Change::DropConstraint { constraint } => {
                self.shape.constraints.retain(|one| one != constraint);
                self.allocator
                    .set_demand(&asker(), vec![self.shape.clone()]);
            }
            Change::RaiseMaxPerAgent { to } => self.shape.max_per_agent = Some(*to),
            Change::DropOfferConstraints | Change::Declare { .. } => {
                panic!("nothing here asks for {change}")
            }
        }
    }
}

#[test]
fn the_smallest_change_that_is_suggested_gives_the_shape_its_place() {
    let mut kinds: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        world.ask();
        world.allocator.round(world.now);
        if world.allocator.open_demand(&asker()) == Some(0) {
            continue;
        }

        let explained = world
            .allocator
            .explain_shape(Some(&asker()), &world.shape.clone());

        assert!(
            !explained.smallest_change.is_empty(),
            "run {seed}: {explained:#?}"
        );
        for change in &explained.smallest_change {
            kinds.insert(change.code());
            world.apply(change);
        }
        world.allocator.round(world.now);
        assert_eq!(
            world.allocator.open_demand(&asker()),
            Some(0),
            "run {seed}: {:#?}",
            explained
        );
    }
    let expected = [
        "ADD_CAPACITY",
        "DROP_CONSTRAINT",
        "FREE",
        "GROW",
        "RAISE_LIMIT",
        "REACTIVATE",
        "REVIVE",
        "WAIT",
    ];
    assert_eq!(kinds, BTreeSet::from(expected), "every kind has been tried");
}

#[test]
fn a_framework_that_gets_nothing_hears_why() {
    let mut allocator = Allocator::new(Options::default());
    let whole = Resources::cpus_mem(4_000, 4 * GIGABYTE);
    allocator.add_framework(framework("F0"), FrameworkFacts::in_roles([role("a")]));
    allocator.add_framework(framework("F1"), FrameworkFacts::in_roles([role("b")]));
    allocator.add_agent(agent("S0"), AgentFacts::new(whole.clone()));
    let first = allocator.round(NOON);
    assert_eq!(first.len(), 1);
    let loser = if first[0].framework == framework("F0") {
        framework("F1")
    } else {
        framework("F0")
    };

    let roles = allocator.explain_framework(&loser).expect("known");
    let agent_s0 = allocator.explain_agent(&agent("S0")).expect("known");

    assert_eq!(roles[0].reasons, [Reason::NothingFree]);
    assert_eq!(
        agent_s0.reasons[0],
        Reason::OnOffer {
            framework: first[0].framework.clone(),
            role: first[0].role.clone(),
            resources: whole,
            since: NOON,
        }
    );
}

#[test]
fn who_holds_more_is_behind_who_holds_less() {
    let mut allocator = Allocator::new(Options::default());
    for (name, of) in [("F0", "a"), ("F1", "b")] {
        allocator.add_framework(framework(name), FrameworkFacts::in_roles([role(of)]));
    }
    let whole = AgentFacts::new(Resources::cpus_mem(10_000, 10 * GIGABYTE));
    allocator.add_agent(agent("S0"), whole);
    let some = |cpus| Resources::cpus_mem(cpus, 100);
    allocator.claim(&agent("S0"), &framework("F0"), &role("a"), &some(3_100));
    allocator.claim(&agent("S0"), &framework("F1"), &role("b"), &some(2_800));

    let explained = allocator.explain_role(&role("a")).expect("known");

    assert_eq!(
        explained.reasons[0].to_string(),
        "share 0.310 over 0.280 of role b"
    );
    assert_eq!(explained.reasons[0].code(), "BEHIND");
}

/// One agent with so many CPUs and a GB, some of it reserved for a role.
fn agent_with(cpus_milli: u64, reserved: Option<(&Role, Resources)>) -> AgentFacts {
    let mut total = Resources::cpus_mem(cpus_milli, GIGABYTE);
    if let Some((role, part)) = reserved {
        total.add_part(Tag::reserved(role.clone()), part);
    }
    AgentFacts::new(total)
}

fn reserved_cpu(name: &str) -> Resources {
    let mut asked = Resources::none();
    asked.add_part(Tag::reserved(role(name)), Resources::cpus_mem(1_000, 0));
    asked
}

#[test]
fn a_shape_that_names_a_reservation_hears_how_much_of_it_is_there() {
    let mut allocator = Allocator::new(Options::default());
    allocator.add_agent(agent("S0"), agent_with(4_000, None));
    let mut shape = Shape::new(reserved_cpu("prod"));
    shape.role = Some(role("prod"));

    let explained = allocator.explain_shape(None, &shape);

    assert_eq!(
        explained.agents[0].reason.to_string(),
        "too small: cpus 1 asked, 0 there"
    );
}

#[test]
fn a_shape_that_takes_nothing_reserved_hears_how_much_is_nobodys() {
    let mut allocator = Allocator::new(Options::default());
    let kept = Resources::cpus_mem(3_000, 0);
    allocator.add_agent(agent("S0"), agent_with(500, Some((&role("prod"), kept))));
    let mut shape = Shape::new(Resources::cpus_mem(1_000, 0));
    shape.role = Some(role("prod"));
    let told = |allocator: &mut Allocator, shape: &Shape| {
        let explained = allocator.explain_shape(None, shape);
        explained.agents[0].reason.to_string()
    };

    assert_eq!(told(&mut allocator, &shape), "it fits");
    shape.takes = Takes::Unreserved;

    assert_eq!(
        told(&mut allocator, &shape),
        "too small: cpus 1 asked, 0.5 there"
    );
}

#[test]
fn a_role_for_which_something_is_reserved_is_known() {
    let mut allocator = Allocator::new(Options::default());
    let below = role("prod/web");
    let kept = Resources::cpus_mem(1_000, 0);
    allocator.add_agent(agent("S0"), agent_with(4_000, Some((&below, kept))));

    let explained = allocator.explain_role(&role("prod")).expect("it is known");

    assert_eq!(explained.weight_milli, 1_000);
    assert_eq!(explained.reasons, []);
    assert_eq!(allocator.explain_role(&role("web")), None);
}

#[test]
fn a_role_in_which_nobody_wants_offers_is_not_first_in_line() {
    let mut allocator = Allocator::new(Options::default());
    allocator.add_framework(framework("F0"), FrameworkFacts::in_roles([role("a")]));
    allocator.suppress(&framework("F0"), None);

    let explained = allocator.explain_role(&role("a")).expect("known");

    assert_eq!(explained.reasons, [Reason::Suppressed]);
}

#[test]
fn offers_of_what_waits_no_more_are_not_told_as_waiting() {
    let mut allocator = Allocator::new(Options::default());
    allocator.add_agent(agent("S0"), agent_with(4_000, None));
    allocator.add_framework(framework("F0"), FrameworkFacts::in_roles([role("a")]));
    let shape = Shape::new(Resources::cpus_mem(1_000, 64));
    allocator.set_demand(&framework("F0"), vec![shape]);
    assert_eq!(allocator.round(NOON).len(), 1);
    allocator.set_demand(&framework("F0"), Vec::new());

    let roles = allocator
        .explain_framework(&framework("F0"))
        .expect("known");

    assert!(
        roles[0].reasons.contains(&Reason::NothingWaits),
        "{:?}",
        roles[0].reasons
    );
}

#[test]
fn a_limit_that_leaves_no_cpus_is_named_though_it_leaves_memory() {
    let mut allocator = Allocator::new(Options::default());
    allocator.add_agent(agent("S0"), agent_with(4_000, None));
    allocator.add_framework(framework("F0"), FrameworkFacts::in_roles([role("a")]));
    let used = Resources::cpus_mem(1_000, 64);
    allocator.claim(&agent("S0"), &framework("F0"), &role("a"), &used);
    let half = Amounts {
        cpus_milli: Some(500),
        ..Amounts::default()
    };
    allocator
        .set_limit(&role("a"), Some(half))
        .expect("at the top");

    let roles = allocator
        .explain_framework(&framework("F0"))
        .expect("known");
    let of_role = allocator.explain_role(&role("a")).expect("known");

    assert_eq!(roles[0].reasons[0].code(), "LIMIT_REACHED");
    assert_eq!(of_role.reasons[0].code(), "LIMIT_REACHED");
}

#[test]
fn agents_that_are_too_small_are_told_with_the_most_that_any_has() {
    let mut allocator = Allocator::new(Options::default());
    for (name, cpus_milli) in [("S0", 1_000), ("S1", 7_000), ("S2", 2_000)] {
        allocator.add_agent(agent(name), agent_with(cpus_milli, None));
    }

    let explained = allocator.explain_shape(None, &Shape::new(Resources::cpus_mem(8_000, 0)));

    assert_eq!(explained.agents.len(), 1);
    assert_eq!(explained.agents[0].count, 3);
    assert_eq!(
        explained.agents[0].reason.to_string(),
        "too small: cpus 8 asked, 7 there"
    );
}

#[test]
fn shapes_with_many_names_are_explained_up_to_a_bound() {
    let mut allocator = Allocator::new(Options::default());
    allocator.add_framework(framework("F0"), FrameworkFacts::in_roles([role("a")]));
    let shapes = (0..10).map(|shape| {
        let mut asked = Resources::cpus_mem(1_000, 64);
        for name in 0..1_000 {
            asked.set_other(&format!("r{shape}-{name}"), 1_000);
        }
        Shape::new(asked)
    });
    allocator.set_demand(&framework("F0"), shapes.collect());

    let roles = allocator
        .explain_framework(&framework("F0"))
        .expect("known");

    assert_eq!(roles[0].shapes.len(), 2);
}

#[test]
fn what_is_suggested_for_an_agent_that_is_not_offered_can_be_done() {
    for (admission, change) in [
        (Admission::Deactivated, "let agent S0 take part again"),
        (
            Admission::Draining,
            "let agent S0 take part again once it has drained",
        ),
        (Admission::Away, "bring agent S0 back"),
    ] {
        let mut allocator = Allocator::new(Options::default());
        allocator.add_agent(agent("S0"), agent_with(4_000, None));
        allocator.set_admission(&agent("S0"), admission);

        let explained = allocator.explain_shape(None, &Shape::new(Resources::cpus_mem(1_000, 0)));

        let told = explained.smallest_change.iter().map(Change::to_string);
        assert_eq!(told.collect::<Vec<_>>(), [change]);
    }
}
