"""An executor as it was written for Mesos: JSON over HTTP/1.1, nothing but the standard library.

It runs each task in its head, ends those of a group together, answers messages with `heard:` and what it heard, or with its process id, ends a task that is killed, and comes back
with all it knows when its agent does.
"""

import base64
import http.client
import json
import os
import sys
import time
import uuid

AGENT = os.environ["MESOS_AGENT_ENDPOINT"]
IDS = {
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
TOKEN = os.environ.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN")
if TOKEN:
    HEADERS["Authorization"] = "Bearer " + TOKEN
GIVE_UP_AFTER_SECONDS = 60

unacknowledged_tasks = {}
unacknowledged_updates = {}
groups = []


def post(call):
    connection = http.client.HTTPConnection(AGENT, timeout=120)
    connection.request("POST", "/api/v1/executor", json.dumps({**IDS, **call}), HEADERS)
    return connection.getresponse()


def update(task, state):
    number = uuid.uuid4().bytes
    name = base64.b64encode(number).decode()
    status = {
        "task_id": {"value": task},
        "executor_id": IDS["executor_id"],
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "timestamp": time.time(),
        "uuid": name,
        "data": base64.b64encode(b"of " + task.encode()).decode(),
    }
    unacknowledged_updates[name] = {"status": status}
    answer = post({"type": "UPDATE", "update": {"status": status}})
    print("update", task, state, answer.status, flush=True)


def hear(event):
    kind = event["type"]
    print(kind, flush=True)
    if kind == "LAUNCH":
        task = event["launch"]["task"]
        unacknowledged_tasks[task["task_id"]["value"]] = task
        update(task["task_id"]["value"], "TASK_RUNNING")
    elif kind == "LAUNCH_GROUP":
        tasks = event["launch_group"]["task_group"]["tasks"]
        for task in tasks:
            unacknowledged_tasks[task["task_id"]["value"]] = task
        groups.append([task["task_id"]["value"] for task in tasks])
        for task in groups[-1]:
            update(task, "TASK_RUNNING")
    elif kind == "KILL":
        killed = event["kill"]["task_id"]["value"]
        with_it = [group for group in groups if killed in group]
        for task in with_it[0] if with_it else [killed]:
            update(task, "TASK_KILLED")
    elif kind == "ACKNOWLEDGED":
        unacknowledged_updates.pop(event["acknowledged"]["uuid"], None)
        unacknowledged_tasks.pop(event["acknowledged"]["task_id"]["value"], None)
    elif kind == "MESSAGE":
        heard = base64.b64decode(event["message"]["data"])
        heard = b"pid:%d" % os.getpid() if heard == b"pid" else b"heard:" + heard
        post({"type": "MESSAGE", "message": {"data": base64.b64encode(heard).decode()}})
    elif kind == "SHUTDOWN":
        sys.exit(0)


def subscribe():
    subscribe = {
        "unacknowledged_tasks": list(unacknowledged_tasks.values()),
        "unacknowledged_updates": list(unacknowledged_updates.values()),
    }
    answer = post({"type": "SUBSCRIBE", "subscribe": subscribe})
    if answer.status != 200:
        raise OSError(f"SUBSCRIBE was answered with {answer.status}: {answer.read()}")
    while line := answer.readline():
        hear(json.loads(answer.read(int(line))))
        yield


last = time.monotonic()
while time.monotonic() < last + GIVE_UP_AFTER_SECONDS:
    try:
        for _ in subscribe():
            last = time.monotonic()
    except (OSError, ValueError, http.client.HTTPException) as error:
        print("away:", error, flush=True)
    time.sleep(0.1)
sys.exit("the agent did not come back")
