//! Messages as Mesos prints and reads them.

use mete_proto::json::{self, Json, JsonError};
use mete_proto::mesos::v1::scheduler::{self, Call, Event};
use mete_proto::mesos::v1::{self as wire, agent, allocator, executor, maintenance, master};
use mete_proto::mesos::v1::{quota, resource_provider};
use prost::{Message as _, Name as _};

use crate::arbitrary::{Dice, Kinds};

fn print<M: Json>(message: &M) -> String {
    String::from_utf8(json::to_vec(message)).expect("JSON is UTF-8")
}

fn read<M: Json>(text: &str) -> M {
    json::from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused<M: Json>(text: &str) -> String {
    let read = json::from_slice::<M>(text.as_bytes());
    read.err()
        .unwrap_or_else(|| panic!("{text} is read"))
        .to_string()
}

/// What comes out when a text is read and printed again.
fn again<M: Json>(text: &str) -> String {
    print(&read::<M>(text))
}

/// What becomes of a text when one kind of message is read from it.
type OfText = fn(&str) -> String;

/// A message of which nothing is set.
type Unset = fn() -> String;

#[test]
fn fields_stand_in_the_order_of_their_declaration_not_of_their_numbers() {
    let framework = wire::FrameworkInfo {
        user: "root".to_owned(),
        name: "jobs".to_owned(),
        roles: vec!["a".to_owned(), "b/c".to_owned()],
        principal: Some("p".to_owned()),
        hostname: Some("h".to_owned()),
        ..wire::FrameworkInfo::default()
    };

    // `roles` is number 12, and declared before `hostname`, number 7.
    assert_eq!(
        print(&framework),
        r#"{"user":"root","name":"jobs","failover_timeout":0.0,"checkpoint":false,"roles":["a","b/c"],"hostname":"h","principal":"p"}"#
    );
}

#[test]
fn what_a_strict_reader_does_not_know_and_has_not_asked_for_is_read_and_not_written() {
    let agent = r#"{"hostname":"h","port":5051,"ip":"10.0.0.1"}"#;
    let read_agent: wire::AgentInfo = read(agent);
    assert_eq!(read_agent.ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(print(&read_agent), r#"{"hostname":"h","port":5051}"#);
    let subscribed = scheduler::event::Subscribed {
        framework_id: wire::FrameworkId {
            value: "f".to_owned(),
        },
        protocol_version: Some(1),
        master_epoch: Some(7),
        ..scheduler::event::Subscribed::default()
    };
    assert_eq!(print(&subscribed), r#"{"framework_id":{"value":"f"}}"#);
}

#[test]
fn members_of_a_oneof_stand_where_they_are_declared() {
    use wire::volume::source::csi_volume::VolumeCapability;
    use wire::volume::source::csi_volume::volume_capability::{
        AccessMode, AccessType, MountVolume,
    };

    let capability = VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume::default())),
        access_mode: AccessMode { mode: 1 },
    };
    let name = scheduler::attribute_constraint::Selector {
        selector: Some(
            scheduler::attribute_constraint::selector::Selector::AttributeName("rack".to_owned()),
        ),
    };

    assert_eq!(
        print(&capability),
        r#"{"mount":{},"access_mode":{"mode":"SINGLE_NODE_WRITER"}}"#
    );
    assert_eq!(print(&name), r#"{"attribute_name":"rack"}"#);
}

#[test]
fn an_event_without_a_part_is_its_type_alone() {
    let heartbeat = Event {
        r#type: Some(scheduler::event::Type::Heartbeat.into()),
        ..Event::default()
    };

    assert_eq!(print(&heartbeat), r#"{"type":"HEARTBEAT"}"#);
    assert_eq!(print(&Event::default()), "{}");
}

/// Messages of which nothing is set. Defaults are written; those of `Resource.role` and `FrameworkInfo.role` are not, because
/// they are deprecated.
const DEFAULTS: &[(Unset, &str)] = &[
    (unset::<wire::CommandInfo>, r#"{"shell":true}"#),
    (
        unset::<wire::command_info::Uri>,
        r#"{"value":"","extract":true}"#,
    ),
    (unset::<wire::Filters>, r#"{"refuse_seconds":5.0}"#),
    (unset::<wire::AgentInfo>, r#"{"hostname":"","port":5051}"#),
    (
        unset::<wire::environment::Variable>,
        r#"{"name":"","type":"VALUE"}"#,
    ),
    (
        unset::<wire::HealthCheck>,
        r#"{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0,"consecutive_failures":3,"grace_period_seconds":10.0}"#,
    ),
    (
        unset::<wire::CheckInfo>,
        r#"{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0}"#,
    ),
    (
        unset::<wire::health_check::HttpCheckInfo>,
        r#"{"protocol":"IPv4","port":0}"#,
    ),
    (
        unset::<wire::health_check::TcpCheckInfo>,
        r#"{"protocol":"IPv4","port":0}"#,
    ),
    (
        unset::<wire::network_info::IpAddress>,
        r#"{"protocol":"IPv4"}"#,
    ),
    (
        unset::<wire::container_info::DockerInfo>,
        r#"{"image":"","network":"HOST","privileged":false}"#,
    ),
    (unset::<wire::Image>, r#"{"type":"APPC","cached":true}"#),
    (unset::<wire::LinuxInfo>, r#"{"share_cgroups":true}"#),
    (unset::<wire::DrainConfig>, r#"{"mark_gone":false}"#),
    (
        unset::<wire::CsiPluginInfo>,
        r#"{"type":"","name":"default"}"#,
    ),
    (
        unset::<master::call::DrainAgent>,
        r#"{"agent_id":{"value":""},"mark_gone":false}"#,
    ),
    (unset::<wire::Resource>, r#"{"name":"","type":"SCALAR"}"#),
];

fn unset<M: Json>() -> String {
    print(&M::default())
}

#[test]
fn what_is_not_set_is_written_when_it_has_a_default_that_is_not_deprecated() {
    for (unset, wanted) in DEFAULTS {
        assert_eq!(unset(), *wanted);
    }
    assert_eq!(
        again::<wire::Filters>(r#"{"refuse_seconds":60}"#),
        r#"{"refuse_seconds":60.0}"#
    );
}

#[test]
fn doubles_have_a_fraction_or_an_exponent_and_are_as_short_as_can_be() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-3.0, "-3.0"),
        (0.1, "0.1"),
        (-0.025, "-0.025"),
        (15_872.345, "15872.345"),
        (999_999_999_999.999, "999999999999.999"),
        (1_234_567_890_123.456, "1234567890123.456"),
        (0.0005, "0.0005"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1_470_849_373.150_643, "1470849373.150643"),
        (9_007_199_254_740_991.0, "9007199254740991.0"),
        (9_007_199_254_740_992.0, "9007199254740992.0"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e300, "1.5e300"),
        (0.000_001, "0.000001"),
        (0.000_000_12, "1.2e-7"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
        (f64::NAN, "\"NaN\""),
    ];
    for (value, text) in cases {
        let scalar = wire::value::Scalar { value };
        assert_eq!(print(&scalar), format!(r#"{{"value":{text}}}"#));
        if !value.is_nan() {
            assert_eq!(read::<wire::value::Scalar>(&print(&scalar)), scalar);
        }
    }
}

#[test]
fn integers_are_numbers_up_to_their_ends() {
    let range = wire::value::Range {
        begin: 0,
        end: u64::MAX,
    };
    let times = [i64::MIN, -1, i64::MAX, 9_007_199_254_740_993];

    assert_eq!(print(&range), r#"{"begin":0,"end":18446744073709551615}"#);
    assert_eq!(read::<wire::value::Range>(&print(&range)), range);
    for nanoseconds in times {
        let time = wire::TimeInfo { nanoseconds };
        assert_eq!(print(&time), format!(r#"{{"nanoseconds":{nanoseconds}}}"#));
        assert_eq!(read::<wire::TimeInfo>(&print(&time)), time);
    }
}

#[test]
fn text_is_escaped_where_it_must_be_and_bytes_are_base64() {
    let parameter = wire::Parameter {
        key: "a/b \"c\" \\ \u{8}\u{c}\n\r\t\u{b}\u{7f}".to_owned(),
        value: "ß€𝄞".to_owned(),
    };
    let uuid = |value: &'static [u8]| {
        print(&wire::Uuid {
            value: value.into(),
        })
    };

    assert_eq!(
        print(&parameter),
        "{\"key\":\"a/b \\\"c\\\" \\\\ \\b\\f\\n\\r\\t\\u000B\u{7f}\",\"value\":\"ß€𝄞\"}"
    );
    assert_eq!(uuid(b""), r#"{"value":""}"#);
    assert_eq!(uuid(b"\xff\xfe"), r#"{"value":"//4="}"#);
    assert_eq!(uuid(b"abc"), r#"{"value":"YWJj"}"#);
}

#[test]
fn maps_are_objects_and_what_stands_in_them_is_whole() {
    let mut task = super::task();
    let scalar = |value| wire::value::Scalar { value };
    task.limits.insert("cpus".to_owned(), scalar(f64::INFINITY));
    task.limits.insert("mem".to_owned(), scalar(0.0)); // Protobuf leaves it out of its entry.
    task.resources.clear();
    task.command = None;

    assert_eq!(
        print(&task),
        r#"{"name":"web","task_id":{"value":"web.1"},"agent_id":{"value":"m-S1"},"limits":{"cpus":{"value":"Infinity"},"mem":{"value":0.0}}}"#
    );
    assert_eq!(read::<wire::TaskInfo>(&print(&task)), task);
}

#[test]
fn numbers_of_enums_that_have_no_name_are_not_written() {
    let capability = wire::framework_info::Capability { r#type: Some(77) };
    let linux = wire::CapabilityInfo {
        capabilities: vec![77, wire::capability_info::Capability::Chown.into()],
    };
    let variable = wire::environment::Variable {
        name: "A".to_owned(),
        r#type: Some(77),
        ..wire::environment::Variable::default()
    };

    assert_eq!(print(&capability), "{}");
    assert_eq!(print(&linux), r#"{"capabilities":["CHOWN"]}"#);
    assert_eq!(
        print(&wire::CapabilityInfo {
            capabilities: vec![77]
        }),
        "{}"
    );
    assert_eq!(print(&variable), r#"{"name":"A","type":"VALUE"}"#);
}

#[test]
fn our_additions_are_written_like_the_rest() {
    let text = r#"{"framework_id":{"value":"f"},"type":"DEMAND","demand":{"shapes":[{"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}}],"count":3}]}}"#;

    assert_eq!(again::<Call>(text), text);
}

/// What is read, and what it is the same as.
const LENIENT: &[(OfText, &str, &str)] = &[
    // What nobody knows, and what is null, is not there.
    (
        again::<Scalar>,
        r#" { "x" : [ { "y" : null } , "\u00e4" , -1.5e+3 ] , "value" : 1 } "#,
        r#"{"value":1.0}"#,
    ),
    (
        again::<Call>,
        r#"{"type":null,"framework_id":null,"kill":null}"#,
        "{}",
    ),
    (again::<wire::Labels>, r#"{"labels":null}"#, "{}"),
    (
        again::<wire::Labels>,
        r#"{"labels":[null,{"key":"k"},null]}"#,
        r#"{"labels":[{"key":"k"}]}"#,
    ),
    (
        again::<wire::TaskInfo>,
        r#"{"name":"","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"cpus":null}}"#,
        r#"{"name":"","task_id":{"value":"t"},"agent_id":{"value":"a"}}"#,
    ),
    // Numbers and booleans as strings.
    (again::<Scalar>, r#"{"value":"1.5"}"#, r#"{"value":1.5}"#),
    (
        again::<Scalar>,
        r#"{"value":"Infinity"}"#,
        r#"{"value":"Infinity"}"#,
    ),
    (
        again::<Scalar>,
        r#"{"value":"-Infinity"}"#,
        r#"{"value":"-Infinity"}"#,
    ),
    (
        again::<wire::TimeInfo>,
        r#"{"nanoseconds":"-12"}"#,
        r#"{"nanoseconds":-12}"#,
    ),
    (
        again::<wire::CommandInfo>,
        r#"{"shell":"false"}"#,
        r#"{"shell":false}"#,
    ),
    // Whole numbers however they are written, and fractions cut off.
    (
        again::<wire::TimeInfo>,
        r#"{"nanoseconds":5e3}"#,
        r#"{"nanoseconds":5000}"#,
    ),
    (
        again::<wire::TimeInfo>,
        r#"{"nanoseconds":-1.9}"#,
        r#"{"nanoseconds":-1}"#,
    ),
    (
        again::<wire::TimeInfo>,
        r#"{"nanoseconds":-0}"#,
        r#"{"nanoseconds":0}"#,
    ),
    (
        again::<wire::AgentInfo>,
        r#"{"hostname":"h","port":5052.0}"#,
        r#"{"hostname":"h","port":5052}"#,
    ),
    // Names of enums that nobody knows.
    (
        again::<wire::framework_info::Capability>,
        r#"{"type":"FROM_THE_FUTURE"}"#,
        "{}",
    ),
    (
        again::<wire::CapabilityInfo>,
        r#"{"capabilities":["BPF","WARP"]}"#,
        r#"{"capabilities":["BPF"]}"#,
    ),
    (
        again::<wire::environment::Variable>,
        r#"{"name":"A","type":"?"}"#,
        r#"{"name":"A","type":"VALUE"}"#,
    ),
    // One value for a list, and lists in lists.
    (
        again::<wire::CommandInfo>,
        r#"{"arguments":"a"}"#,
        r#"{"shell":true,"arguments":["a"]}"#,
    ),
    (
        again::<wire::Labels>,
        r#"{"labels":{"key":"k"}}"#,
        r#"{"labels":[{"key":"k"}]}"#,
    ),
    (
        again::<wire::CommandInfo>,
        r#"{"arguments":["a",["b",[]],"c"]}"#,
        r#"{"shell":true,"arguments":["a","b","c"]}"#,
    ),
    // Base64 without its padding.
    (
        again::<wire::Uuid>,
        r#"{"value":"//4"}"#,
        r#"{"value":"//4="}"#,
    ),
    // The last of two, whole.
    (
        again::<wire::Labels>,
        r#"{"labels":[{"key":"a"}],"labels":[{"key":"b"}]}"#,
        r#"{"labels":[{"key":"b"}]}"#,
    ),
    (
        again::<wire::CgroupInfo>,
        r#"{"net_cls":{"classid":1},"net_cls":{}}"#,
        r#"{"net_cls":{}}"#,
    ),
    (
        again::<wire::CgroupInfo>,
        r#"{"net_cls":{"classid":1},"net_cls":null}"#,
        "{}",
    ),
    // Escapes.
    (
        again::<wire::Label>,
        r#"{"k\u0065y":"\ud834\udd1e\/\"\b"}"#,
        r#"{"key":"𝄞/\"\b"}"#,
    ),
];

type Scalar = wire::value::Scalar;

#[test]
fn reading_is_as_lenient_as_mesos() {
    for (again, text, wanted) in LENIENT {
        assert_eq!(again(text), *wanted, "{text}");
    }
}

/// What is refused, and in which words.
const REFUSED: &[(OfText, &str, &str)] = &[
    (
        refused::<Call>,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"x"}}}"#,
        "bad mesos.v1.scheduler.Call: subscribe.framework_info.user is missing",
    ),
    (
        refused::<Call>,
        r#"{"accept":{"operations":[{},{"launch":{"task_infos":[{"name":"a","agent_id":{"value":"s"}}]}}]}}"#,
        "bad mesos.v1.scheduler.Call: accept.operations[1].launch.task_infos[0].task_id is missing",
    ),
    (
        refused::<wire::AgentId>,
        r#"{"value":null}"#,
        "bad mesos.v1.AgentID: value is missing",
    ),
    (
        refused::<wire::AgentId>,
        "{}",
        "bad mesos.v1.AgentID: value is missing",
    ),
    (
        refused::<wire::TaskInfo>,
        r#"{"limits":{"c\"":{}}}"#,
        r#"bad mesos.v1.TaskInfo: limits["c\""].value is missing"#,
    ),
    (
        refused::<wire::AgentId>,
        r#"{"value":7}"#,
        "bad mesos.v1.AgentID: value: expected a string, found 7",
    ),
    (
        refused::<wire::AgentId>,
        r#"{"value":["a"]}"#,
        "bad mesos.v1.AgentID: value: expected one value, found a list",
    ),
    (
        refused::<wire::Labels>,
        r#"{"labels":["a"]}"#,
        r#"bad mesos.v1.Labels: labels[0]: expected an object, found "a""#,
    ),
    (
        refused::<Call>,
        r#"{"type":1}"#,
        "bad mesos.v1.scheduler.Call: type: expected a name in a string, found 1",
    ),
    (
        refused::<wire::Attribute>,
        r#"{"name":"a","type":"COLOUR"}"#,
        r#"bad mesos.v1.Attribute: type: "COLOUR" is no mesos.v1.Value.Type"#,
    ),
    (
        refused::<wire::AgentInfo>,
        r#"{"hostname":"h","port":2147483648}"#,
        r#"bad mesos.v1.AgentInfo: port: "2147483648" is no int32"#,
    ),
    (
        refused::<wire::value::Range>,
        r#"{"begin":-1}"#,
        r#"bad mesos.v1.Value.Range: begin: "-1" is no uint64"#,
    ),
    (
        refused::<wire::value::Range>,
        r#"{"begin":18446744073709551616}"#,
        r#"bad mesos.v1.Value.Range: begin: "18446744073709551616" is no uint64"#,
    ),
    (
        refused::<wire::value::Range>,
        r#"{"begin":1e400}"#,
        r#"bad mesos.v1.Value.Range: begin: "1e400" is no uint64"#,
    ),
    (
        refused::<wire::value::Scalar>,
        r#"{"value":1e400}"#,
        r#"bad mesos.v1.Value.Scalar: value: "1e400" is no double"#,
    ),
    (
        refused::<wire::value::Scalar>,
        r#"{"value":"NaN"}"#,
        r#"bad mesos.v1.Value.Scalar: value: "NaN" is no double"#,
    ),
    (
        refused::<wire::value::Scalar>,
        r#"{"value":""}"#,
        r#"bad mesos.v1.Value.Scalar: value: "" is no double"#,
    ),
    (
        refused::<wire::value::Scalar>,
        r#"{"value":true}"#,
        "bad mesos.v1.Value.Scalar: value: expected a number, found true",
    ),
    (
        refused::<wire::CommandInfo>,
        r#"{"shell":"yes"}"#,
        r#"bad mesos.v1.CommandInfo: shell: "yes" is neither true nor false"#,
    ),
    (
        refused::<wire::CommandInfo>,
        r#"{"shell":1}"#,
        "bad mesos.v1.CommandInfo: shell: expected true or false, found 1",
    ),
    (
        refused::<wire::Uuid>,
        r#"{"value":"ä"}"#,
        r#"bad mesos.v1.UUID: value: "ä" is no base64"#,
    ),
    (
        refused::<wire::FrameworkInfo>,
        r#"{"offer_filters":[]}"#,
        "bad mesos.v1.FrameworkInfo: offer_filters: expected an object, found a list",
    ),
    (
        refused::<Call>,
        "[]",
        "bad mesos.v1.scheduler.Call: expected an object at byte 0",
    ),
    (
        refused::<Call>,
        "",
        "bad mesos.v1.scheduler.Call: expected a value, found the end at byte 0",
    ),
    (
        refused::<Call>,
        "{} x",
        "bad mesos.v1.scheduler.Call: expected the end, found 'x' at byte 3",
    ),
    (
        refused::<Call>,
        r#"{"type":"KILL",}"#,
        "bad mesos.v1.scheduler.Call: expected a name in quotes, found '}' at byte 15",
    ),
    (
        refused::<Call>,
        r#"{"x":[1 2]}"#,
        "bad mesos.v1.scheduler.Call: expected a comma or ], found '2' at byte 8",
    ),
    (
        refused::<Call>,
        r#"{"x":01}"#,
        "bad mesos.v1.scheduler.Call: expected a number, found '0' at byte 5",
    ),
    (
        refused::<Call>,
        r#"{"x":"\ud800"}"#,
        "bad mesos.v1.scheduler.Call: half of a pair of surrogates stands alone at byte 12",
    ),
    (
        refused::<Call>,
        "{\"x\":\"\n\"}",
        "bad mesos.v1.scheduler.Call: expected no control character in a string, found '\\n' at byte 6",
    ),
];

#[test]
fn refusals_name_the_path_and_the_value() {
    for (refused, text, wanted) in REFUSED {
        assert_eq!(refused(text), *wanted, "{text}");
    }
    let not_utf8 = json::from_slice::<Call>(b"{\"x\":\"\xff\"}");
    assert!(
        matches!(not_utf8, Err(JsonError::Malformed { at: 6, .. })),
        "{not_utf8:?}"
    );
    let long = refused::<Call>(&format!(r#"{{"type":{}}}"#, "9".repeat(100_000)));
    assert!(long.len() < 300, "{long}");
}

#[test]
fn fields_that_occur_again_are_bounded_so_that_they_cost_no_minutes() {
    let text = |again: usize| {
        let elements = r#"{"value":"u"},"#.repeat(100_000);
        let again = r#","environment":{"variables":[]}"#.repeat(again + 1);
        format!(r#"{{"uris":[{elements}{{"value":"u"}}]{again}}}"#)
    };

    assert_eq!(read::<wire::CommandInfo>(&text(16)).uris.len(), 100_001);
    assert_eq!(
        refused::<wire::CommandInfo>(&text(100_000)),
        "bad mesos.v1.CommandInfo: environment: occurs again, and 16 fields have done so before"
    );
}

#[test]
fn values_stand_two_hundred_deep_and_no_deeper_whoever_reads_them() {
    let unknown = |depth: usize| {
        let inner = depth - 1; // The message itself is one.
        format!("{{\"x\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    let parents = |depth: usize| {
        let inner = depth - 1;
        let open = r#"{"value":"c","parent":"#.repeat(inner);
        format!(r#"{open}{{"value":"c"}}{}"#, "}".repeat(inner))
    };
    let elements = |depth: usize| {
        let inner = depth - 1;
        format!(
            "{{\"arguments\":{}{}}}",
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };

    read::<Call>(&unknown(200));
    read::<wire::CommandInfo>(&elements(200));
    let deepest = read::<wire::ContainerId>(&parents(100));
    for refused in [
        refused::<Call>(&unknown(201)),
        refused::<wire::CommandInfo>(&elements(201)),
        refused::<wire::ContainerId>(&parents(201)),
        refused::<Call>(&"{\"x\":".repeat(1_000_000)),
        refused::<Call>(&format!("{{\"x\":{}", "[".repeat(1_000_000))),
    ] {
        assert!(refused.contains("more than 200 deep"), "{refused}");
    }
    assert_eq!(print(&deepest), parents(100));
    // prost reads a hundred levels of messages.
    assert!(refused::<wire::ContainerId>(&parents(150)).contains("recursion limit"));
}

#[test]
fn only_a_whole_text_is_read() {
    let text = print(&offers());

    assert_eq!(read::<Event>(&text), offers());
    for length in 0..text.len() {
        let cut = json::from_slice::<Event>(&text.as_bytes()[..length]);
        assert!(
            matches!(cut, Err(JsonError::Malformed { .. })),
            "{length}: {cut:?}"
        );
    }
}

fn offers() -> Event {
    let id = |value: &str| value.to_owned();
    let offer = wire::Offer {
        id: wire::OfferId { value: id("m-O1") },
        framework_id: wire::FrameworkId {
            value: id("m-0001"),
        },
        agent_id: wire::AgentId { value: id("m-S1") },
        hostname: id("h"),
        resources: vec![super::scalar("cpus", 1.5), super::ports(1, 2)],
        ..wire::Offer::default()
    };
    Event {
        r#type: Some(scheduler::event::Type::Offers.into()),
        offers: Some(scheduler::event::Offers {
            offers: vec![offer],
        }),
        ..Event::default()
    }
}

/// Reads random messages back from their JSON: nothing is lost, and printing them again changes nothing.
fn round_trips<M: Json + prost::Name + PartialEq>(kinds: &Kinds) {
    for seed in 0..60 {
        let name = format!(".{}", M::full_name());
        let encoded = kinds.message(&name, &mut Dice::new(seed), 0);
        let message =
            M::decode(encoded.as_slice()).unwrap_or_else(|error| panic!("{name} {seed}: {error}"));

        let text = print(&message);

        assert!(read::<M>(&text) == message, "{name} {seed}: {text}");
    }
}

#[test]
fn arbitrary_messages_come_back_as_they_were() {
    let kinds = &Kinds::new();
    round_trips::<agent::Call>(kinds);
    round_trips::<agent::ProcessIo>(kinds);
    round_trips::<agent::Response>(kinds);
    round_trips::<allocator::InverseOfferStatus>(kinds);
    round_trips::<executor::Call>(kinds);
    round_trips::<executor::Event>(kinds);
    round_trips::<maintenance::Schedule>(kinds);
    round_trips::<master::Call>(kinds);
    round_trips::<master::Event>(kinds);
    round_trips::<master::Response>(kinds);
    round_trips::<quota::QuotaStatus>(kinds);
    round_trips::<resource_provider::Call>(kinds);
    round_trips::<resource_provider::Event>(kinds);
    round_trips::<scheduler::ApiResult>(kinds);
    round_trips::<scheduler::Call>(kinds);
    round_trips::<scheduler::Event>(kinds);
    round_trips::<wire::Credentials>(kinds);
    round_trips::<wire::DeviceWhitelist>(kinds);
    round_trips::<wire::RateLimits>(kinds);
    round_trips::<wire::ResourceUsage>(kinds);
    round_trips::<wire::Value>(kinds);
    round_trips::<mete_proto::mete::v1::MasterMessage>(kinds);
}

/// Texts bent at random: each is read or refused, and whatever is read prints to something that is read as the same.
#[test]
fn bent_texts_are_read_or_refused() {
    const BITS: [&str; 16] = [
        "{", "}", "[", "]", "\"", ",", ":", "\\", "\\u12", "\\ud834", "null", "1e999", "-", "0.",
        "\u{0}", "€",
    ];
    let kinds = Kinds::new();
    let name = format!(".{}", Call::full_name());
    for seed in 0..20_000 {
        let dice = &mut Dice::new(seed);
        let encoded = kinds.message(&name, dice, 3);
        let mut text = json::to_vec(&Call::decode(encoded.as_slice()).expect("a call"));
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len() + 1);
            let bit = BITS[dice.below(BITS.len())];
            match dice.below(4) {
                0 => drop(text.splice(at..at, bit.bytes())),
                1 => text.truncate(at),
                2 if at < text.len() => text[at] = dice.any().to_le_bytes()[0],
                _ => {
                    let to = (at + dice.below(20)).min(text.len());
                    drop(text.splice(at..to, bit.bytes()));
                }
            }
        }

        if let Ok(call) = json::from_slice::<Call>(&text) {
            let printed = print(&call);
            assert_eq!(again::<Call>(&printed), printed, "{seed}");
        }
    }
}
