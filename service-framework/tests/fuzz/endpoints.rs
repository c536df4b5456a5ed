//! Every endpoint of `/v2` that takes a body, with a good one; and those that change something without.

use reqwest::Method;
use serde_json::{Value, json};

/// Apps and groups that the run knows: few, so that wishes meet each other.
pub(crate) const IDS: [&str; 6] = ["/a", "/b", "/g/a", "/g/b.c", "/g/h/d", "/g/h"];

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    /// `{id}` stands for the path of an app or group.
    pub(crate) path: &'static str,
    pub(crate) body: Body,
}

/// What it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    App,
    Apps,
    Group,
    Pod,
    Instances,
    Tasks,
    Acknowledgement,
    /// None, and what is sent all the same does not matter.
    None,
}

/// The table. An endpoint that takes a body and is not here is not tried.
pub(crate) fn all() -> Vec<Endpoint> {
    let row = |method: &Method, path, body| Endpoint {
        method: method.clone(),
        path,
        body,
    };
    let (post, put, patch, delete) = (&Method::POST, &Method::PUT, &Method::PATCH, &Method::DELETE);
    vec![
        row(post, "/v2/apps", Body::App),
        row(put, "/v2/apps", Body::Apps),
        row(patch, "/v2/apps", Body::Apps),
        row(put, "/v2/apps{id}", Body::App),
        row(patch, "/v2/apps{id}", Body::App),
        row(post, "/v2/groups", Body::Group),
        row(put, "/v2/groups", Body::Group),
        row(post, "/v2/groups{id}", Body::Group),
        row(put, "/v2/groups{id}", Body::Group),
        row(put, "/v2/groups{id}?dryRun=true", Body::Group),
        row(patch, "/v2/groups{id}", Body::Group),
        row(post, "/v2/pods", Body::Pod),
        row(put, "/v2/pods{id}", Body::Pod),
        row(delete, "/v2/pods{id}::instances", Body::Instances),
        row(post, "/v2/tasks/delete", Body::Tasks),
        row(put, "/v2/backends/acks/edge", Body::Acknowledgement),
        row(post, "/v2/apps{id}/restart", Body::None),
        row(delete, "/v2/apps{id}", Body::None),
        row(delete, "/v2/apps{id}/tasks", Body::None),
        row(delete, "/v2/apps{id}/tasks/x.instance-1._app.1", Body::None),
        row(delete, "/v2/pods{id}", Body::None),
        row(delete, "/v2/pods{id}::instances/x.instance-1", Body::None),
        row(delete, "/v2/groups{id}", Body::None),
        row(delete, "/v2/queue{id}/delay", Body::None),
        row(delete, "/v2/deployments{id}", Body::None),
    ]
}

impl Body {
    /// A good one, of an app or group with this id.
    pub(crate) fn good(self, id: &str) -> Value {
        match self {
            Self::App => app(id),
            Self::Apps => json!([app(id), app("/g/a")]),
            Self::Group => json!({
                "id": id, "dependencies": ["/z"], "apps": [app("x")],
                "groups": [{ "id": "y", "apps": [app("z")], "groups": [] }],
            }),
            Self::Pod => pod(id),
            Self::Instances => json!(["a.instance-945e4e36-9e4f-49f7-96d0-477add9385ea"]),
            Self::Tasks => {
                let id = "a.instance-945e4e36-9e4f-49f7-96d0-477add9385ea._app.1";
                json!({ "ids": [id] })
            }
            Self::Acknowledgement => json!({
                "epoch": "945e4e36-9e4f-49f7-96d0-477add9385ea", "version": 1,
                "draining": [{ "taskId": "t._app.1", "sessions": 2 }],
            }),
            Self::None => Value::Null,
        }
    }
}

/// Every key of an app that is carried, and some that are not.
fn app(id: &str) -> Value {
    let port = json!({ "port": 0, "protocol": "tcp", "name": "http", "labels": { "a": "b" } });
    json!({
        "id": id, "cmd": "sleep 1000", "user": "nobody", "instances": 1,
        "cpus": 0.001, "mem": 0, "disk": 0, "gpus": 0, "executor": "",
        "env": { "A": "1", "B": "2" }, "labels": { "HAPROXY_0_VHOST": "a.example" },
        "portDefinitions": [port], "requirePorts": false, "networks": [{ "mode": "host" }],
        "constraints": [["hostname", "LIKE", "127.*"], ["hostname", "MAX_PER", "50"]],
        "acceptedResourceRoles": ["*"], "role": "*", "dependencies": ["/z", "y"],
        "healthChecks": [{ "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 1,
            "gracePeriodSeconds": 1, "timeoutSeconds": 1, "maxConsecutiveFailures": 3 }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5 },
        "backoffSeconds": 1, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 300,
        "taskKillGracePeriodSeconds": 1, "killSelection": "YOUNGEST_FIRST",
        "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
        "resourceLimits": { "cpus": 1, "mem": "unlimited" },
        "container": { "type": "MESOS", "docker": { "image": "busybox", "forcePullImage": true },
            "volumes": [{ "containerPath": "/data", "hostPath": "data", "mode": "RW" }],
            "portMappings": [] },
        "fetch": [{ "uri": "http://127.0.0.1:9/x.tgz", "extract": true, "executable": false, "cache": false,
            "destPath": "x" }],
    })
}

/// Every key of a pod that is carried.
fn pod(id: &str) -> Value {
    let resources = json!({ "cpus": 0.001, "mem": 1, "disk": 0, "gpus": 0 });
    json!({
        "id": id, "user": "nobody", "labels": { "a": "b" },
        "environment": { "A": "1", "S": { "secret": "pw" } }, "secrets": { "pw": { "source": "x" } },
        "containers": [{
            "name": "web", "resources": resources, "resourceLimits": { "cpus": 1, "mem": "unlimited" },
            "exec": { "command": { "argv": ["sleep", "1000"] }, "overrideEntrypoint": true },
            "image": { "kind": "DOCKER", "id": "busybox", "forcePull": true, "labels": { "a": "b" } },
            "endpoints": [{ "name": "http", "hostPort": 0, "protocol": ["tcp"], "labels": { "a": "b" } }],
            "environment": { "B": "2" }, "user": "www", "labels": { "c": "d" },
            "healthCheck": { "http": { "endpoint": "http", "path": "/", "scheme": "HTTP" },
                "gracePeriodSeconds": 1, "intervalSeconds": 2, "timeoutSeconds": 1, "delaySeconds": 0,
                "maxConsecutiveFailures": 3 },
            "volumeMounts": [{ "name": "data", "mountPath": "/data", "readOnly": false }],
            "artifacts": [{ "uri": "http://127.0.0.1:9/x.tgz", "destPath": "x" }],
            "lifecycle": { "killGracePeriodSeconds": 0.5 },
        }, {
            "name": "log", "resources": resources, "exec": { "command": { "shell": "sleep 1000" } },
            "healthCheck": { "exec": { "command": { "shell": "true" } } },
        }],
        "volumes": [{ "name": "data" }], "networks": [{ "mode": "host" }],
        "scaling": { "kind": "fixed", "instances": 1 },
        "scheduling": {
            "backoff": { "backoff": 0.1, "backoffFactor": 1.15, "maxLaunchDelay": 1 },
            "upgrade": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5 },
            "placement": { "constraints": [{ "fieldName": "hostname", "operator": "MAX_PER", "value": "50" }],
                "acceptedResourceRoles": ["*"] },
            "killSelection": "YOUNGEST_FIRST",
            "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
        },
        "executorResources": { "cpus": 0.1, "mem": 32, "disk": 10 }, "role": "*",
    })
}
