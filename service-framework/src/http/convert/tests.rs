//! Bodies of apps, and what they are taken for.

use mete_proto::rest::apps::App;
use mete_service_framework_core::spec::app::{
    AppId, AppNetwork, AppSpec, ContainerKind, HealthProtocol, KillSelection, Mapping,
};
use serde_json::{Value, json};

use super::{Extent, apply};
use crate::http::body;

/// An app with a command, laid over with `said`.
fn whole(said: Value) -> Result<AppSpec, Value> {
    let id = AppId::new("/a").expect("good");
    let mut all = json!({ "cmd": "x" });
    for (key, value) in said.as_object().expect("an object") {
        all[key] = value.clone();
    }
    laid(AppSpec::new(id), &all, Extent::Whole)
}

fn laid(base: AppSpec, said: &Value, extent: Extent) -> Result<AppSpec, Value> {
    let read = body::read::<App>(said.to_string().as_bytes());
    read.and_then(|app| apply(base, &app, extent))
        .map_err(|failure| serde_json::to_value(&failure.body).expect("JSON"))
}

fn details(path: &str, error: &str) -> Value {
    json!([{ "path": path, "errors": [error] }])
}

#[test]
fn of_an_upgrade_strategy_either_may_be_left_out() {
    for (said, health, over) in [
        (json!({}), 1.0, 1.0),
        (json!({ "minimumHealthCapacity": 0.5 }), 0.5, 1.0),
        (json!({ "maximumOverCapacity": 0 }), 1.0, 0.0),
    ] {
        let spec = whole(json!({ "upgradeStrategy": said })).expect("good");
        let strategy = spec.upgrade_strategy;
        let found = (
            strategy.minimum_health_capacity,
            strategy.maximum_over_capacity,
        );
        assert_eq!(found, (health, over));
    }
    let volume = json!({ "containerPath": "data", "mode": "RW", "persistent": { "size": 1 } });
    let resident = json!({
        "container": { "type": "MESOS", "volumes": [volume] },
        "upgradeStrategy": { "minimumHealthCapacity": 0 },
    });
    let strategy = whole(resident).expect("good").upgrade_strategy;
    assert_eq!(strategy.maximum_over_capacity, 0.0);
}

/// Each of these is refused at one place, in these words.
fn refused(all: &[(Value, &str, &str)]) {
    for (said, path, error) in all {
        let body = whole(said.clone()).expect_err(&said.to_string());
        assert_eq!(body["details"], details(path, error), "{said}");
    }
}

fn numbers(spec: &AppSpec) -> Vec<(u16, Option<u16>)> {
    let inside = |mapping: &Mapping| mapping.container_port;
    spec.port_definitions
        .iter()
        .map(|port| (port.port, port.mapping.as_ref().map(inside)))
        .collect()
}

#[test]
fn what_marathon_until_1_4_has_printed_is_taken() {
    let host = whole(json!({
        "ports": [9502, 0], "portDefinitions": [{ "port": 9502, "name": "http" }, { "port": 0 }],
        "ipAddress": null, "requirePorts": false,
    }));
    let bridge = whole(json!({
        "ports": [9501, 9503], "portDefinitions": [{ "port": 9501 }, { "port": 9503 }], "requirePorts": true,
        "container": { "type": "DOCKER", "docker": {
            "image": "nginx", "network": "BRIDGE",
            "portMappings": [{ "containerPort": 80, "hostPort": 0, "servicePort": 9501 }],
        } },
    }));

    let host = host.expect("taken");
    assert_eq!(numbers(&host), [(9502, None), (0, None)]);
    assert_eq!(host.port_definitions[0].name.as_deref(), Some("http"));
    let bridge = bridge.expect("taken");
    assert_eq!(bridge.network, AppNetwork::Bridge);
    assert_eq!(numbers(&bridge), [(9501, Some(80)), (9503, Some(0))]);
    assert!(!bridge.require_ports);
}

