"""What is wrong at the start ends the start: one line that names the thing and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localcloud.endpoints import free_ports
from localcloud.subscriber import PubSub, topic_path
from tests.harness.brokers import Broker, start_own
from tests.harness.certificates import self_signed
from tests.harness.cloud import Cloud
from tests.harness.fixtures import DEVICES
from tests.harness.processes import Process, Processes

# Two cores may be busy with other tests while Beam is imported.
_IMPORT_SECONDS = 40.0


def the_one_line(process: Process, *, within_seconds: float = 5.0) -> str:
    """Waits for the end and returns the one line that the process has said."""
    status = process.wait_for_end(seconds=within_seconds + _IMPORT_SECONDS)
    lines = process.said().splitlines()
    assert status == 1
    assert len(lines) == 1, process.said()
    assert lines[0].startswith(f"python -m pipelines.{process.name}: ")
    return lines[0]


def missing(kind: str) -> str:
    return f"projects/local/{kind}/not-there"


StartTelemetry = Callable[[Cloud, Broker], Process]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--topics=devices/#", ["'devices/#'", "0x87", "right to subscribe"]),
        (
            "--username=stranger",
            ["stranger", "wrong user name or password", "look at --username and --password"],
        ),
        (
            "--client_id=warehouse",
            ["'warehouse-preflight'", "'telemetry' may not use this client identifier"],
        ),
        (
            f"--output_topic={missing('topics')}",
            [missing("topics"), "gcloud pubsub topics create not-there", "look at --output_topic"],
        ),
        (
            f"--dead_letter_topic={missing('topics')}",
            [missing("topics"), "gcloud pubsub topics create not-there"],
        ),
        ("--prism_location=/not/there", ["/not/there", "python -m localcloud.prism"]),
    ],
    ids=["filter", "password", "client id", "topic", "dead-letter topic", "prism"],
)
def test_telemetry_names_what_is_wrong(
    cloud: Cloud, own_broker: Broker, option: str, words: list[str]
) -> None:
    line = the_one_line(cloud.start_telemetry(own_broker, option, wait=False))
    assert all(word in line for word in words), line


def test_a_topic_that_nobody_gets_anything_from_is_told(cloud: Cloud, own_broker: Broker) -> None:
    unheard = topic_path(f"unheard-{cloud.suffix}")
    with PubSub(cloud.pubsub) as client:
        client.create_all((f"unheard-{cloud.suffix}",), {})
    process = cloud.start_telemetry(own_broker, f"--output_topic={unheard}")
    assert f"WARNING {unheard} has no subscription: what it accepts is dropped" in process.said()


def test_a_wrong_password_is_told_on_3_1_1_too(cloud: Cloud, own_broker: Broker) -> None:
    stranger = replace(own_broker, passwords={"telemetry": "wrong"})
    line = the_one_line(cloud.start_telemetry(stranger, "--protocol=3.1.1", wait=False))
    assert own_broker.address in line
    assert "user telemetry" in line
    assert "wrong user name or password" in line


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            f"--input_subscription={missing('subscriptions')}",
            ["gcloud pubsub subscriptions create not-there", "--topic="],
        ),
        (f"--results_topic={missing('topics')}", ["gcloud pubsub topics create not-there"]),
    ],
    ids=["subscription", "results topic"],
)
def test_commands_name_what_is_wrong(
    cloud: Cloud, own_broker: Broker, option: str, words: list[str]
) -> None:
    line = the_one_line(cloud.start_commands(own_broker, option, wait=False))
    assert all(word in line for word in words), line


def test_outcomes_into_the_commands_own_topic_are_refused(cloud: Cloud, own_broker: Broker) -> None:
    topic = f"projects/local/topics/{cloud.commands_topic}"
    process = cloud.start_commands(own_broker, f"--results_topic={topic}", wait=False)
    assert process.wait_for_end(seconds=5 + _IMPORT_SECONDS) == 2
    assert f"delivers {topic}, to which the pipeline publishes" in process.said()
    assert "give what it publishes a topic of its own" in process.said()


@pytest.mark.parametrize("option", ["output_table", "dead_letter_table"])
def test_a_missing_table_is_named_with_the_command_that_creates_it(
    warehouse_cloud: Cloud, option: str
) -> None:
    table = f"{warehouse_cloud.dataset}.not_there"
    line = the_one_line(warehouse_cloud.start_warehouse(f"--{option}=local:{table}", wait=False))
    assert f"local.{table}" in line
    assert "bq mk --table" in line
    assert f"bq mk --dataset local:{warehouse_cloud.dataset}" in line
    assert f"look at --{option}" in line
    assert f"local:{table}" in line


@pytest.mark.parametrize("what", ["broker", "Pub/Sub", "BigQuery"])
def test_what_does_not_answer_is_waited_for_as_long_as_was_said(
    warehouse_cloud: Cloud, own_broker: Broker, what: str
) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    option = "--start_timeout_seconds=2"
    begin = time.monotonic()
    if what == "broker":
        process = warehouse_cloud.start_telemetry(
            own_broker, option, broker_address=nobody, wait=False
        )
    elif what == "Pub/Sub":
        process = warehouse_cloud.start_telemetry(own_broker, option, pubsub=nobody, wait=False)
    else:
        process = warehouse_cloud.start_warehouse(option, bigquery_storage=nobody, wait=False)
    line = the_one_line(process, within_seconds=10)
    assert time.monotonic() - begin > 2
    assert nobody in line
    assert what in line


def test_a_certificate_that_nobody_vouches_for_is_told_with_what_to_give(
    cloud: Cloud, processes: Processes, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    listener = (
        f"{{type: tls, host: 127.0.0.1, port: 0, certificate_file: {certificate}, key_file: {key}}}"
    )
    broker = start_own(processes, tmp_path, devices=DEVICES, listeners=[listener])
    line = the_one_line(cloud.start_telemetry(broker, wait=False))
    assert f"mqtts://{broker.address}" in line
    assert "not trusted" in line
    assert "give the CA" in line
    assert "look at --ca and --broker" in line
    # With that CA it starts.
    cloud.start_telemetry(broker, f"--ca=file:{certificate}")
