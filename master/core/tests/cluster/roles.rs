//! Weights, quotas and policies: what is set, what is refused, what survives.

use std::num::NonZeroU32;

use mete_master_core::{Amounts, Input, OperatorError, Policy, Record, Reply, RoleQuota};
use mete_model::{MB_MILLI, Machine, Resources, Tag};

use crate::world::{Out, World, rescinded, role, settings, task};

fn cpus_mem(cpus_milli: u64, mem_mb: u64) -> Option<Amounts> {
    Some((&Resources::cpus_mem(cpus_milli, mem_mb)).into())
}

fn quota(name: &str, limit: Option<Amounts>, guarantee: Option<Amounts>, force: bool) -> Input {
    RoleQuota { limit, guarantee }.for_role(role(name), force)
}

fn refusal(out: &Out) -> String {
    assert!(out.store.is_empty(), "nothing is stored");
    match &out.reply {
        Some(Reply::Failed(error)) => error.to_string(),
        other => panic!("refused: {other:?}"),
    }
}

fn weights(pairs: &[(&str, u32)]) -> Input {
    let pair =
        |(name, milli): &(&str, u32)| (role(name), NonZeroU32::new(*milli).expect("not zero"));
    Input::SetWeights(pairs.iter().map(pair).collect())
}

#[test]
fn a_limit_below_what_is_used_is_refused_unless_forced() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);

    let out = world.step(quota("web", cpus_mem(500, 0), None, false));

    assert_eq!(
        refusal(&out),
        "role web consumes cpus 1, its limit would be 0.5; it can be forced"
    );
    let out = world.step(quota("web", cpus_mem(500, 0), None, true));
    assert_eq!(out.reply, Some(Reply::Done));
    assert_eq!(out.store, [Record::Limit(role("web"), cpus_mem(500, 0))]);
}

#[test]
fn what_is_reserved_for_a_role_is_consumed_whether_it_is_used_or_not() {
    let mut world = World::new();
    let total = Resources::cpus_mem(4_000, 8_192).with_part(
        Tag::reserved(role("web/shop")),
        Resources::cpus_mem(2_000, 0),
    );
    let (agent, _) = world.agent_with("a", total);
    let consumed = |world: &World| {
        let roles = world.cluster.view().roles();
        let web = roles.iter().find(|one| one.role == role("web"));
        web.map(|web| (web.consumed.cpus_milli, web.used.cpus_milli))
    };
    assert_eq!(consumed(&world), Some((2_000, 0)));

    let out = world.step(quota("web", cpus_mem(1_000, 0), None, false));

    assert_eq!(
        refusal(&out),
        "role web consumes cpus 2, its limit would be 1; it can be forced"
    );
    let out = world.step(quota("web", cpus_mem(2_500, 8_192), None, false));
    assert_eq!(out.reply, Some(Reply::Done));
    let client = world.framework();
    let offer = client.offers[0].clone();
    assert_eq!(offer.resources.cpus_milli, 500, "half a CPU is left");
    let mut spec = task("one", &agent);
    spec.resources = Resources::cpus_mem(500, 64);
    world.accept(&client, &[&offer], vec![spec]);
    assert_eq!(consumed(&world), Some((2_500, 500)));
}

#[test]
fn a_limit_that_leaves_room_withdraws_only_what_is_too_much() {
    let mut world = World::new();
    world.agent("a");
    world.agent("b");
    let client = world.framework();
    assert_eq!(client.offers.len(), 2);

    let out = world.step(quota("web", cpus_mem(4_000, 8_192), None, false));

    assert_eq!(rescinded(&out, client.link).len(), 1);
}

