//! What frameworks say to the allocator: demand, offer constraints, offer filters.

use std::collections::BTreeMap;

use mete_model::{Resources, Role};
use mete_placement::constraints::{Constraint, MAX_COMPILED_PATTERNS, Patterns};
use mete_placement::demand::{self, Shape, Takes};
use mete_placement::{Amounts, OfferConstraints};
use mete_proto::convert::framework::min_allocatable;
use mete_proto::convert::{demand as messages, offer_constraints};
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{self, attribute_constraint as constraint, call};
use prost::Message as _;

use super::{ports, scalar};

fn shape() -> call::Shape {
    call::Shape {
        resources: vec![scalar("cpus", 1.0)],
        ..call::Shape::default()
    }
}

fn stated(field: &str, operator: &str, value: Option<&str>) -> call::shape::Constraint {
    call::shape::Constraint {
        field: field.to_owned(),
        operator: operator.to_owned(),
        stated: None,
        value: value.map(str::to_owned),
    }
}

fn refused(change: impl FnOnce(&mut call::Shape)) -> String {
    let mut bad = shape();
    change(&mut bad);
    let shapes = vec![shape(), bad];
    messages::from_wire(&call::Demand { shapes })
        .expect_err("refused")
        .to_string()
}

#[test]
fn a_demand_comes_back_whole() {
    let read = |field, operator, value| {
        demand::constraint(field, operator, Some(value), &mut Patterns::default()).expect("good")
    };
    let unique = Constraint::parse("hostname", "UNIQUE", None).expect("good");
    let full = Shape {
        name: Some("web".to_owned()),
        role: Some(Role::new("prod/web").expect("good")),
        resources: Resources::cpus_mem(1_500, 64).with_ports(mete_model::Ranges::interval(80, 81)),
        any_ports: 2,
        constraints: vec![
            read("hostname", "UNLIKE", "h1|h2"),
            read("@zone", "LIKE", "eu-.*"),
            read("rack", "CLUSTER", "a"),
            read("level", "IS", "2.5"),
            read("hostname", "UNLIKE", "h3").standing_for(&unique),
        ],
        preferred: vec![read("hostname", "UNLIKE", "h4")],
        max_per_agent: Some(3),
        takes: Takes::Unreserved,
        count: 12,
    };
    let shapes = [full, Shape::new(Resources::cpus_mem(1, 0))];

    let message = messages::to_wire(&shapes);
    let message = call::Demand::decode(&*message.encode_to_vec()).expect("complete");

    assert_eq!(messages::from_wire(&message).as_deref(), Ok(&shapes[..]));
}

#[test]
fn what_is_left_out_is_one_task_anywhere() {
    let shapes = messages::from_wire(&call::Demand {
        shapes: vec![shape()],
    });

    assert_eq!(shapes, Ok(vec![Shape::new(Resources::cpus_mem(1_000, 0))]));
}

#[test]
fn a_shape_that_cannot_be_meant_is_named_with_field_and_value() {
    assert_eq!(
        refused(|shape| shape.count = Some(0)),
        "shapes[1].count: its count is 0; 1 to 1000000 may wait"
    );
    assert_eq!(
        refused(|shape| shape.resources.clear()),
        "shapes[1].resources: it asks for nothing: no resources, no ports"
    );
    assert_eq!(
        refused(|shape| shape.resources.push(scalar("gpus", 1.5))),
        "shapes[1].resources: it asks for 1500 thousandths of a GPU; that is a part of one, or whole ones"
    );
    assert_eq!(
        refused(|shape| shape.resources = vec![scalar("cpus", f64::NAN)]),
        "shapes[1].resources[0].scalar: NaN is not possible: a quantity is a number, at least 0"
    );
    assert_eq!(
        refused(|shape| shape.any_ports = Some(70_000)),
        "shapes[1].any_ports: it asks for 70000 ports, at most 65536 are allowed"
    );
    assert!(
        refused(|shape| shape.role = Some("a b".to_owned()))
            .starts_with("shapes[1].role: bad role")
    );
    assert!(
        refused(|shape| shape.max_per_agent = Some(0)).starts_with("shapes[1].max_per_agent: ")
    );
    assert!(
        refused(|shape| shape.preferred = vec![stated("a", "UNIQUE", None)])
            .starts_with("shapes[1].preferred[0]: a:UNIQUE compares")
    );
    assert!(refused(|shape| shape.name = Some("x".repeat(300))).starts_with("shapes[1].name: "));
    let long = |shape: &mut call::Shape| {
        let mut constraint = stated("a", "IS", Some("b"));
        constraint.stated = Some("x".repeat(256));
        shape.constraints = vec![constraint];
    };
    assert_eq!(
        refused(long),
        "shapes[1].constraints[0]: what it stands for has 256 bytes, at most 255 are allowed"
    );
    assert!(
        refused(|shape| shape.constraints = vec![stated("a", "IS", Some("b")); 40])
            .starts_with("shapes[1].constraints: it has 40 constraints")
    );
    let ports_alone = call::Shape {
        resources: vec![ports(80, 80)],
        ..call::Shape::default()
    };
    assert!(
        messages::from_wire(&call::Demand {
            shapes: vec![ports_alone]
        })
        .is_ok()
    );
}

