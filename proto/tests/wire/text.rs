//! Resources and attributes as people write them.

use mete_model::{AttributeValue, MB_MILLI, Role, Tag};
use mete_proto::resources_text::{
    parse_attributes, parse_resources, print_attributes, print_resources,
};
use proptest::prelude::*;

#[test]
fn resources_are_read_as_mesos_reads_them() {
    let all =
        parse_resources(" cpus:4; mem:2048 ;disk:0.5;ports:[31000-31010, 31020-31020];fpga:2;")
            .expect("good");

    assert_eq!(all.cpus_milli, 4_000);
    assert_eq!(all.mem_milli, 2_048 * MB_MILLI);
    assert_eq!(all.disk_milli, MB_MILLI / 2);
    assert_eq!(all.ports.count(), 12);
    assert_eq!(all.other("fpga"), 2_000);
    assert_eq!(
        print_resources(&all),
        "cpus:4; mem:2048; disk:0.5; fpga:2; ports:[31000-31010, 31020-31020]"
    );
}

#[test]
fn a_role_in_parentheses_keeps_a_part_for_it() {
    let text = "cpus:1; cpus(prod):4; mem(prod):1024; ports(prod):[1-2, 5-6]";

    let all = parse_resources(text).expect("good");

    let prod = Tag::reserved(Role::new("prod").expect("good"));
    let part = all.part(&prod).expect("it is kept");
    assert_eq!(
        (all.cpus_milli, part.cpus_milli, part.ports.count()),
        (1_000, 4_000, 4)
    );
    assert_eq!(print_resources(&all), text);
    assert_eq!(parse_resources("cpus(*):4"), parse_resources("cpus:4"));
}

#[test]
fn resources_come_as_json_too() {
    let list = r#" [{"name":"cpus","type":"SCALAR","scalar":{"value":1.5}},
        {"name":"mem","type":"SCALAR","scalar":{"value":64},"role":"prod"},
        {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":5,"end":9}]}}]"#;

    let all = parse_resources(list).expect("reads");

    assert_eq!(
        print_resources(&all),
        print_resources(&parse_resources("cpus:1.5;mem(prod):64;ports:[5-9]").expect("reads"))
    );
    for bad in [
        "[1]",
        "[{\"name\":\"cpus\"",
        "[{\"name\":\"cpus\",\"type\":\"SCALAR\"}]",
    ] {
        let refused = parse_resources(bad).expect_err(bad).to_string();
        assert!(refused.contains("resources"), "{bad}: {refused}");
    }
}

#[test]
fn a_bad_part_is_named() {
    let refused = |text| parse_resources(text).expect_err("refused").to_string();

    assert_eq!(
        refused("cpus:four"),
        "cpus: four is not possible: it is a number, or [a-b]"
    );
    assert!(refused("cpus(../x):4").starts_with("cpus(../x): bad role \"../x\""));
    assert!(refused("cpus():4").starts_with("cpus(): bad role \"\""));
    assert!(refused("cpus(prod:4").starts_with("cpus(prod: 4 is not possible"));
    assert!(refused("ports:[1-5];ports(prod):[5-6]").contains("[5-5] is not possible"));
    assert_eq!(
        refused("ports:[8-x]"),
        "ports: [8-x] is not possible: ranges are [a-b, c-d]"
    );
    assert!(refused("ports:[9-8]").starts_with("ports: 9-8 is not possible"));
    assert!(refused("cpus").starts_with("text: \"cpus\""));
    assert!(refused("cpus:-1").starts_with("cpus: -1 is not possible"));
    assert!(refused("cpus:nan").starts_with("cpus: NaN is not possible"));
}

#[test]
fn attributes_are_numbers_ranges_or_texts() {
    let all =
        parse_attributes("rack:r1;weight:2.5;slots:[1-4];url:http://x;odd:nan").expect("good");

    assert_eq!(all.get("weight"), Some(&AttributeValue::Scalar(2_500)));
    assert_eq!(all.get("odd"), Some(&AttributeValue::Text("nan".into())));
    assert_eq!(
        print_attributes(&all),
        "odd:nan; rack:r1; slots:[1-4]; url:http://x; weight:2.5"
    );
    assert_eq!(parse_attributes(&print_attributes(&all)), Ok(all));
    assert!(
        parse_attributes("a:1;a:2")
            .expect_err("refused")
            .to_string()
            .contains("given twice")
    );
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(all in super::round_trips::resources()) {
        prop_assert_eq!(parse_resources(&print_resources(&all)), Ok(all));
    }

    #[test]
    fn no_text_makes_reading_panic(text in "[a-z:;0-9.,\\[\\]{}() -]{0,60}") {
        let _ = parse_resources(&text);
        let _ = parse_attributes(&text);
    }
}