#[test]
fn guarantees_beyond_what_the_cluster_has_are_refused_unless_forced() {
    let mut world = World::new();
    world.agent("a");
    let out = world.step(quota("prod", None, cpus_mem(3_000, 0), false));
    assert_eq!(out.reply, Some(Reply::Done));

    let out = world.step(quota("web", None, cpus_mem(1_500, 64), false));

    assert_eq!(
        refusal(&out),
        "with role web all roles would be guaranteed cpus 4.5, the cluster has 4; it can be forced"
    );
    let out = world.step(quota("web", None, cpus_mem(1_500, 64), true));
    assert_eq!(out.reply, Some(Reply::Done));
    let out = world.step(quota("prod", None, cpus_mem(2_900, 0), false));
    assert_eq!(out.reply, Some(Reply::Done), "less is always better");
}

#[test]
fn quotas_of_several_roles_are_set_all_or_none() {
    let mut world = World::new();
    world.agent("a");
    let guaranteed = |cpus_milli| RoleQuota {
        limit: None,
        guarantee: cpus_mem(cpus_milli, 0),
    };
    let set = |quotas: &[(&str, RoleQuota)]| Input::SetQuotas {
        quotas: quotas
            .iter()
            .map(|(name, quota)| (role(name), quota.clone()))
            .collect(),
        force: false,
    };
    let limited = RoleQuota {
        limit: cpus_mem(1_000, 0),
        guarantee: None,
    };

    let too_much = world.step(set(&[("a", limited.clone()), ("b", guaranteed(5_000))]));
    let nested = world.step(set(&[("a", limited), ("b/c", guaranteed(1_000))]));

    assert_eq!(
        refusal(&too_much),
        "with role b all roles would be guaranteed cpus 5, the cluster has 4; it can be forced"
    );
    refusal(&nested);
    let view = world.cluster.view();
    assert!(view.limits.is_empty() && view.guarantees.is_empty());
}

#[test]
fn a_guarantee_withdraws_what_others_have_on_offer_as_far_as_it_takes() {
    let mut world = World::new();
    world.agent("a");
    world.agent("b");
    let client = world.framework();
    assert_eq!(client.offers.len(), 2);

    let out = world.step(quota("prod", None, cpus_mem(3_000, 0), false));
    assert_eq!(rescinded(&out, client.link).len(), 1);

    let out = world.step(quota("prod", None, cpus_mem(2_000, 0), false));
    assert_eq!(rescinded(&out, client.link), []);
}

#[test]
fn a_guarantee_moves_from_one_role_to_another_in_one_order() {
    let mut world = World::new();
    world.agent("a");
    world.step(quota("z", None, cpus_mem(3_000, 0), false));
    let taken = RoleQuota {
        limit: None,
        guarantee: cpus_mem(3_000, 0),
    };

    let quotas = [(role("b"), taken), (role("z"), RoleQuota::default())].into();
    let out = world.step(Input::SetQuotas {
        quotas,
        force: false,
    });

    assert_eq!(out.reply, Some(Reply::Done));
    assert_eq!(
        out.store,
        [
            Record::Guarantee(role("b"), cpus_mem(3_000, 0)),
            Record::Guarantee(role("z"), None)
        ]
    );
}

#[test]
fn what_the_cluster_does_not_have_cannot_be_guaranteed() {
    let mut world = World::new();
    world.agent("a");
    let mut fpgas = Amounts::default();
    fpgas.other.insert("fpga".into(), 2_000);

    let out = world.step(quota("web", None, Some(fpgas), false));

    assert_eq!(
        refusal(&out),
        "with role web all roles would be guaranteed fpga 2, the cluster has 0; it can be forced"
    );
}

#[test]
fn a_guarantee_above_the_limit_is_refused_even_when_forced() {
    let mut world = World::new();
    world.agent("a");

    let out = world.step(quota(
        "web",
        cpus_mem(1_000, 64),
        cpus_mem(1_000, 128),
        true,
    ));

    assert_eq!(
        refusal(&out),
        "role web would be guaranteed mem 128 MB and limited to 64 MB"
    );
}