#[test]
fn a_constraint_of_a_shape_that_is_none_is_named_with_its_reason() {
    let refused = |field: &str, operator: &str, value: Option<&str>| {
        refused(|shape| shape.constraints = vec![stated(field, operator, value)])
    };

    assert_eq!(
        refused("rack", "UNIQUE", None),
        "shapes[1].constraints[0]: rack:UNIQUE compares with other instances; a shape takes IS, LIKE, UNLIKE, and CLUSTER with a value"
    );
    assert!(refused("rack", "NEAR", Some("a")).contains(r#"unknown operator "NEAR""#));
    assert!(refused("rack", "LIKE", None).contains("LIKE needs a value"));
    assert_eq!(
        refused("rack", "LIKE", Some("(a")),
        r#"shapes[1].constraints[0]: LIKE cannot use the pattern "(a": unclosed group"#
    );
    let explodes = refused("rack", "UNLIKE", Some("((a{1000}){1000}){1000}"));
    assert!(explodes.contains("exceeds size limit"), "{explodes}");
}

#[test]
fn one_demand_compiles_so_many_patterns_and_no_more() {
    let patterned = |at: usize| call::Shape {
        constraints: vec![stated("hostname", "LIKE", Some(&format!("host-{at}-.*")))],
        ..shape()
    };
    let many = |count: usize| {
        messages::from_wire(&call::Demand {
            shapes: (0..count).map(patterned).collect(),
        })
    };

    assert!(many(MAX_COMPILED_PATTERNS).is_ok());
    let refused = many(MAX_COMPILED_PATTERNS + 1)
        .expect_err("refused")
        .to_string();
    assert!(
        refused.starts_with("shapes[100].constraints[0]: "),
        "{refused}"
    );
    assert!(refused.contains("one too many"), "{refused}");
}

fn on(selector: constraint::selector::Selector) -> constraint::Selector {
    constraint::Selector {
        selector: Some(selector),
    }
}

fn attribute(name: &str) -> constraint::Selector {
    on(constraint::selector::Selector::AttributeName(
        name.to_owned(),
    ))
}

fn matches(regex: &str) -> constraint::Predicate {
    let regex = regex.to_owned();
    constraint::Predicate {
        predicate: Some(constraint::predicate::Predicate::TextMatches(
            constraint::predicate::TextMatches { regex },
        )),
    }
}

fn constraints(
    role: &str,
    groups: Vec<Vec<scheduler::AttributeConstraint>>,
) -> Result<BTreeMap<Role, OfferConstraints>, String> {
    let group = |attribute_constraints| scheduler::offer_constraints::role_constraints::Group {
        attribute_constraints,
    };
    let groups = groups.into_iter().map(group).collect();
    let entry = scheduler::offer_constraints::RoleConstraints { groups };
    let message = scheduler::OfferConstraints {
        role_constraints: [(role.to_owned(), entry)].into(),
    };
    offer_constraints::from_wire(Some(&message)).map_err(|bad| bad.to_string())
}

fn one(
    selector: constraint::Selector,
    predicate: constraint::Predicate,
) -> scheduler::AttributeConstraint {
    scheduler::AttributeConstraint {
        selector,
        predicate,
    }
}

#[test]
fn offer_constraints_are_read_by_role() {
    let region = on(constraint::selector::Selector::PseudoattributeType(2));
    let read = constraints(
        "web",
        vec![
            vec![one(region, matches("eu"))],
            vec![one(attribute("hostname"), matches("a.*"))],
        ],
    )
    .expect("good");

    let groups: Vec<String> = read[&Role::new("web").expect("good")]
        .groups()
        .flatten()
        .map(ToString::to_string)
        .collect();
    // An attribute may be called hostname; it is not the agent's.
    assert_eq!(
        groups,
        [r#"@region matches "eu""#, r#"hostname matches "a.*""#]
    );
    assert_eq!(offer_constraints::from_wire(None), Ok(BTreeMap::new()));
}

#[test]
fn offer_constraints_that_make_no_sense_are_named_with_field_and_value() {
    let path = r#"role_constraints["web"]"#;
    let refused = |groups| constraints("web", groups).expect_err("refused");

    assert_eq!(
        refused(Vec::new()),
        format!("{path}.groups: there are no groups; leave the role out to be offered every agent")
    );
    assert!(
        refused(vec![Vec::new()])
            .starts_with(&format!("{path}.groups: group 0 has no constraints"))
    );
    let path = format!("{path}.groups[0].attribute_constraints[0]");
    let unknown = on(constraint::selector::Selector::PseudoattributeType(9));
    assert_eq!(
        refused(vec![vec![one(unknown, matches("a"))]]),
        format!(
            "{path}.selector.pseudoattribute_type: 9 is not possible: there are HOSTNAME (1), REGION (2) and ZONE (3)"
        )
    );
    let nothing = constraint::Selector { selector: None };
    assert_eq!(
        refused(vec![vec![one(nothing, matches("a"))]]),
        format!("{path}.selector.attribute_name: it is missing")
    );
    let nothing = constraint::Predicate { predicate: None };
    assert_eq!(
        refused(vec![vec![one(attribute("rack"), nothing)]]),
        format!("{path}.predicate.exists: it is missing")
    );
    assert_eq!(
        refused(vec![vec![one(attribute("rack"), matches("[a"))]]),
        format!(
            r#"{path}.predicate.text_matches.regex: cannot use the pattern "[a": unclosed character class"#
        )
    );
    let explodes = refused(vec![vec![one(
        attribute("rack"),
        matches("((a{1000}){1000}){1000}"),
    )]]);
    assert!(explodes.contains("exceeds size limit"), "{explodes}");
    assert!(
        constraints("a b", vec![vec![one(attribute("rack"), matches("a"))]])
            .expect_err("refused")
            .contains("bad role")
    );
    let many = vec![vec![one(attribute("rack"), matches("a")); 1_001]];
    assert!(refused(many).contains("at most 1000"));
}

fn filters(role: &str, sets: &[&[(&str, f64)]]) -> wire::FrameworkInfo {
    let set = |amounts: &&[(&str, f64)]| wire::offer_filters::ResourceQuantities {
        quantities: amounts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), wire::value::Scalar { value: *value }))
            .collect(),
    };
    let filters = wire::OfferFilters {
        min_allocatable_resources: Some(wire::offer_filters::MinAllocatableResources {
            quantities: sets.iter().map(set).collect(),
        }),
    };
    wire::FrameworkInfo {
        offer_filters: [(role.to_owned(), filters)].into(),
        ..wire::FrameworkInfo::default()
    }
}

