"""A launch: checked here, shown whole, and sent as Dataflow's interface takes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import StreamingMode, WorkerIPAddressConfiguration

from templates import launching
from templates.catalog import template_named
from templates.errors import ParameterError, TemplateError
from templates.graph import Contract
from templates.launching import Launch, check_settings, launch_request, request_text, warnings
from templates.readme import needed
from templates.sending import send
from tests.templates.dataflow import running_dataflow

MQTT = template_named("pubsub-to-bigquery")
VALUES = {
    "inputSubscription": "projects/my-project/subscriptions/telemetry-warehouse",
    "outputTableSpec": "my-project:iot.telemetry",
}
NEEDED: dict[str, Any] = {
    "project": "my-project",
    "region": "europe-west1",
    "job_name": "warehouse",
    "spec": "gs://my-bucket/templates/pubsub-to-bigquery.json",
}


def test_a_launch_arrives_as_it_was_shown() -> None:
    launch = Launch(
        **NEEDED,
        service_account="warehouse@my-project.iam.gserviceaccount.com",
        maximum_workers=3,
        machine_type="n2-standard-2",
        subnetwork="regions/europe-west1/subnetworks/workers",
        staging_location="gs://my-bucket/staging",
        temp_location="gs://my-bucket/temp",
        private=True,
    )
    request = launch_request(MQTT, VALUES, launch)
    with running_dataflow() as dataflow:
        assert send(request, endpoint=dataflow.endpoint) == "2026-11-23_job"
    ((path, body),) = dataflow.requests
    assert path == "/v1b3/projects/my-project/locations/europe-west1/flexTemplates:launch"
    assert body["launchParameter"]["parameters"] == VALUES
    shown = json.loads(request_text(request))["launchParameter"]
    assert shown["environment"]["streamingMode"] == "STREAMING_MODE_AT_LEAST_ONCE"
    assert shown["environment"]["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert shown["environment"]["stagingLocation"] == "gs://my-bucket/staging"
    assert shown["environment"]["tempLocation"] == "gs://my-bucket/temp"
    assert (
        shown["environment"]["maxWorkers"] == body["launchParameter"]["environment"]["maxWorkers"]
    )
    assert set(shown) == set(body["launchParameter"])
    assert set(shown["environment"]) == set(body["launchParameter"]["environment"])


def test_the_streaming_mode_and_public_addresses_are_the_operator_s_choice() -> None:
    environment = launch_request(
        MQTT, VALUES, Launch(**NEEDED, exactly_once=True)
    ).launch_parameter.environment
    assert environment.streaming_mode is StreamingMode.STREAMING_MODE_EXACTLY_ONCE
    unspecified = WorkerIPAddressConfiguration.WORKER_IP_UNSPECIFIED
    assert environment.ip_configuration is unspecified


def test_an_update_sends_the_mapping_of_what_was_renamed_in_its_own_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = Contract(
        variants={"default": {"Parse": "", "Parse/Decode": ""}, "archive": {"Files": ""}},
        renamed={"Parse": "Decode", "Files": "Archive"},
    )
    monkeypatch.setattr(launching, "contract_of", lambda _: released)
    update = launch_request(MQTT, VALUES, Launch(**NEEDED, update=True)).launch_parameter
    assert update.update
    # A composite's name stands for its parts in the contract; Dataflow gets each.
    assert dict(update.transform_name_mappings) == {
        "Parse": "Decode",
        "Parse/Decode": "Decode/Decode",
    }
    first = launch_request(MQTT, VALUES, Launch(**NEEDED)).launch_parameter
    assert not first.update
    assert not first.transform_name_mappings


def test_wrong_parameters_are_never_sent() -> None:
    with pytest.raises(ParameterError, match="outputTableSpec: must be PROJECT"):
        launch_request(MQTT, {**VALUES, "outputTableSpec": "telemetry"}, Launch(**NEEDED))


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("project", "p", "--project 'p': must be like my-project"),
        ("region", "Europe", "--region 'Europe': must be like europe-west1"),
        ("job_name", "My_Job", "--job 'My_Job': must be like"),
        ("spec", "/tmp/spec.json", "--spec '/tmp/spec.json': must be like gs://"),
        ("service_account", "me@example.com", "--service-account 'me@example.com'"),
        ("subnetwork", "workers", "--subnetwork 'workers': must be like regions/"),
        ("staging_location", "gs://my-bucket", "--staging-location 'gs://my-bucket': must be like"),
        ("temp_location", "/tmp", "--temp-location '/tmp': must be like gs://my-bucket/temp"),
        (
            "subnetwork",
            "projects/p/regions/us-central1/subnetworks/s",
            "must be of --region europe-west1, where the workers are",
        ),
        ("machine_type", "n1 standard", "--machine-type 'n1 standard': must be like n1-standard-2"),
        ("machine_type", "", "--machine-type '': must be like n1-standard-2"),
        ("machine_type", "n1-standard-0", "n1-standard has 1, 2, 4, 8, 16, 32, 64, 96 vCPUs"),
        ("machine_type", "n1-standard-999", "n1-standard has 1, 2, 4, 8, 16, 32, 64, 96 vCPUs"),
        ("maximum_workers", 0, "--max-workers 0: must be 1 to 1000"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: object, words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Launch(**{**NEEDED, setting: value})
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "machine",
    ["n1-standard-96", "c3-standard-22", "n2-custom-4-16384-ext", "custom-2-4096"],
)
def test_machines_of_any_family_are_let_through(machine: str) -> None:
    assert Launch(**NEEDED, machine_type=machine).machine_type == machine


@pytest.mark.parametrize(
    ("name", "shards", "workers", "warned"),
    [
        ("mqtt-to-pubsub", {"shards": "8"}, 1, True),
        ("mqtt-to-bigquery", {"shards": "8"}, 7, True),
        ("mqtt-to-pubsub", {"shards": "8"}, 8, False),
        ("mqtt-to-pubsub", {"shards": "8"}, None, False),
        ("mqtt-to-pubsub", {}, 1, False),
        ("pubsub-to-bigquery", {}, 1, False),
    ],
)
def test_shards_that_would_share_a_worker_are_warned_of(
    name: str, shards: dict[str, str], workers: int | None, warned: bool
) -> None:
    template = template_named(name)
    launch = Launch(**NEEDED, maximum_workers=workers)
    told = list(warnings(template, {**needed(template), **shards}, launch))
    assert [each.startswith(f"--max-workers {workers} for shards=8: ") for each in told] == (
        [True] if warned else []
    )


@pytest.mark.parametrize("endpoint", ["http://", "http://127.0.0.1:1/path", "a:65536", "ftp://a"])
def test_an_endpoint_is_looked_at_before_anybody_is_asked(endpoint: str) -> None:
    check_settings(endpoint="http://127.0.0.1:65535")
    with pytest.raises(TemplateError, match=r"--endpoint '.*': must be like http://127"):
        check_settings(endpoint=endpoint)
