//! JSON as `docs` and other programs know it.

use mete_proto::rest::apps::{App, AppInfo, AppList, EnvValue, UnreachableStrategy};
use mete_proto::rest::backends::{Ack, Backends, Change, EventId, InstanceState, Mode, Protocol};
use mete_proto::rest::cluster::ClusterFile;
use mete_proto::rest::deployments::{Deployment, DeploymentResult};
use mete_proto::rest::errors::Error;
use mete_proto::rest::events::{Event, Happening};
use mete_proto::rest::info::Info;
use mete_proto::rest::queue::Queue;
use mete_proto::rest::tasks::TaskList;
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
            "since":"2026-11-29T13:00:11.014Z","protocol":"tcp","mode":"http","labels":{"HAPROXY_0_VHOST":"web.example"},
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
        r#"{"epoch":"e","version":43,"services":[],"removed":[{"appId":"/web","portIndex":0,"servicePort":10000}]}"#,
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

#[test]
fn apps_print_what_is_set_and_nothing_else() {
    let app: App = reads_and_writes(
        r#"{"id":"/web","cmd":"run","cpus":0.1,"mem":32,"disk":0,"instances":2,"env":{"A":"b","S":{"secret":"s"}},
            "labels":{},"portDefinitions":[{"port":0,"protocol":"tcp","name":"http"}],"networks":[{"mode":"host"}],
            "healthChecks":[{"protocol":"COMMAND","command":{"value":"true"},"ignoreHttp1xx":false,"delaySeconds":15}],
            "upgradeStrategy":{"maximumOverCapacity":1,"minimumHealthCapacity":0.5},"backoffFactor":1.15,
            "unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":5},"constraints":[["hostname","UNIQUE"]],
            "fetch":[{"uri":"http://example.com/a","destPath":"b"}],"container":{"type":"DOCKER"},
            "versionInfo":{"lastScalingAt":"t","lastConfigChangeAt":"t"}}"#,
    );
    assert_eq!(app.mem, Some(32.0));
    let env = app.env.expect("env");
    assert_eq!(env["S"], EnvValue::Secret("s".to_owned()));
    assert_eq!(serde_json::to_string(&App::default()).expect("JSON"), "{}");

    let waits: App = reads_and_writes(r#"{"unreachableStrategy":"disabled"}"#);
    assert_eq!(
        waits.unreachable_strategy,
        Some(UnreachableStrategy::Word("disabled".to_owned()))
    );
    let odd: App = serde_json::from_str(r#"{"id":null,"later":{"x":[1]},"cpus":1}"#).expect("good");
    assert_eq!((odd.id, odd.cpus), (None, Some(1.0)));
}

#[test]
fn an_app_and_its_standing_are_one_object() {
    let info: AppInfo = reads_and_writes(
        r#"{"id":"/web","tasksStaged":0,"tasksRunning":1,"tasksHealthy":1,"tasksUnhealthy":0,"deployments":[{"id":"d"}],
            "lastTaskFailure":{"appId":"/web","host":"h","message":"m","state":"TASK_FAILED","taskId":"t","timestamp":"x","version":"y"},
            "tasksStats":{"totalSummary":{"stats":{"counts":{"staged":0,"running":1,"healthy":0,"unhealthy":0},
                "lifeTime":{"averageSeconds":1.5,"medianSeconds":1.5}}}},
            "taskStats":{"totalSummary":{"stats":{"counts":{"staged":0,"running":1,"healthy":0,"unhealthy":0}}}},
            "tasks":[{"appId":"/web","healthCheckResults":[{"alive":true,"consecutiveFailures":0,"instanceId":"i"}],"host":"h",
                "id":"t","ipAddresses":[{"ipAddress":"127.0.0.2","protocol":"IPv4"}],"ports":[31000],"servicePorts":[10000],
                "slaveId":"S1","state":"TASK_RUNNING","stagedAt":"a","startedAt":"b","version":"c","localVolumes":[],"role":"*"}]}"#,
    );

    assert_eq!(
        (info.app.id.as_deref(), info.standing.tasks_running),
        (Some("/web"), Some(1))
    );
    reads_and_writes::<AppList>(r#"{"apps":[]}"#);
    reads_and_writes::<TaskList>(r#"{"tasks":[]}"#);
}

#[test]
fn deployments_queue_and_info_have_their_shapes() {
    reads_and_writes::<DeploymentResult>(r#"{"version":"v","deploymentId":"d"}"#);
    reads_and_writes::<Deployment>(
        r#"{"id":"d","version":"v","affectedApps":["/web"],"affectedPods":[],"currentStep":1,"totalSteps":1,
            "steps":[{"actions":[{"action":"ScaleApplication","app":"/web"}]}],
            "currentActions":[{"action":"ScaleApplication","app":"/web","readinessCheckResults":[]}]}"#,
    );
    reads_and_writes::<Queue>(
        r#"{"queue":[{"count":1,"role":"*","delay":{"timeLeftSeconds":0,"overdue":true},"since":"s","app":{"id":"/web"},
            "processedOffersSummary":{"processedOffersCount":1,"unusedOffersCount":1,"lastUnusedOfferAt":"t",
                "rejectSummaryLastOffers":[{"reason":"InsufficientCpus","declined":1,"processed":1}],"rejectSummaryLaunchAttempt":[]},
            "lastUnusedOffers":[{"offer":{"id":"o","hostname":"h","agentId":"S1","attributes":[{"name":"rack","text":"a"}],
                "resources":[{"name":"cpus","role":"*","scalar":4},{"name":"ports","role":"*","ranges":[{"begin":1,"end":2}]}]},
                "reason":["InsufficientCpus"],"timestamp":"t"}]}]}"#,
    );
    let info = Info {
        framework_id: Some("f".to_owned()),
        ..Info::default()
    };
    let text = serde_json::to_string(&info).expect("JSON");
    assert!(
        text.contains(r#""frameworkId":"f","marathon_config":{"#),
        "{text}"
    );
    reads_and_writes::<Info>(&text);
}

#[test]
fn errors_tell_places_or_what_the_parser_says() {
    reads_and_writes::<Error>(r#"{"message":"m"}"#);
    reads_and_writes::<Error>(r#"{"message":"m","details":"expected value at line 1"}"#);
    reads_and_writes::<Error>(r#"{"message":"m","details":[{"path":"/id","errors":["e"]}]}"#);
    reads_and_writes::<Error>(r#"{"message":"m","deployments":[{"id":"d"}]}"#);
}

#[test]
fn events_say_their_type_and_time() {
    let event: Event = reads_and_writes(
        r#"{"eventType":"deployment_info","timestamp":"t","plan":{"id":"d","version":"v","original":{},"target":{},"steps":[]},"currentStep":{"actions":[]}}"#,
    );
    assert!(matches!(event.what, Happening::DeploymentInfo { .. }));
    for text in [
        r#"{"eventType":"scheduler_disconnected_event","timestamp":"t"}"#,
        r#"{"eventType":"group_change_success","groupId":"/","version":"v","timestamp":"t"}"#,
        r#"{"eventType":"instance_health_changed_event","instanceId":"i","runSpecId":"/web","healthy":null,"runSpecVersion":"v","timestamp":"t"}"#,
        r#"{"eventType":"api_post_event","clientIp":"127.0.0.1","uri":"/v2/apps","appDefinition":{"id":"/web"},"timestamp":"t"}"#,
        r#"{"eventType":"event_stream_attached","remoteAddress":"127.0.0.1:1","timestamp":"t"}"#,
    ] {
        reads_and_writes::<Event>(text);
    }
}
