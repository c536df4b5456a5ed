//! What is thrown at Mesos' v1 API: good calls bent in every way, through a real master.
//!
//! Whatever comes, the answer is in time and blames the caller, and afterwards the master works as before.
//! `METE_FUZZ_SECONDS` plays longer than the default, `METE_FUZZ_SEED` plays one run again.

use std::env;
use std::time::Duration;

use mete_proto::json;
use mete_proto::mesos::v1::{master, scheduler};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tempfile::tempdir;
use tokio::time::{sleep, timeout};

use crate::peers::{Agent, Framework, Master, PATIENCE};
use crate::v1::{JSON, PROTOBUF, STREAM_ID, post};

/// In each run of all tests.
const SECONDS: u64 = 5;

/// Good calls of frameworks, but for their ids.
const SCHEDULER: [&str; 14] = [
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","roles":["web"],"failover_timeout":1e3,"capabilities":[{"type":"MULTI_ROLE"}]},"suppressed_roles":["web"]}}"#,
    r#"{"type":"ACCEPT","framework_id":{"value":"f"},"accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"command":{"value":"true","environment":{"variables":[{"name":"A","value":"b"}]}},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]}]}}],"filters":{"refuse_seconds":5}}}"#,
    r#"{"type":"ACCEPT","framework_id":{"value":"f"},"accept":{"offer_ids":[],"operations":[{"type":"RESERVE","id":{"value":"x"},"reserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}]}]}}]}}"#,
    r#"{"type":"ACCEPT","framework_id":{"value":"f"},"accept":{"offer_ids":[],"operations":[{"type":"GROW_VOLUME","id":{"value":"x"},"grow_volume":{"volume":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"d","mode":"RW"}}},"addition":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}]}}},{"type":"SHRINK_VOLUME","id":{"value":"y"},"shrink_volume":{"volume":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"d","mode":"RW"}}},"subtract":{"value":1}}}]}}"#,
    r#"{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"f"},"acknowledge_operation_status":{"agent_id":{"value":"a"},"uuid":"BwcHBwcHBwcHBwcHBwcHBw==","operation_id":{"value":"x"}}}"#,
    r#"{"type":"DECLINE","framework_id":{"value":"f"},"decline":{"offer_ids":[{"value":"o"}]}}"#,
    r#"{"type":"REVIVE","framework_id":{"value":"f"},"revive":{"roles":["web"]}}"#,
    r#"{"type":"KILL","framework_id":{"value":"f"},"kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":1}}}}"#,
    r#"{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"BwcHBwcHBwcHBwcHBwcHBw=="}}"#,
    r#"{"type":"RECONCILE","framework_id":{"value":"f"},"reconcile":{"tasks":[{"task_id":{"value":"t"}}]}}"#,
    r#"{"type":"RECONCILE_OPERATIONS","framework_id":{"value":"f"},"reconcile_operations":{"operations":[{"operation_id":{"value":"o"}}]}}"#,
    r#"{"type":"DEMAND","framework_id":{"value":"f"},"demand":{"shapes":[{"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}],"count":3}]}}"#,
    r#"{"type":"UPDATE_FRAMEWORK","framework_id":{"value":"f"},"update_framework":{"framework_info":{"user":"u","name":"n"}}}"#,
    r#"{"type":"MESSAGE","framework_id":{"value":"f"},"message":{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":"AAAA"}}"#,
];

/// Good calls of operators.
const OPERATOR: [&str; 12] = [
    r#"{"type":"GET_STATE"}"#,
    r#"{"type":"SUBSCRIBE"}"#,
    r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":1}}}"#,
    r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"role":"web","weight":2}]}}"#,
    r#"{"type":"UPDATE_QUOTA","update_quota":{"force":true,"quota_configs":[{"role":"web","limits":{"cpus":{"value":3}}}]}}"#,
    r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"a"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"DYNAMIC","role":"web"}]}]}}"#,
    r#"{"type":"GROW_VOLUME","grow_volume":{"agent_id":{"value":"a"},"volume":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"d","mode":"RW"}}},"addition":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}]}}}"#,
    r#"{"type":"SHRINK_VOLUME","shrink_volume":{"agent_id":{"value":"a"},"volume":{"name":"disk","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"web"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"d","mode":"RW"}}},"subtract":{"value":1}}}"#,
    r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[{"hostname":"h","ip":"10.0.0.1"}],"unavailability":{"start":{"nanoseconds":1},"duration":{"nanoseconds":1}}}]}}}"#,
    r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":{"seconds":1}}}"#,
    r#"{"type":"READ_FILE","read_file":{"path":"/x","offset":0,"length":1}}"#,
    r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#,
];

