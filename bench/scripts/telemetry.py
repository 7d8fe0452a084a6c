"""The plain script, upwards: paho subscribes, PublisherClient publishes, the future acknowledges.

As fast as it goes while it stays correct and plain: the fields are copied out of paho's message at
once, batches of up to 1,000, and the PUBACK is sent by the publish future, never sooner.
``BENCH_BROKER_PORT``, ``BENCH_USER``, ``BENCH_PASSWORD``, ``BENCH_TOPIC`` and
PUBSUB_EMULATOR_HOST say where.
"""

import os
import sys
from typing import Any

import google.cloud.pubsub_v1 as pubsub_v1
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

topic = os.environ["BENCH_TOPIC"]
publisher = pubsub_v1.PublisherClient(
    batch_settings=pubsub_v1.types.BatchSettings(max_messages=1000, max_latency=0.01)
)
client = mqtt.Client(
    CallbackAPIVersion.VERSION2, client_id="bench-script", clean_session=False, manual_ack=True
)


def on_connect(client: mqtt.Client, *_: Any) -> None:
    client.subscribe("devices/+/telemetry/#", qos=1)


def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
    identifier = message.mid

    def published(future: Any) -> None:
        if future.exception() is not None:
            print(future.exception(), file=sys.stderr, flush=True)
            os._exit(1)
        client.ack(identifier, 1)

    publisher.publish(topic, message.payload, mqttTopic=message.topic).add_done_callback(published)


client.on_connect = on_connect
client.on_message = on_message
client.username_pw_set(os.environ["BENCH_USER"], os.environ["BENCH_PASSWORD"])
client.connect("127.0.0.1", int(os.environ["BENCH_BROKER_PORT"]))
client.loop_forever()
