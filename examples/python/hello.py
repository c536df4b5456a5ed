"""A whole framework over gRPC: it runs one task that says hello, waits until it has finished, and leaves.

    scripts/python-protos
    PYTHONPATH=target/python/modules target/python/venv/bin/python examples/python/hello.py 127.0.0.1:5050

What each call and event means is told in docs/api/framework.md. A token is taken from METE_TOKEN.
"""

import os
import queue
import sys
import uuid

import grpc
from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as api
from mete.v1 import scheduler_pb2_grpc as mete

# Events may be larger than gRPC's own bound of 4 MiB: many offers, or long lists of tasks.
MAX_EVENT_BYTES = 64 * 1024 * 1024

# What the task needs, as the cluster counts: CPUs and MiB.
NEEDS = {"cpus": 0.1, "mem": 32.0}

TERMINAL = {
    mesos.TASK_FINISHED,
    mesos.TASK_FAILED,
    mesos.TASK_KILLED,
    mesos.TASK_ERROR,
    mesos.TASK_LOST,
    mesos.TASK_DROPPED,
    mesos.TASK_GONE,
    mesos.TASK_GONE_BY_OPERATOR,
}


class Hello:
    """Answers events with calls, until `ended` says how the task ended."""

    def __init__(self):
        self.calls = queue.SimpleQueue()  # gRPC takes them from here, on a thread of its own.
        self.framework_id = None
        self.task_id = f"hello-{uuid.uuid4()}"  # Task ids are never used twice.
        self.launched = False
        self.ended = None

    def call(self, kind):
        """A call of one type, to be filled and handed to `self.calls`."""
        return api.Call(type=kind, framework_id=self.framework_id)

    def subscribe(self):
        call = self.call(api.Call.SUBSCRIBE)
        info = call.subscribe.framework_info
        info.user = ""  # Tasks run as whoever runs the agent.
        info.name = "hello-python"
        info.roles.append("*")
        info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
        info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
        self.calls.put(call)

    def on_subscribed(self, subscribed):
        self.framework_id = subscribed.framework_id
        print("subscribed as", self.framework_id.value, flush=True)
        # Told what waits, the master offers just that; without it, it offers whole agents.
        call = self.call(api.Call.DEMAND)
        shape = call.demand.shapes.add(name="hello", count=1)
        shape.resources.extend(resources())
        self.calls.put(call)

    def on_offers(self, offers):
        for offer in offers:
            if self.launched or not fits(offer):
                self.decline(offer)
            else:
                self.launch(offer)

    def launch(self, offer):
        call = self.call(api.Call.ACCEPT)
        call.accept.offer_ids.append(offer.id)
        operation = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH)
        task = operation.launch.task_infos.add(name="hello")
        task.task_id.value = self.task_id
        task.agent_id.CopyFrom(offer.agent_id)
        task.command.value = "echo hello from $MESOS_TASK_ID"
        task.resources.extend(resources())
        self.calls.put(call)
        self.launched = True
        # Nothing waits any more.
        self.calls.put(self.call(api.Call.SUPPRESS))

    def decline(self, offer):
        call = self.call(api.Call.DECLINE)
        call.decline.offer_ids.append(offer.id)
        call.decline.filters.refuse_seconds = 60
        self.calls.put(call)

    def on_update(self, status):
        print(status.task_id.value, mesos.TaskState.Name(status.state), status.message, flush=True)
        if status.uuid:  # Until it is acknowledged, the update comes again.
            call = self.call(api.Call.ACKNOWLEDGE)
            call.acknowledge.agent_id.CopyFrom(status.agent_id)
            call.acknowledge.task_id.CopyFrom(status.task_id)
            call.acknowledge.uuid = status.uuid
            self.calls.put(call)
        if status.task_id.value == self.task_id and status.state in TERMINAL:
            self.ended = status.state
            self.calls.put(self.call(api.Call.TEARDOWN))

    def run(self, address):
        """Follows the stream to its end, which TEARDOWN brings about."""
        options = [("grpc.max_receive_message_length", MAX_EVENT_BYTES)]
        token = os.environ.get("METE_TOKEN")
        metadata = [("authorization", f"Bearer {token}")] if token else []
        self.subscribe()
        with grpc.insecure_channel(address, options) as channel:
            stub = mete.SchedulerStub(channel)
            for event in stub.Connect(iter(self.calls.get, None), metadata=metadata):
                if event.type == api.Event.SUBSCRIBED:
                    self.on_subscribed(event.subscribed)
                elif event.type == api.Event.OFFERS:
                    self.on_offers(event.offers.offers)
                elif event.type == api.Event.UPDATE:
                    self.on_update(event.update.status)
                elif event.type == api.Event.ERROR:
                    raise RuntimeError(event.error.message)
            self.calls.put(None)


def resources():
    """What the task takes, as messages."""
    for name, amount in NEEDS.items():
        resource = mesos.Resource(name=name, type=mesos.Value.SCALAR)
        resource.scalar.value = amount
        yield resource


def fits(offer):
    """Whether an offer has all that the task needs."""
    offered = dict.fromkeys(NEEDS, 0.0)
    for resource in offer.resources:
        if resource.name in offered:
            offered[resource.name] += resource.scalar.value
    return all(offered[name] >= amount for name, amount in NEEDS.items())


def main():
    hello = Hello()
    try:
        hello.run(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5050")
    except grpc.RpcError as error:
        print(f"no master: {error.code().name}: {error.details()}", file=sys.stderr)
    except RuntimeError as error:
        print(f"the master says: {error}", file=sys.stderr)
    finally:
        hello.calls.put(None)  # Lets gRPC's thread end.
    return 0 if hello.ended == mesos.TASK_FINISHED else 1


if __name__ == "__main__":
    sys.exit(main())
