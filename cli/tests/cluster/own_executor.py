"""A framework with an executor of its own, as it was written for Mesos: JSON over HTTP/1.1, nothing but the standard library.

It launches a task under the executor, talks with it, kills its process, and waits for what is told of that.

python own_executor.py 127.0.0.1:5050 path/of/executor.py
"""

import base64
import getpass
import http.client
import json
import os
import signal
import sys

MASTER, PROGRAM = sys.argv[1:]
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
WANTED = {"TASK_FAILED", "FAILURE"}


def post(call):
    connection = http.client.HTTPConnection(MASTER, timeout=60)
    connection.request("POST", "/api/v1/scheduler", json.dumps(call), HEADERS)
    return connection.getresponse()


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


class Framework:
    def __init__(self):
        info = {"user": getpass.getuser(), "name": "own", "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
        self.events = post({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
        assert self.events.status == 200, self.events.read()
        HEADERS["Mesos-Stream-Id"] = self.events.headers["Mesos-Stream-Id"]
        self.id = None
        self.launched = False
        self.seen = set()

    def call(self, kind, **parts):
        answer = post({"type": kind, "framework_id": self.id, **parts})
        assert answer.status == 202, (kind, answer.status, answer.read())

    def message(self, words):
        data = base64.b64encode(words).decode()
        self.call("MESSAGE", message={"agent_id": self.agent, "executor_id": {"value": "own"}, "data": data})

    def offer(self, offer):
        if self.launched:
            return self.call("DECLINE", decline={"offer_ids": [offer["id"]]})
        self.launched, self.agent = True, offer["agent_id"]
        task = {
            "name": "task",
            "task_id": {"value": "task"},
            "agent_id": self.agent,
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": "own"},
                "command": {"value": "exec python3 " + PROGRAM},
                "resources": [scalar("cpus", 0.1), scalar("mem", 64)],
            },
        }
        launch = {"type": "LAUNCH", "launch": {"task_infos": [task]}}
        self.call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [launch]})

    def update(self, status):
        print(status["state"], status.get("reason"), flush=True)
        if "uuid" in status:
            parts = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            self.call("ACKNOWLEDGE", acknowledge=parts)
        self.seen.add(status["state"])
        if status["state"] == "TASK_RUNNING":
            self.message(b"pid")

    def hear(self, event):
        kind = event["type"]
        if kind == "SUBSCRIBED":
            self.id = event["subscribed"]["framework_id"]
        elif kind == "OFFERS":
            for offer in event["offers"]["offers"]:
                self.offer(offer)
        elif kind == "UPDATE":
            self.update(event["update"]["status"])
        elif kind == "MESSAGE":
            words = base64.b64decode(event["message"]["data"]).decode()
            print("MESSAGE", words.partition(":")[0], flush=True)
            os.kill(int(words.partition(":")[2]), signal.SIGKILL)
        elif kind == "FAILURE":
            failure = event["failure"]
            print("FAILURE", failure["executor_id"]["value"], failure["status"], flush=True)
            self.seen.add(kind)

    def run(self):
        while not WANTED <= self.seen:
            line = self.events.readline()
            assert line, "the stream has ended"
            self.hear(json.loads(self.events.read(int(line))))
        self.call("TEARDOWN")


Framework().run()
print("torn down")
