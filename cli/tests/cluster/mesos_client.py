"""A framework over a client library that was written for Mesos: launches a task, waits for its end, tears itself down.

python mesos_client.py http://127.0.0.1:5050
"""

import sys
import threading

from mesoshttp.client import MesosClient

ended = threading.Event()
driver = []


def subscribed(one):
    print("subscribed")
    driver.append(one)


def offers(all):
    for offer in all:
        if ended.is_set() or offers.launched:
            offer.decline()
            continue
        offers.launched = True
        scalar = lambda name, value: {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        offer.accept([{
            "name": "sleeper",
            "task_id": {"value": "sleeper"},
            "agent_id": offer.get_offer()["agent_id"],
            "command": {"value": "sleep 0.5"},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        }])


offers.launched = False


def update(one):
    state = one["status"]["state"]
    print(state)
    if state in ("TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_LOST"):
        ended.set()


client = MesosClient(mesos_urls=[sys.argv[1]], frameworkName="mesoshttp", frameworkId=None)
client.on(MesosClient.SUBSCRIBED, subscribed)
client.on(MesosClient.OFFERS, offers)
client.on(MesosClient.UPDATE, update)
client.on(MesosClient.ERROR, lambda message: print("ERROR", message))
threading.Thread(target=client.register, daemon=True).start()
over = ended.wait(30)
if driver:
    driver[0].tearDown()
    print("torn down")
sys.exit(0 if over else 1)
