"""What a pipeline needs, looked at by the pipeline itself, as itself, when it starts.

Each check raises one error that names the thing and what to do, and waits for what is not up yet.
What can't be known with the rights that the pipeline has (reading a topic's configuration, say) is
passed over: the pipeline itself will tell.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import grpc
from google.pubsub_v1 import types

from mqtt.client import Publisher, Subscriber
from mqtt.errors import ConnectError
from mqtt.topics import TopicFilter
from pipelines.options import OptionError
from pipelines.preflight.needs import (
    Broker,
    File,
    Folder,
    Job,
    LaunchFolder,
    Need,
    Secret,
    Specification,
    Subnetwork,
    Subscription,
    Table,
    Topic,
)
from transforms.archive import check_archive
from transforms.bigquery import check_table
from transforms.mqttio import BrokerSettings
from transforms.pubsubio import PubSubDenied, PubSubUnavailable
from transforms.pubsubio.channel import method, open_channel
from transforms.pubsubio.errors import told

_LOGGER = logging.getLogger(__name__)

_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0
"""After so long it is said what is waited for."""


def require(needs: Sequence[Need], *, timeout_seconds: float) -> None:
    """Looks at each need in turn, and waits for it where it is not up yet.

    Raises:
      OptionError: what is there contradicts the options.
      MqttError, TransformError: the first need that is not met; see the checks below.
    """
    for need in needs:
        match need:
            case Secret():
                # Under way one may be away for a while, at the start it is wrong.
                need.reference.read()
            case Broker(filters=()):
                check_connect(need.settings, need.client_id)
            case Broker():
                check_subscribe(need.settings, need.client_id, need.filters, shared=need.shared)
            case Topic():
                check_topic(need.name, timeout_seconds=timeout_seconds)
            case Subscription():
                topic = check_subscription(need.name, timeout_seconds=timeout_seconds)
                if topic is not None and topic == need.published:
                    raise OptionError(need.comes_back())
            case Table():
                check_table(need.name, need.definition, timeout_seconds=timeout_seconds)
            case Folder(tried=True):
                check_archive(need.name)
            case Folder() | File() | Specification() | LaunchFolder() | Subnetwork() | Job():
                pass  # files are read by who asked for them; the launch is over when this runs


def check_subscribe(
    broker: BrokerSettings, client_id: str, topics: Sequence[str], *, shared: bool
) -> None:
    """Connects beside the pipeline's own client ids and subscribes to the filters.

    A share name of its own gets copies, which are dropped: no message of the pipeline's is taken.

    Raises:
      mqtt.errors.ConnectError: the broker can't be reached, or refuses user, client id or filter.
      SecretError: a certificate can't be read.
    """
    probe = f"{client_id}-preflight"
    filters = [TopicFilter(topic, share=probe if shared else None) for topic in topics]
    # One message at most is sent to us, and what is not acknowledged ends with the session.
    connection = broker.connection(probe, clean_start=True, receive_maximum=1)
    subscriber = Subscriber(connection, filters)
    try:
        _wait_for_broker(subscriber, broker)
    finally:
        subscriber.close()


def check_connect(broker: BrokerSettings, client_id: str) -> None:
    """Connects beside the pipeline's own client ids. Raises as :func:`check_subscribe`."""
    publisher = Publisher(broker.connection(f"{client_id}-preflight"))
    try:
        _wait_for_broker(publisher, broker)
    finally:
        publisher.close()


def _wait_for_broker(client: Subscriber | Publisher, broker: BrokerSettings) -> None:
    """Waits until the client is ready, and says so where it takes long. Raises ConnectError."""
    timeout = broker.start_timeout_seconds
    try:
        client.wait_ready(min(_PATIENCE_SECONDS, timeout))
    except ConnectError as error:
        if error.permanent or timeout <= _PATIENCE_SECONDS:
            raise
        _LOGGER.warning("waiting for the broker, %g s at most: %s", timeout, error)
        client.wait_ready(timeout - _PATIENCE_SECONDS)


def check_topic(topic: str, *, timeout_seconds: float) -> None:
    """Asks for a Pub/Sub topic, and warns of one that nobody gets anything from.

    Raises PubSubError if it isn't there or nobody answers.
    """
    if _ask("get_topic", types.GetTopicRequest.pb()(topic=topic), topic, timeout_seconds) is None:
        return
    request = types.ListTopicSubscriptionsRequest.pb()(topic=topic, page_size=1)
    answer = _ask("list_topic_subscriptions", request, topic, timeout_seconds)
    if answer is not None and not answer.subscriptions:
        _LOGGER.warning("%s has no subscription: what it accepts is dropped", topic)


def check_subscription(subscription: str, *, timeout_seconds: float) -> str | None:
    """Asks for a Pub/Sub subscription; returns its topic, None where it may not be known. Raises
    PubSubError as :func:`check_topic`.
    """
    request = types.GetSubscriptionRequest.pb()(subscription=subscription)
    answer = _ask("get_subscription", request, subscription, timeout_seconds)
    return None if answer is None else str(answer.topic)


def _ask(name: str, request: object, resource: str, timeout_seconds: float) -> Any:
    """Returns the answer; None where we may not ask, which does not say that we may not use it."""
    deadline = time.monotonic() + timeout_seconds
    impatient = deadline - timeout_seconds + _PATIENCE_SECONDS
    channel = open_channel()
    try:
        while True:
            try:
                return method(channel, name)(request, timeout=_CALL_SECONDS)
            except grpc.RpcError as error:
                failure = told(error, resource)
            if isinstance(failure, PubSubDenied):
                return None
            if not isinstance(failure, PubSubUnavailable):
                raise failure
            if time.monotonic() > deadline:
                emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
                raise PubSubUnavailable(
                    f"Pub/Sub{f' at {emulator}' if emulator else ''} did not answer within"
                    f" {timeout_seconds:g} s when asked for {failure}; is it up, and"
                    f" {'PUBSUB_EMULATOR_HOST right' if emulator else 'the network open'}?"
                )
            if time.monotonic() > impatient:
                impatient = deadline
                _LOGGER.warning("waiting for Pub/Sub, %g s at most: %s", timeout_seconds, failure)
            time.sleep(_PAUSE_SECONDS)
    finally:
        channel.close()
