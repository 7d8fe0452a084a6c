"""What must be there before a pipeline starts, found out while somebody is looking.

Each check raises one error that names the thing and what to do. What can't be known with the
rights that the pipeline has (reading a topic's configuration, say) is passed over: the pipeline
itself will tell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import grpc
from google.pubsub_v1 import types

from mqtt.client import Publisher, Subscriber
from mqtt.topics import TopicFilter
from transforms.mqttio import BrokerSettings
from transforms.pubsubio import PubSubDenied, PubSubError, PubSubUnavailable
from transforms.pubsubio.channel import method, open_channel
from transforms.pubsubio.errors import told

_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.5


def check_subscribe(
    broker: BrokerSettings, client_id: str, topics: Sequence[str], *, shared: bool
) -> None:
    """Connects beside the pipeline's own client ids and subscribes to the filters.

    A share name of its own gets copies, which are dropped: no message of the pipeline's is taken.

    Raises:
      mqtt.errors.ConnectError: the broker can't be reached, or refuses user, client id or filter.
      SecretError: the password or a certificate can't be read.
    """
    _check_password(broker)
    probe = f"{client_id}-preflight"
    filters = [TopicFilter(topic, share=probe if shared else None) for topic in topics]
    subscriber = Subscriber(broker.connection(probe, clean_start=True), filters)
    try:
        subscriber.wait_ready(broker.start_timeout_seconds)
    finally:
        subscriber.close()


def check_connect(broker: BrokerSettings, client_id: str) -> None:
    """Connects beside the pipeline's own client ids. Raises as :func:`check_subscribe`."""
    _check_password(broker)
    publisher = Publisher(broker.connection(f"{client_id}-preflight"))
    try:
        publisher.wait_ready(broker.start_timeout_seconds)
    finally:
        publisher.close()


def _check_password(broker: BrokerSettings) -> None:
    # Under way a secret may be away for a while; at the start it is wrong.
    if broker.password is not None:
        broker.password.read()


def check_topic(topic: str, *, timeout_seconds: float) -> None:
    """Asks for a Pub/Sub topic. Raises PubSubError if it isn't there or nobody answers."""
    _ask("get_topic", types.GetTopicRequest.pb()(topic=topic), topic, timeout_seconds)


def check_subscription(subscription: str, *, timeout_seconds: float) -> None:
    """Asks for a Pub/Sub subscription. Raises PubSubError as :func:`check_topic`."""
    request = types.GetSubscriptionRequest.pb()(subscription=subscription)
    _ask("get_subscription", request, subscription, timeout_seconds)


def _ask(name: str, request: object, resource: str, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    channel = open_channel()
    try:
        while True:
            failure = _try(channel, name, request, resource)
            if failure is None or isinstance(failure, PubSubDenied):
                return
            if not isinstance(failure, PubSubUnavailable):
                raise failure
            if time.monotonic() > deadline:
                emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
                raise PubSubUnavailable(
                    f"Pub/Sub{f' at {emulator}' if emulator else ''} did not answer within"
                    f" {timeout_seconds:g} s when asked for {failure}; is it up, and"
                    f" {'PUBSUB_EMULATOR_HOST right' if emulator else 'the network open'}?"
                )
            time.sleep(_PAUSE_SECONDS)
    finally:
        channel.close()


def _try(channel: grpc.Channel, name: str, request: object, resource: str) -> PubSubError | None:
    try:
        method(channel, name)(request, timeout=_CALL_SECONDS)
    except grpc.RpcError as error:
        return told(error, resource)
    return None