#[test]
fn the_least_an_offer_holds_is_read_by_role() {
    let info = filters("web", &[&[("cpus", 0.5), ("mem", 64.0)], &[("gpus", 1.0)]]);

    let read = min_allocatable(&info).expect("good");

    let mut gpu = Resources::none();
    gpu.gpus_milli = 1_000;
    let expected = [Resources::cpus_mem(500, 64), gpu].map(|set| Amounts::from(&set));
    assert_eq!(read[&Role::new("web").expect("good")], expected);
    assert!(
        min_allocatable(&wire::FrameworkInfo::default())
            .expect("none")
            .is_empty()
    );
}

#[test]
fn offer_filters_that_make_no_sense_are_named_with_field_and_value() {
    let refused = |role, sets: &[&[(&str, f64)]]| {
        min_allocatable(&filters(role, sets))
            .expect_err("refused")
            .to_string()
    };

    assert!(refused("/web", &[]).starts_with(r#"offer_filters["/web"]: bad role"#));
    let negative = refused("web", &[&[("cpus", -1.0)]]);
    assert!(
        negative.starts_with(
            r#"offer_filters["web"].min_allocatable_resources.quantities[0].quantities["cpus"]"#
        ) && negative.contains("-1 is not possible"),
        "{negative}"
    );
    let nothing = refused("web", &[&[("cpus", 1.0)], &[]]);
    assert!(
        nothing.contains("quantities[1].quantities") && nothing.contains("at least one quantity"),
        "{nothing}"
    );
    let many: Vec<&[(&str, f64)]> = vec![&[("cpus", 1.0)]; 101];
    assert!(refused("web", &many).contains("101 is not possible: at most 100 sets"));
}