#[test]
fn an_address_of_the_old_form_keeps_its_labels_and_may_name_the_bridge() {
    let ports =
        json!([{ "number": 80, "name": "http", "protocol": "tcp", "labels": { "VIP_0": "v" } }]);
    let named = whole(
        json!({ "ipAddress": { "networkName": "dev", "labels": { "a": "b" }, "discovery": { "ports": ports } } }),
    );
    let bridge = whole(json!({ "ipAddress": { "networkName": "mesos-bridge" } }));

    let named = named.expect("taken");
    assert_eq!(numbers(&named), [(0, Some(80))]);
    assert_eq!(named.port_definitions[0].labels["VIP_0"], "v");
    let AppNetwork::Named(networks) = &named.network else {
        panic!("a network by its name: {:?}", named.network);
    };
    assert_eq!(
        (networks[0].name.as_str(), networks[0].labels["a"].as_str()),
        ("dev", "b")
    );
    assert_eq!(bridge.expect("taken").network, AppNetwork::Bridge);
}

#[test]
fn two_forms_that_contradict_each_other_are_refused_in_marathons_words() {
    let port = json!([{ "containerPort": 80 }]);
    let address =
        json!({ "networkName": "x", "discovery": { "ports": [{ "number": 80, "name": "http" }] } });
    refused(&[
        (
            json!({ "ports": [1], "portDefinitions": [{ "port": 2 }] }),
            "/",
            "cannot specify both ports and port definitions",
        ),
        (json!({ "ports": [7, 0, 7] }), "/", "ports must be unique"),
        (
            json!({ "networks": [{ "mode": "host" }], "ipAddress": { "networkName": "x" } }),
            "/",
            "must not specify both networks and ipAddress",
        ),
        (
            json!({ "networks": [{ "mode": "host" }], "container": { "docker": { "image": "i", "network": "BRIDGE" } } }),
            "/",
            "must not specify both container.docker.network and networks",
        ),
        (
            json!({ "networks": [{ "mode": "container/bridge" }], "container": { "portMappings": port, "docker": { "image": "i", "portMappings": port } } }),
            "/",
            "cannot specify both portMappings and docker.portMappings",
        ),
        (
            json!({ "ipAddress": address, "container": { "docker": { "image": "i" } } }),
            "/ipAddress",
            "ipAddress/discovery is not allowed for Docker containers",
        ),
        (
            json!({ "ipAddress": address, "container": { "type": "MESOS", "portMappings": port } }),
            "/",
            "container.portMappings and ipAddress.discovery.ports must not both be set",
        ),
        (
            json!({ "ipAddress": {} }),
            "/networks",
            "Network name must be specified when container network is selected.",
        ),
        (
            json!({ "ipAddress": { "networkName": "x", "discovery": { "ports": [{ "number": "abc" }] } } }),
            "/ipAddress/discovery/ports(0)/number",
            "error.expected.jsnumber",
        ),
    ]);
    let bridge = whole(json!({ "networks": [{ "mode": "container/bridge" }] })).expect("taken");
    let body = laid(
        bridge,
        &json!({ "portDefinitions": [{ "port": 1 }] }),
        Extent::Part,
    );
    let error = "portDefinitions are only allowed with host-networking";
    assert_eq!(body.expect_err("refused")["details"], details("/", error));
}

