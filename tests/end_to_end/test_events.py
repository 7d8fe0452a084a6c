"""Connects and disconnects reach Pub/Sub by a pipeline, as docs/devices.md says."""

from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path

import yaml
from mqtt5 import ConnectPacket, DisconnectPacket, PublishPacket, QoS

from broker.registry import Service
from localcloud.endpoints import PROJECT
from localcloud.subscriber import PubSub
from tests.broker.server.raw_client import Raw
from tests.harness.brokers import Broker, start_own
from tests.harness.cloud import Cloud
from tests.harness.processes import Processes
from tests.harness.taps import Seen, Tap
from tests.harness.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
NOT_AUTHORIZED = 0x87


def documented(language: str, words: str) -> str:
    """The page's one block that has these words."""
    [found] = [text for kind, text in BLOCKS if kind == language and words in text]
    return str(found)


def about(seen: Seen) -> str:
    content = json.loads(seen.data)
    return f"{content['name']} {content['event']} {content['reason']}".strip()


def connected(broker: Broker, name: str) -> Raw:
    client = Raw(socket.create_connection((broker.host, broker.port)))
    client.send(ConnectPacket(name, username=name, password=broker.passwords[name].encode()))
    assert int(getattr(client.next(), "reason_code", -1)) == 0
    return client


def test_connects_and_disconnects_with_their_reason_reach_a_topic_of_their_own(
    processes: Processes, cloud: Cloud, tmp_path: Path
) -> None:
    registry = yaml.safe_load(documented("yaml", "password_file: connections.password"))
    service = registry["services"]["connections"]
    prefix = service["client_id_prefix"]
    broker = start_own(
        processes,
        tmp_path,
        devices=["d1", "d2"],
        services=[Service(name="connections", role=service["role"], client_id_prefix=prefix)],
        roles=registry["roles"],
        settings=documented("yaml", "events: {topic: devices"),
    )
    (tmp_path / service["password_file"]).write_text(broker.passwords["connections"])
    command = shlex.split(documented("sh", "--client_id=connections"))
    assert command[1:3] == ["-m", "pipelines.telemetry"]
    topic = f"connections-{cloud.suffix}"
    with PubSub(cloud.pubsub) as client:
        client.create_all((topic, f"{topic}-dead-letters"), {f"kept-{topic}": topic})
    here = {
        "mqtts://broker.example.com:8883": f"{broker.scheme}://{broker.address}",
        "file:connections.password": f"file:{tmp_path / 'connections.password'}",
        "projects/my-project/topics/connections": f"projects/{PROJECT}/topics/{topic}",
    }
    options = []
    for option in command[3:]:
        name, _, value = option.partition("=")
        options.append(f"{name}={here.pop(value, value)}")
    assert not here, "the command is not the documented one"
    with Tap(cloud.pubsub, topic, key=about) as tap:
        cloud.start("telemetry", *options)
        polite, lost = connected(broker, "d1"), connected(broker, "d2")
        polite.send(
            PublishPacket(
                "devices/d1/telemetry/connection", b"{}", qos=QoS.AT_LEAST_ONCE, packet_id=1
            )
        )
        assert int(getattr(polite.next(), "reason_code", 0)) == NOT_AUTHORIZED
        polite.send(DisconnectPacket())
        lost.socket.close()
        expected = {
            "d1 connected",
            "d1 disconnected normal_disconnection",
            "d2 connected",
            "d2 disconnected closed by the client",
        }
        wait_until(lambda: expected <= tap.counts.keys(), seconds=15, what="four events")
        polite.socket.close()
    [seen] = tap.of("d1 disconnected normal_disconnection")
    assert seen.attributes["deviceId"] == "d1"
    assert seen.attributes["subFolder"] == "connection"
    assert seen.attributes["mqttTopic"] == "devices/d1/telemetry/connection"
    assert seen.attributes["contentType"] == "application/json"
    # Of the pipeline itself its own connects at most: nothing else was read.
    assert {key.split()[0] for key in tap.counts} <= {"d1", "d2", "connections"}
