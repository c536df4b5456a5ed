//! What the allocator honours, one rule at a time.

use mete_model::{MB_MILLI, Ranges};
use mete_placement::{Admission, Amounts};

use super::*;

const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// One agent, one framework `A` in role `a`, and the offer it was made.
fn offered() -> (Allocator, Grant) {
    let mut allocator = cluster(Policy::BestFit, &[4]);
    join(&mut allocator, "A", "a");
    let grant = allocator.round(NOON).remove(0);
    (allocator, grant)
}

fn decline(allocator: &mut Allocator, grant: &Grant, refuse: Duration) {
    give_back(allocator, NOON, grant, &grant.resources, refuse);
}

fn cpus_limit(cpus: u64) -> Option<Amounts> {
    Some(Amounts {
        cpus_milli: Some(cpus * 1_000),
        ..Amounts::default()
    })
}

#[test]
fn an_offer_is_all_that_is_free() {
    let (mut allocator, grant) = offered();

    assert_eq!(grant.resources, machine(4, 4));
    assert_eq!(allocator.free(&agent("S0")), Some(&Resources::none()));
    assert_eq!(allocator.allocated(), machine(4, 4));
    assert!(!allocator.wants_round());
    assert_eq!(allocator.round(NOON), []);
}

#[test]
fn a_declined_offer_stays_away_for_the_filter_time() {
    let (mut allocator, grant) = offered();

    decline(&mut allocator, &grant, FIVE_SECONDS);

    let end = NOON + FIVE_SECONDS;
    assert_eq!(allocator.next_deadline(), Some(end));
    assert_eq!(allocator.round(end - Duration::from_micros(1)), []);
    assert_eq!(allocator.round(end), [grant]);
    assert_eq!(allocator.filters(), 0);
}

#[test]
fn a_declined_offer_goes_to_the_next() {
    let (mut allocator, grant) = offered();
    join(&mut allocator, "B", "b");

    decline(&mut allocator, &grant, FIVE_SECONDS);

    assert_eq!(who(&allocator.round(NOON)), [("B", "S0")]);
}

#[test]
fn more_than_was_declined_is_offered() {
    let (mut allocator, grant) = offered();
    decline(&mut allocator, &grant, FIVE_SECONDS);
    assert_eq!(allocator.round(NOON), []);

    allocator.update_agent(&agent("S0"), machine(5, 4));

    assert_eq!(allocator.round(NOON)[0].resources, machine(5, 4));
}

