"""The plain script, downwards: SubscriberClient pulls, paho publishes, the PUBACK acknowledges.

As fast as it goes while it stays correct and plain: 1,000 messages outstanding, no limit of paho's
own on what is in flight, and the Pub/Sub acknowledgement waits for the broker's.
``BENCH_BROKER_PORT``, ``BENCH_USER``, ``BENCH_PASSWORD``, ``BENCH_SUBSCRIPTION`` and
PUBSUB_EMULATOR_HOST say where.
"""

import os
from typing import Any

import google.cloud.pubsub_v1 as pubsub_v1
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-script-commands")
# By packet identifier: the message that waits for its PUBACK, or PUBACK where that came first.
# setdefault is atomic; a lock would meet the one that paho holds while it calls on_publish.
waiting: dict[int, Any] = {}
PUBACK = object()


def on_publish(_: mqtt.Client, __: Any, identifier: int, *___: Any) -> None:
    message = waiting.setdefault(identifier, PUBACK)
    if message is not PUBACK:
        del waiting[identifier]
        message.ack()


def on_command(message: Any) -> None:
    device, name = message.attributes["deviceId"], message.attributes["commandName"]
    sent = client.publish(f"devices/{device}/commands/{name}", message.data, qos=1)
    if waiting.setdefault(sent.mid, message) is PUBACK:
        del waiting[sent.mid]
        message.ack()


client.on_publish = on_publish
client.max_inflight_messages_set(0)
client.username_pw_set(os.environ["BENCH_USER"], os.environ["BENCH_PASSWORD"])
client.connect("127.0.0.1", int(os.environ["BENCH_BROKER_PORT"]))
client.loop_start()
subscriber = pubsub_v1.SubscriberClient()
subscriber.subscribe(
    os.environ["BENCH_SUBSCRIPTION"],
    on_command,
    flow_control=pubsub_v1.types.FlowControl(max_messages=1000),
).result()