#[test]
fn quota_is_for_named_roles_at_the_top() {
    let mut world = World::new();

    let any = world.step(quota("*", cpus_mem(1, 0), None, true));
    let below = world.step(quota("a/b", cpus_mem(1, 0), None, true));

    assert_eq!(any.reply, Some(Reply::Failed(OperatorError::AnyRole)));
    assert_eq!(
        below.reply,
        Some(Reply::Failed(OperatorError::NotTopLevel(role("a/b"))))
    );
}

#[test]
fn what_is_set_for_roles_survives_a_restart() {
    let mut world = World::new();
    world.agent("a");
    world.step(weights(&[("web", 2_500), ("web/api", 500)]));
    world.step(quota("web", cpus_mem(2_000, 0), cpus_mem(1_000, 0), false));
    world.step(Input::SetPolicy {
        role: None,
        policy: Some(Policy::Spread),
    });
    world.step(Input::SetPolicy {
        role: Some(role("web")),
        policy: Some(Policy::FirstFit),
    });
    let before = world.cluster.view();

    let world = world.restarted(settings());

    let after = world.cluster.view();
    assert_eq!(after.weights, before.weights);
    assert_eq!(after.limits, before.limits);
    assert_eq!(after.guarantees, before.guarantees);
    assert_eq!(after.policies, before.policies);
    assert_eq!(after.policies.len(), 2);
    assert_eq!(after.weights.len(), 2);
}

#[test]
fn a_policy_and_a_limit_as_by_default_are_not_kept() {
    let mut world = World::new();
    world.step(Input::SetPolicy {
        role: None,
        policy: Some(Policy::Spread),
    });
    world.step(quota("web", cpus_mem(2_000, 0), None, false));

    world.step(Input::SetPolicy {
        role: None,
        policy: None,
    });
    world.step(quota("web", None, None, false));

    let keys: Vec<_> = world.stored.keys().collect();
    assert!(keys.is_empty(), "{keys:?}");
    let view = world.cluster.view();
    assert!(view.policies.is_empty() && view.limits.is_empty());
}

#[test]
fn a_weight_that_was_set_is_listed_even_when_it_is_the_usual_one() {
    let mut world = World::new();

    let out = world.step(weights(&[("web", 1_000)]));
    let again = world.step(weights(&[("web", 1_000)]));

    let usual = NonZeroU32::new(1_000);
    assert_eq!(out.store, [Record::Weight(role("web"), usual)]);
    assert_eq!(again.store, []);
    let view = world.restarted(settings()).cluster.view();
    assert_eq!(view.weights.get(&role("web")).copied(), usual);
}

#[test]
fn a_role_for_which_something_is_reserved_is_known() {
    let mut world = World::new();
    let reserved = Tag::reserved(role("eng/a"));
    let has = Resources::cpus_mem(4_000, 1_024).with_part(reserved, Resources::cpus_mem(1_500, 0));
    world.agent_with("a", has);

    let roles = world.cluster.view().roles();

    let known: Vec<_> = roles
        .iter()
        .map(|role| (role.role.as_str(), role.reserved.cpus_milli))
        .collect();
    assert_eq!(known, [("eng", 1_500), ("eng/a", 1_500)]);
}

#[test]
fn a_role_shows_what_it_may_have_and_has() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    world.step(weights(&[("web", 2_000), ("idle/below", 3_000)]));
    world.step(quota("web", cpus_mem(2_000, 0), None, false));
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);

    let roles = world.cluster.view().roles();

    let names: Vec<_> = roles.iter().map(|role| role.role.as_str()).collect();
    assert_eq!(names, ["idle", "idle/below", "web"]);
    let web = &roles[2];
    assert_eq!(web.weight_milli.get(), 2_000);
    assert_eq!(web.limit, cpus_mem(2_000, 0));
    assert_eq!(web.used.cpus_milli, 1_000);
    assert_eq!(web.used.mem_milli, 512 * MB_MILLI);
    assert_eq!(web.frameworks, [client.id].into());
    let share = world
        .cluster
        .view()
        .roles()
        .into_iter()
        .map(|role| role.share)
        .fold(0.0, f64::max);
    assert!((0.25..=1.0).contains(&share), "{share}");
}
