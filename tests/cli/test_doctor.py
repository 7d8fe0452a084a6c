"""`mqttbeam doctor` and the preflight of a launch, against servers that answer as Google's do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.pubsub_v1 import types
from typer.testing import CliRunner, Result

from cli.commands import app
from localcloud.endpoints import free_ports
from templates.catalog import template_named
from templates.promises import examples
from templates.specification import specification
from tests.harness import brokers
from tests.harness.google_apis import CALLER, GoogleApis
from tests.harness.google_fixtures import ACCOUNT
from tests.harness.processes import Processes
from tests.harness.pubsub_rights import PubSubWithRights
from tests.templates.dataflow import Dataflow, running_dataflow

TOPIC = "projects/my-project/topics/telemetry"
DEAD_LETTERS = f"{TOPIC}-dead-letters"
SECRET = "projects/my-project/secrets/mqtt-password"
TEMPLATE = template_named("mqtt-to-pubsub")
WHOLE = [
    word for name, value in examples(TEMPLATE).items() for word in ("--param", f"{name}={value}")
]
SUBNETWORK = "regions/europe-west1/subnetworks/workers"
SPEC = "gs://my-bucket/templates/mqtt-to-pubsub.json"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    folder = tmp_path_factory.mktemp("broker")
    with Processes(folder) as processes:
        yield brokers.start_own(processes, folder, devices=("d1",))


@pytest.fixture
def complete(broker: brokers.Broker, apis: GoogleApis, rights: PubSubWithRights) -> GoogleApis:
    """Everything that `launch` needs."""
    for topic in (TOPIC, DEAD_LETTERS):
        rights.topics[topic] = types.Topic(name=topic)
        rights.permissions[topic] = {"pubsub.topics.publish"}
        name = topic.replace("/topics/", "/subscriptions/")
        rights.subscriptions[name] = types.Subscription(name=name, topic=topic)
    apis.secrets[f"{SECRET}/versions/latest"] = ("ENABLED", broker.passwords["telemetry"].encode())
    apis.rights[ACCOUNT, f"v1/{SECRET}"] = {"secretmanager.versions.access"}
    apis.objects["my-bucket"] = {"templates/mqtt-to-pubsub.json"}
    apis.rights[ACCOUNT, "my-bucket"] = {"storage.objects.get"}
    image = f"europe-docker.pkg.dev/my-project/mqttbeam/{TEMPLATE.name}:1.0"
    apis.contents["my-bucket", "templates/mqtt-to-pubsub.json"] = specification(
        TEMPLATE, image=image
    )
    repository = "projects/my-project/locations/europe/repositories/mqttbeam"
    apis.images.add(f"{repository}/packages/{TEMPLATE.name}/tags/1.0")
    apis.rights[ACCOUNT, f"v1/{repository}"] = {"artifactregistry.repositories.downloadArtifacts"}
    names = ("compute", "dataflow", "pubsub", "secretmanager")
    apis.services |= {f"{name}.googleapis.com" for name in names}
    apis.accounts[ACCOUNT] = False
    project, account = "v3/projects/my-project", f"v1/projects/my-project/serviceAccounts/{ACCOUNT}"
    apis.rights[CALLER, project] = {"dataflow.jobs.create"}
    apis.rights[CALLER, account] = {"iam.serviceAccounts.actAs"}
    apis.rights[ACCOUNT, account] = {"iam.serviceAccounts.actAs"}
    apis.rights[ACCOUNT, project] = {
        "dataflow.jobs.create",
        "dataflow.workItems.lease",
        "dataflow.workItems.sendMessage",
        "dataflow.workItems.update",
    }
    return apis


def parameters(broker: brokers.Broker, **other: str) -> list[str]:
    values = {
        "brokerServer": f"mqtt://{broker.address}",
        "clientId": "telemetry",
        "username": "telemetry",
        "passwordSecretId": SECRET,
        "outputTopic": TOPIC,
        **other,
    }
    return [word for name, value in values.items() for word in ("--param", f"{name}={value}")]


def run(*arguments: str) -> Result:
    """Runs the command line in this process: importing Beam takes longer than all the rest."""
    return CliRunner().invoke(app, arguments)


def doctor(*arguments: str) -> Result:
    return run(
        *("doctor", "mqtt-to-pubsub", "--service-account", ACCOUNT, "--project", "my-project"),
        *("--spec", SPEC, *arguments),
    )


def launch(dataflow: Dataflow, broker: brokers.Broker, *more: str) -> Result:
    return run(
        *("templates", "launch", "mqtt-to-pubsub", "--project", "my-project", "--yes"),
        *("--region", "europe-west1", "--job", "telemetry", "--spec", SPEC),
        *("--service-account", ACCOUNT, "--endpoint", dataflow.endpoint),
        *parameters(broker),
        *more,
    )


@pytest.fixture
def dataflow() -> Iterator[Dataflow]:
    with running_dataflow() as server:
        yield server


def found(done: Result) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.usefixtures("complete")
def test_what_is_as_it_should_be_is_told_and_the_status_is_0(broker: brokers.Broker) -> None:
    done = doctor(*parameters(broker), "--strict")
    assert done.exit_code == 0, done.stdout + done.stderr
    *lines, count = done.stdout.splitlines()
    assert count == f"{len(lines)} ok"
    assert all(line.startswith("ok ") for line in lines)
    assert any(TOPIC in line for line in lines)
    assert done.stderr == ""


def test_all_that_is_wrong_is_told_at_once_with_its_commands_and_no_secret(
    broker: brokers.Broker, complete: GoogleApis, rights: PubSubWithRights
) -> None:
    complete.secrets[f"{SECRET}/versions/latest"] = ("ENABLED", b"hunter2")
    complete.objects["my-bucket"].clear()
    del rights.topics[TOPIC]
    rights.permissions[DEAD_LETTERS].clear()
    done = doctor(*parameters(broker))
    assert done.exit_code == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    assert [line.split()[1].rstrip(":") for line in failed] == [
        SPEC,
        TOPIC,
        DEAD_LETTERS,
        f"mqtt://{broker.address}",
    ]
    assert "$ gcloud pubsub topics create telemetry --project=my-project" in done.stdout
    assert "$ gcloud pubsub topics add-iam-policy-binding telemetry-dead-letters" in done.stdout
    assert "gcloud secrets versions add mqtt-password --project=my-project" in done.stdout
    assert "4 failed" in done.stdout.splitlines()[-1]
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.usefixtures("complete")
def test_json_holds_the_same_and_a_broker_out_of_reach_fails_only_where_the_workers_are(
    broker: brokers.Broker,
) -> None:
    nobody = f"mqtt://127.0.0.1:{free_ports(1)[0]}"
    away = [*parameters(broker, brokerServer=nobody), "--timeout", "3", "--json"]
    done = doctor(*away)
    report = found(done)
    assert (done.exit_code, report["outcome"]) == (0, "unknown")
    assert report["account"] == ACCOUNT
    (unknown,) = [each for each in report["findings"] if each["outcome"] != "ok"]
    assert unknown["resource"] == nobody
    assert doctor(*away, "--strict").exit_code == 1
    assert doctor(*away, "--in-network").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--param", "hunter2"], "error: --param: must be NAME=VALUE"),
        (["--param", "outputTopic=t"], "error: outputTopic: must be"),
        (["--private", *WHOLE], "error: --private needs --subnetwork"),
        (["--subnetwork", SUBNETWORK, *WHOLE], f"error: --subnetwork {SUBNETWORK!r} needs --proj"),
        (["--staging-location", "here"], "error: --staging-location 'here': must be like gs://"),
        (["--timeout", "0"], "error: --timeout is 0: expected seconds, 1 to 600"),
        (["--service-account", "me"], "error: --service-account 'me': must be like"),
    ],
)
def test_what_can_t_be_is_one_line_and_exit_status_2(arguments: list[str], message: str) -> None:
    done = run("doctor", "mqtt-to-pubsub", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


@pytest.mark.usefixtures("complete")
def test_a_launch_looks_first_and_then_launches(broker: brokers.Broker, dataflow: Dataflow) -> None:
    done = launch(dataflow, broker)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == "2026-11-23_job\n"
    assert "\npreflight:\n" in done.stderr
    assert len(dataflow.requests) == 1


def test_a_launch_of_what_would_not_work_is_refused_unless_it_is_insisted_on(
    broker: brokers.Broker,
    complete: GoogleApis,
    rights: PubSubWithRights,
    dataflow: Dataflow,
) -> None:
    rights.topics.clear()
    done = launch(dataflow, broker)
    assert done.exit_code == 1
    assert f"FAILED   {TOPIC}: exists" in done.stderr
    assert done.stderr.endswith("error: not launched: mend what failed, or give --skip-preflight\n")
    assert dataflow.requests == []
    complete.asked.clear()
    done = launch(dataflow, broker, "--skip-preflight")
    assert done.exit_code == 0, done.stderr
    assert complete.asked == []
    assert len(dataflow.requests) == 1
