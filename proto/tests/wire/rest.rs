//! JSON as `docs` and other programs know it.

use mete_proto::rest::backends::{Ack, Backends, Change, EventId, InstanceState, Mode, Protocol};
use mete_proto::rest::cluster::ClusterFile;
use serde::{Serialize, de::DeserializeOwned};

fn reads_and_writes<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let read: T = serde_json::from_value(value.clone()).expect(text);
    assert_eq!(serde_json::to_value(&read).expect("JSON"), value);
    read
}

#[test]
fn the_list_of_healthy_tasks_has_its_shape() {
    let list: Backends = reads_and_writes(
        r#"{"epoch":"0b7c-11","version":42,"services":[{"appId":"/web","portIndex":0,"servicePort":10000,
            "protocol":"tcp","mode":"http","labels":{"HAPROXY_0_VHOST":"web.example"},
            "instances":[{"taskId":"web.1","host":"127.0.0.2","port":31004,"state":"up"},
                         {"taskId":"web.2","host":"127.0.0.3","port":31005,"state":"draining"}]}]}"#,
    );

    let service = &list.services[0];
    assert_eq!(
        (service.mode, service.protocol),
        (Mode::Http, Protocol::Tcp)
    );
    assert_eq!(service.instances[1].state, InstanceState::Draining);
    assert_eq!(service.key().app_id, "/web");
}

#[test]
fn changes_and_answers_have_their_shapes() {
    reads_and_writes::<Change>(
        r#"{"epoch":"e","version":43,"services":[],"removed":[{"appId":"/web","portIndex":0}]}"#,
    );
    reads_and_writes::<Ack>(
        r#"{"epoch":"e","version":43,"draining":[{"taskId":"web.2","sessions":3}]}"#,
    );
}

#[test]
fn unknown_keys_do_not_matter() {
    let ack: Ack = serde_json::from_str(r#"{"epoch":"e","version":1,"later":true}"#).expect("good");

    assert_eq!(ack.draining, []);
}

#[test]
fn event_ids_are_read_back_although_epochs_have_dashes() {
    let id = EventId {
        epoch: "6f1c8a52-0d5e-4a3b-9d7e-1f2a3b4c5d6e".to_owned(),
        version: 7,
    };

    assert_eq!(id.to_string().parse(), Ok(id));
    assert!("7".parse::<EventId>().is_err());
    assert!("e-x".parse::<EventId>().is_err());
}

#[test]
fn the_file_of_a_cluster_has_its_shape() {
    reads_and_writes::<ClusterFile>(
        r#"{"daemons":[{"name":"agent-1","url":"http://127.0.0.2:5051","pid":123}],
            "haproxy":{"pid":9,"stats":"http://127.0.0.1:9090/","adminSocket":"/tmp/a.sock","httpFrontend":"http://127.0.0.1:9080"}}"#,
    );
    reads_and_writes::<ClusterFile>(r#"{"daemons":[]}"#);
}