const NASTY: [&str; 18] = [
    "null",
    "true",
    "-1",
    "0",
    "1e308",
    "-1e308",
    "1e999",
    "18446744073709551616",
    "9007199254740993",
    "\"\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"../../x\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "[[]]",
    "\"\u{1F600}\"",
];

#[tokio::test]
async fn whatever_comes_is_answered_and_the_master_goes_on() {
    let seconds = number("METE_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = number("METE_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    println!("METE_FUZZ_SEED={seed}");
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut dice = StdRng::seed_from_u64(seed);

    let play = async {
        loop {
            throw(&master, &mut dice).await;
        }
    };
    tokio::select! {
        () = play => {}
        () = sleep(Duration::from_secs(seconds)) => {}
    }

    let _agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    assert_eq!(framework.offers().await.len(), 1);
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

async fn throw(master: &Master, dice: &mut StdRng) {
    let (path, calls) = match dice.random_bool(0.5) {
        true => ("/api/v1/scheduler", &SCHEDULER[..]),
        false => ("/api/v1", &OPERATOR[..]),
    };
    let good = calls.choose(dice).expect("some");
    let (kind, body) = bent(path, good, dice);
    let kinds = [kind, kind, kind, JSON, PROTOBUF, "text/plain", ""];
    let mut headers = vec![("content-type", *kinds.choose(dice).expect("some"))];
    if dice.random_bool(0.3) {
        headers.push((STREAM_ID, *["", "x", "\u{ff}"].choose(dice).expect("some")));
    }
    if dice.random_bool(0.2) {
        let accepts = ["*/*", "text/html", PROTOBUF, ",,;q=", "a;q=nan"];
        headers.push(("accept", *accepts.choose(dice).expect("some")));
    }
    let answer = timeout(PATIENCE, post(master, path, &headers, body.clone())).await;
    let status = answer.expect("in time").status().as_u16();
    let text = String::from_utf8_lossy(&body);
    assert!(
        status < 500 || status == 501,
        "{status}: {path} {headers:?} {text}"
    );
}

/// A body, and what it is.
fn bent(path: &str, good: &str, dice: &mut StdRng) -> (&'static str, Vec<u8>) {
    let mut text = good.to_owned();
    for _ in 0..dice.random_range(0..3) {
        let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
        replace(&mut value, dice);
        text = value.to_string();
    }
    let mut body = text.into_bytes();
    let mut kind = JSON;
    if dice.random_bool(0.4) {
        let encoded = match path {
            "/api/v1" => json::from_slice::<master::Call>(&body).map(|call| call.encode_to_vec()),
            _ => json::from_slice::<scheduler::Call>(&body).map(|call| call.encode_to_vec()),
        };
        if let Ok(encoded) = encoded {
            (kind, body) = (PROTOBUF, encoded);
        }
    }
    for _ in 0..dice.random_range(0..3) {
        if body.is_empty() {
            break;
        }
        let at = dice.random_range(0..body.len());
        match dice.random_range(0..4) {
            0 => body.truncate(at),
            1 => body[at] = dice.random(),
            2 => body.insert(at, dice.random()),
            _ => body.extend_from_within(at..),
        }
    }
    (kind, body)
}

/// Puts something nasty in the place of one value.
fn replace(value: &mut Value, dice: &mut StdRng) {
    let deeper = dice.random_bool(0.8);
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let at = dice.random_range(0..fields.len());
            if let Some((_, field)) = fields.iter_mut().nth(at) {
                replace(field, dice);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let at = dice.random_range(0..items.len());
            replace(&mut items[at], dice);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            let nasty = NASTY.choose(dice).expect("some");
            *value = serde_json::from_str(nasty).unwrap_or(Value::Null);
        }
    }
}