#[test]
fn without_refusal_the_offer_comes_again() {
    let (mut allocator, grant) = offered();

    decline(&mut allocator, &grant, Duration::ZERO);

    assert!(allocator.wants_round());
    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn revive_clears_filters() {
    let (mut allocator, grant) = offered();
    decline(&mut allocator, &grant, FIVE_SECONDS);
    assert_eq!(allocator.round(NOON), []);

    allocator.revive(&framework("A"), Some(&[role("b")].into()));
    assert!(!allocator.wants_round(), "another role's filters");
    allocator.revive(&framework("A"), None);

    assert_eq!(allocator.filters(), 0);
    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn a_suppressed_role_gets_nothing_until_revived() {
    let (mut allocator, grant) = offered();
    allocator.suppress(&framework("A"), None);
    decline(&mut allocator, &grant, Duration::ZERO);
    assert_eq!(allocator.round(NOON), []);

    allocator.revive(&framework("A"), Some(&[role("a")].into()));

    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn suppression_ends_with_the_role() {
    let (mut allocator, grant) = offered();
    let a = framework("A");
    allocator.update_framework(&a, FrameworkFacts::in_roles([role("b")]));
    allocator.suppress(&a, None);
    decline(&mut allocator, &grant, Duration::ZERO);
    assert_eq!(allocator.round(NOON), []);

    allocator.update_framework(&a, FrameworkFacts::in_roles([role("a")]));

    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn an_inactive_framework_gets_nothing_and_loses_its_filters() {
    let (mut allocator, grant) = offered();
    decline(&mut allocator, &grant, FIVE_SECONDS);

    allocator.set_framework_active(&framework("A"), false);
    assert_eq!(allocator.filters(), 0);
    assert_eq!(allocator.round(NOON), []);
    decline(&mut allocator, &grant, FIVE_SECONDS);
    assert_eq!(allocator.filters(), 0, "what comes too late sets none");
    allocator.set_framework_active(&framework("A"), true);

    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn agents_out_of_service_are_not_offered() {
    let (mut allocator, grant) = offered();
    allocator.set_admission(&agent("S0"), Admission::Draining);
    decline(&mut allocator, &grant, Duration::ZERO);
    assert_eq!(allocator.round(NOON), []);

    allocator.set_admission(&agent("S0"), Admission::Offerable);

    assert_eq!(allocator.round(NOON), [grant]);
}

#[test]
fn the_most_used_agent_goes_first() {
    let mut allocator = cluster(Policy::BestFit, &[8, 8, 8]);
    let (a, r) = (framework("A"), role("a"));
    allocator.claim(&agent("S1"), &a, &r, &machine(2, 2));
    allocator.claim(&agent("S2"), &a, &r, &machine(4, 4));
    join(&mut allocator, "B", "b");

    assert_eq!(
        who(&allocator.round(NOON)),
        [("B", "S2"), ("B", "S1"), ("B", "S0")]
    );
}

#[test]
fn crumbs_are_not_offered() {
    let mut allocator = empty(Policy::BestFit);
    let mut crumb = Resources::cpus_mem(9, 31);
    crumb.disk_milli = MB_MILLI << 20;
    allocator.add_agent(agent("S0"), AgentFacts::new(crumb.clone()));
    join(&mut allocator, "A", "a");
    assert_eq!(allocator.round(NOON), []);

    crumb.mem_milli += MB_MILLI;
    allocator.update_agent(&agent("S0"), crumb.clone());

    assert_eq!(allocator.round(NOON)[0].resources, crumb);
}

#[test]
fn a_limit_cuts_what_a_role_and_those_below_it_get() {
    let mut allocator = cluster(Policy::FirstFit, &[4, 4]);
    allocator
        .set_limit(&role("a"), cpus_limit(5))
        .expect("a top-level role");
    join(&mut allocator, "A", "a/x");

    let grants = allocator.round(NOON);
    // The limit says nothing of memory, and a GB is worth offering.
    assert_eq!(grants[0].resources, machine(4, 4));
    assert_eq!(grants[1].resources, machine(1, 4));

    join(&mut allocator, "B", "b");
    assert_eq!(allocator.round(NOON)[0].resources, machine(3, 0));
}

#[test]
fn a_role_at_its_limit_goes_on_when_it_gives_something_back() {
    let mut allocator = cluster(Policy::FirstFit, &[4, 4]);
    let limit = Amounts::from(&machine(4, 4));
    allocator
        .set_limit(&role("a"), Some(limit))
        .expect("a top-level role");
    join(&mut allocator, "A", "a");
    let grants = allocator.round(NOON);
    assert_eq!(who(&grants), [("A", "S0")]);
    assert!(!allocator.wants_round());

    decline(&mut allocator, &grants[0], FIVE_SECONDS);
    assert_eq!(
        who(&allocator.round(NOON)),
        [("A", "S1")],
        "S0 is filtered, S1 was never touched"
    );

    allocator
        .set_limit(&role("a"), None)
        .expect("a top-level role");
    assert_eq!(who(&allocator.round(NOON + FIVE_SECONDS)), [("A", "S0")]);
}

#[test]
fn tasks_that_came_back_may_pass_the_limit() {
    let mut allocator = cluster(Policy::FirstFit, &[4, 4]);
    allocator
        .set_limit(&role("a"), Some(Amounts::from(&machine(2, 2))))
        .expect("a top-level role");

    allocator.claim(&agent("S0"), &framework("A"), &role("a"), &machine(3, 3));
    join(&mut allocator, "A", "a");

    assert_eq!(allocator.round(NOON), []);
    assert_eq!(allocator.role_usage()[0].allocated, machine(3, 3));
}

#[test]
fn quota_is_for_top_level_roles() {
    let mut allocator = cluster(Policy::BestFit, &[4]);

    let refused = allocator.set_limit(&role("a/b"), cpus_limit(1));

    assert_eq!(
        refused.expect_err("below the top").to_string(),
        "role a/b is below a; quota is set on top-level roles only"
    );
    assert_eq!(allocator.role_usage(), []);
}

#[test]
fn a_guarantee_is_kept_free_for_its_role() {
    let mut allocator = cluster(Policy::FirstFit, &[4, 4]);
    allocator
        .set_guarantee(&role("db"), Some(Amounts::from(&machine(6, 6))))
        .expect("a top-level role");
    join(&mut allocator, "A", "a");
    let grants = allocator.round(NOON);
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].resources, machine(2, 2));

    join(&mut allocator, "D", "db");
    let grants = allocator.round(NOON);

    assert_eq!(who(&grants), [("D", "S0"), ("D", "S1")]);
    assert_eq!(allocator.share(&framework("D")), Some(0.75));
}

#[test]
fn an_agent_may_shrink_below_its_use() {
    let mut allocator = cluster(Policy::BestFit, &[8]);
    let (s0, a, r) = (agent("S0"), framework("A"), role("a"));
    allocator.claim(&s0, &a, &r, &machine(6, 6));

    allocator.update_agent(&s0, machine(4, 4));
    assert_eq!(allocator.free(&s0), Some(&Resources::none()));

    allocator.release(&s0, &a, &r, &machine(1, 1));
    assert_eq!(allocator.free(&s0), Some(&Resources::none()));
    allocator.release(&s0, &a, &r, &machine(3, 3));
    assert_eq!(allocator.free(&s0), Some(&machine(2, 2)));
}

#[test]
fn what_is_gone_takes_its_holdings_along() {
    let (mut allocator, grant) = offered();
    allocator.remove_agent(&agent("S0"));
    assert_eq!(allocator.share(&framework("A")), Some(0.0));
    assert_eq!(allocator.total(), Resources::none());
    decline(&mut allocator, &grant, FIVE_SECONDS);
    assert_eq!((allocator.filters(), allocator.wants_round()), (0, false));

    let (mut allocator, grant) = offered();
    allocator.remove_framework(&framework("A"));
    assert_eq!(allocator.free(&agent("S0")), Some(&machine(4, 4)));
    assert_eq!(allocator.role_usage(), []);
    decline(&mut allocator, &grant, FIVE_SECONDS);
    assert_eq!(allocator.filters(), 0);
    assert_eq!(allocator.share(&framework("A")), None);
}

#[test]
fn a_framework_that_is_not_known_yet_counts_and_gets_nothing() {
    let mut allocator = cluster(Policy::BestFit, &[8]);
    let (s0, a, r) = (agent("S0"), framework("A"), role("a"));
    allocator.claim(&s0, &a, &r, &machine(2, 2));
    assert_eq!(allocator.share(&a), Some(0.25));
    assert_eq!(allocator.round(NOON), []);

    allocator.add_framework(a.clone(), FrameworkFacts::in_roles([r.clone()]));
    assert_eq!(allocator.round(NOON)[0].resources, machine(6, 6));
    assert_eq!(allocator.held(&s0, &a, &r), Some(machine(8, 8)));
}

#[test]
fn ports_are_held_and_freed_by_number() {
    let mut allocator = empty(Policy::BestFit);
    let ports = Ranges::interval(31_000, 31_009);
    allocator.add_agent(
        agent("S0"),
        AgentFacts::new(machine(4, 4).with_ports(ports)),
    );
    join(&mut allocator, "A", "a");
    let grant = allocator.round(NOON).remove(0);
    let task = machine(1, 1).with_ports(Ranges::interval(31_004, 31_004));
    let rest = grant.resources.minus(&task).expect("it is there");

    allocator.launched(&agent("S0"), &grant.framework, &grant.role, &task);
    give_back(&mut allocator, NOON, &grant, &rest, Duration::ZERO);

    assert_eq!(allocator.free(&agent("S0")), Some(&rest));
    allocator.release(&agent("S0"), &grant.framework, &grant.role, &task);
    assert_eq!(allocator.free(&agent("S0")), Some(&grant.resources));
}