#[test]
fn networks_that_cannot_be_are_refused_in_marathons_words() {
    refused(&[
        (
            json!({ "networks": [{ "mode": "host", "name": "x" }] }),
            "/networks",
            "Host networks may not have names or labels",
        ),
        (
            json!({ "networks": [{ "mode": "container/bridge", "name": "x" }] }),
            "/networks",
            "Bridge networks may not have names",
        ),
        (
            json!({ "networks": [{ "mode": "host" }, { "mode": "host" }] }),
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
    ]);
}

#[test]
fn words_are_read_in_upper_and_lower_case() {
    let spec = whole(json!({
        "killSelection": "oldest_first", "unreachableStrategy": "DISABLED", "networks": [{ "mode": "HOST" }],
        "container": { "type": "docker", "docker": { "image": "i" },
            "volumes": [{ "containerPath": "/a", "hostPath": "/b", "mode": "ro" }] },
        "portDefinitions": [{ "protocol": "TCP" }],
        "healthChecks": [{ "protocol": "mesos_http", "ipProtocol": "ipv4" }],
        "readinessChecks": [{ "protocol": "https", "portName": "x" }],
    }));
    let bridge = whole(json!({ "container": { "docker": { "image": "i", "network": "bridge" } } }));

    let spec = spec.expect("taken");
    assert_eq!(spec.kill_selection, KillSelection::OldestFirst);
    let container = spec.container.expect("one");
    assert!(container.kind == ContainerKind::Docker && container.volumes[0].read_only);
    assert_eq!(spec.health_checks[0].protocol, HealthProtocol::MesosHttp);
    assert!(spec.readiness_check.is_some_and(|check| check.secure));
    assert_eq!(bridge.expect("taken").network, AppNetwork::Bridge);
    for (said, path) in [
        (json!({ "killSelection": "ANY" }), "/killSelection"),
        (
            json!({ "container": { "type": "APPC" } }),
            "/container/type",
        ),
        (
            json!({ "networks": [{ "mode": "tunnel" }] }),
            "/networks(0)/mode",
        ),
        (
            json!({ "healthChecks": [{ "protocol": "SMTP" }] }),
            "/healthChecks(0)/protocol",
        ),
        (
            json!({ "portDefinitions": [{ "protocol": "sctp" }] }),
            "/portDefinitions(0)/protocol",
        ),
        (
            json!({ "unreachableStrategy": "off" }),
            "/unreachableStrategy",
        ),
    ] {
        refused(&[(said, path, "error.unknown.enum.literal")]);
    }
}

#[test]
fn a_container_without_an_image_is_of_type_mesos_or_refused() {
    refused(&[
        (
            json!({ "container": {} }),
            "/container/docker",
            "not defined",
        ),
        (
            json!({ "container": { "docker": null } }),
            "/container/docker",
            "not defined",
        ),
        (
            json!({ "container": { "docker": {} } }),
            "/container/docker/image",
            "error.path.missing",
        ),
        (
            json!({ "container": { "type": "MESOS", "docker": {} } }),
            "/container/docker/image",
            "error.path.missing",
        ),
    ]);
    assert!(whole(json!({ "container": { "type": "MESOS" } })).is_ok());
}

#[test]
fn what_is_out_of_its_range_is_told_in_marathons_words() {
    refused(&[
        (json!({ "instances": -1 }), "/instances", "error.min"),
        (json!({ "cpus": 0 }), "/cpus", "error.min"),
        (json!({ "mem": -1 }), "/mem", "error.min"),
        (json!({ "cmd": "" }), "/cmd", "error.minLength"),
        (json!({ "role": "" }), "/role", "error.minLength"),
        (
            json!({ "portDefinitions": [{ "name": "A_B" }] }),
            "/portDefinitions(0)/name",
            "error.pattern",
        ),
        (
            json!({ "fetch": [{}] }),
            "/fetch(0)/uri",
            "error.path.missing",
        ),
        (
            json!({ "fetch": [{ "uri": "http://x y/" }] }),
            "/fetch(0)/uri",
            "URI has invalid syntax.",
        ),
        (
            json!({ "uris": ["::"] }),
            "/uris(0)",
            "URI has invalid syntax.",
        ),
        (
            json!({ "uris": ["http://x/"], "fetch": [{ "uri": "http://y/" }] }),
            "/uris",
            "may not be set in conjunction with fetch",
        ),
    ]);
}
