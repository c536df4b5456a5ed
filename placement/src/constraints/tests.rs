use super::*;

fn constraint(field: &str, operator: &str, value: &str) -> Constraint {
    let value = (!value.is_empty()).then_some(value);
    Constraint::parse(field, operator, value).expect("good")
}

fn rack(name: &str) -> Placed {
    let mut placed = Placed {
        hostname: format!("host-{name}"),
        domain: Some(FaultDomain {
            region: "eu".to_owned(),
            zone: format!("eu-{name}"),
        }),
        ..Placed::default()
    };
    let value = AttributeValue::Text(Arc::from(name));
    placed.attributes.set("rack", value);
    placed
        .attributes
        .set("level", AttributeValue::Scalar(2_500));
    placed
}

/// Whether one more may stand on rack `there` while others stand on `racks`.
fn allows(constraint: &Constraint, there: &str, racks: &[&str]) -> bool {
    let others: Vec<Placed> = racks.iter().map(|name| rack(name)).collect();
    let tally = Tally::new(constraint, others.iter().map(Placed::place));
    constraint.allows(rack(there).place(), &tally)
}

#[test]
fn unique_takes_each_value_once() {
    for field in ["rack", "hostname", "@hostname", "@zone"] {
        let unique = constraint(field, "unique", "");

        assert!(allows(&unique, "a", &["b"]), "{field}");
        assert!(!allows(&unique, "a", &["b", "a"]), "{field}");
    }
    assert!(!allows(&constraint("@region", "UNIQUE", ""), "a", &["b"]));
}

#[test]
fn cluster_stays_where_it_is_told_or_began() {
    let told = constraint("rack", "CLUSTER", "a");
    assert!(allows(&told, "a", &["a"]) && !allows(&told, "b", &[]) && !allows(&told, "a", &["b"]));

    let free = constraint("rack", "CLUSTER", "");
    assert!(allows(&free, "b", &[]) && allows(&free, "b", &["b"]) && !allows(&free, "a", &["b"]));
}

#[test]
fn group_by_fills_the_emptiest_value() {
    let spread = constraint("rack", "GROUP_BY", "");
    assert!(allows(&spread, "a", &[]) && allows(&spread, "a", &["a"]));
    assert!(allows(&spread, "b", &["a"]) && !allows(&spread, "a", &["a", "a", "b"]));
    assert!(allows(&spread, "b", &["a", "b"]));

    let three = constraint("rack", "GROUP_BY", "3");
    assert!(!allows(&three, "a", &["a", "b"]) && allows(&three, "c", &["a", "b"]));
    assert!(allows(&three, "a", &["a", "b", "c"]));
}

#[test]
fn max_per_counts_to_its_number() {
    let two = constraint("rack", "MAX_PER", "2");

    assert!(allows(&two, "a", &["a", "b", "b"]) && !allows(&two, "b", &["a", "b", "b"]));
}

#[test]
fn patterns_match_the_whole_value() {
    let like = constraint("rack", "LIKE", "a|ab");
    assert!(allows(&like, "ab", &[]) && !allows(&like, "abc", &[]));

    let unlike = constraint("rack", "UNLIKE", "a.*");
    assert!(!allows(&unlike, "abc", &[]) && allows(&unlike, "ba", &[]));
}

#[test]
fn is_compares_text_and_numbers() {
    assert!(allows(&constraint("rack", "IS", "a"), "a", &[]));
    assert!(!allows(&constraint("rack", "IS", "A"), "a", &[]));
    assert!(allows(&constraint("level", "IS", "2.50"), "a", &[]));
    assert!(allows(&constraint("level", "IS", "2.5"), "a", &[]));
    assert!(!allows(&constraint("level", "IS", "2"), "a", &[]));
}

#[test]
fn a_place_without_the_attribute_satisfies_unlike_only() {
    for (operator, value) in [
        ("UNIQUE", ""),
        ("CLUSTER", ""),
        ("GROUP_BY", ""),
        ("LIKE", ".*"),
        ("MAX_PER", "9"),
        ("IS", "x"),
    ] {
        assert!(!allows(&constraint("disk", operator, value), "a", &[]));
    }
    assert!(allows(&constraint("disk", "UNLIKE", ".*"), "a", &[]));
}

#[test]
fn bad_constraints_are_refused_with_a_reason() {
    let long = "x".repeat(MAX_PATTERN_BYTES + 1);
    for (operator, value) in [
        ("NEAR", None),
        ("UNIQUE", Some("a")),
        ("GROUP_BY", Some("many")),
        ("GROUP_BY", Some("0")),
        ("MAX_PER", None),
        ("MAX_PER", Some("-1")),
        ("LIKE", None),
        ("LIKE", Some("(")),
        ("LIKE", Some("a)|(b")),
        ("LIKE", Some("((a{1000}){1000}){1000}")),
        ("UNLIKE", Some(&long)),
        ("IS", Some("a b")),
    ] {
        assert!(
            Constraint::parse("rack", operator, value).is_err(),
            "{operator} {value:?}"
        );
    }
}

#[test]
fn constraints_print_what_they_were_read_from() {
    for (operator, value) in [
        ("UNIQUE", ""),
        ("GROUP_BY", "3"),
        ("LIKE", "a.*"),
        ("IS", "b"),
    ] {
        let colon = if value.is_empty() { "" } else { ":" };

        assert_eq!(
            constraint("rack", operator, value).to_string(),
            format!("rack:{operator}{colon}{value}")
        );
    }
}
