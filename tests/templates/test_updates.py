"""A running job and the one that replaces it: both translated as Dataflow would get them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.io.unbounded_source import (
    UnboundedSource,
    _UnboundedSourceRestriction,
    _UnboundedSourceRestrictionCoder,
)
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.common import DoFnSignature
from apache_beam.utils.timestamp import Timestamp

from pipelines import telemetry
from templates import promises
from templates.catalog import TEMPLATES, Template, template_named
from templates.graph import Contract, steps_of
from templates.job import Job, translate
from tests.transforms.bundles import RELEASED
from transforms.inbox import InboxMark
from transforms.mqttio.source import MqttShard
from transforms.pubsubio.read import PubSubSubscription

MQTT = template_named("mqtt-to-pubsub")


def steps_with(behind: Callable[[beam.PCollection], beam.PCollection]) -> dict[str, str]:
    """The steps of the telemetry job, with one more behind its end."""
    template = dataclasses.replace(
        MQTT, build=lambda p, options: behind(telemetry.build(p, options))
    )
    return steps_of(translate(template, promises.examples(template), image=promises.IMAGE))


def count(tail: beam.PCollection) -> beam.PCollection:
    return tail | "Count" >> beam.Map(hash).with_output_types(int)


@pytest.fixture(scope="module")
def running() -> dict[str, str]:
    return steps_with(count)


def breaches(running: dict[str, str], new: dict[str, str], **renamed: str) -> list[str]:
    contract = Contract(variants={"default": running}, renamed=renamed)
    return list(contract.broken_by("default", new))


def test_the_same_pipeline_replaces_its_job(running: dict[str, str]) -> None:
    assert running["Count"] == "VarIntCoder"
    assert breaches(running, steps_with(count)) == []


def test_a_step_more_is_no_obstacle(running: dict[str, str]) -> None:
    more = steps_with(lambda tail: count(tail) | "Print" >> beam.Map(str).with_output_types(str))
    assert breaches(running, more) == []


def test_a_renamed_step_needs_its_mapping_and_dataflow_gets_it(running: dict[str, str]) -> None:
    new = steps_with(lambda tail: tail | "Tally" >> beam.Map(hash).with_output_types(int))
    (breach,) = breaches(running, new)
    assert breach.startswith("step 'Count' is gone")
    assert breaches(running, new, Count="Tally") == []
    mapped = Contract(variants={"default": running}, renamed={"Count": "Tally"})
    assert mapped.mapping_to(new) == {"Count": "Tally"}


def test_a_step_of_another_type_is_refused_whatever_its_name(running: dict[str, str]) -> None:
    new = steps_with(lambda tail: tail | "Count" >> beam.Map(str).with_output_types(str))
    (breach,) = breaches(running, new)
    assert "'StrUtf8Coder' for 'VarIntCoder'" in breach
    renamed = {**new, "Tally": new["Count"]}
    del renamed["Count"]
    assert breaches(running, renamed, Count="Tally") != []
    assert breaches(running, renamed, Count="") == []


def test_what_is_kept_in_state_is_in_the_contract(job_of: Callable[[str, str], Job]) -> None:
    steps = steps_of(job_of("pubsub-to-bigquery", "archive"))
    batch = steps["Archive/Archive/Batch"]
    assert "state messages bag_spec BytesCoder" in batch
    assert "timer ts-waited" in batch
    read = steps_of(job_of("mqtt-to-pubsub", "default"))["ReadFromMqtt/Read"]
    assert "restriction TupleCoder[_UnboundedSourceRestrictionCoder" in read


def resumed(kind: str) -> Any:
    return _UnboundedSourceRestrictionCoder().decode(RELEASED[kind])


def test_what_a_running_job_holds_of_its_mqtt_read_is_read_on() -> None:
    restriction = resumed("mqtt")
    assert type(restriction.source) is MqttShard
    assert vars(restriction.source) == {"client_id": "telemetry-eu", "shard": 3, "shards": 1}
    assert isinstance(restriction.checkpoint_mark, InboxMark)
    assert restriction.watermark == Timestamp(1_700_000_000)


def test_what_a_running_job_holds_of_its_own_pubsub_read_is_read_on() -> None:
    source = resumed("pubsub").source
    assert type(source) is PubSubSubscription
    assert source.subscription == "projects/my-project/subscriptions/telemetry"
    assert (source.spare, source.held) == (False, False)


@pytest.mark.parametrize(
    "template", [each for each in TEMPLATES if each.from_mqtt], ids=lambda each: each.name
)
def test_a_drain_of_the_job_leaves_nothing_of_its_read_to_do(
    job_of: Callable[[str, str], Job], template: Template
) -> None:
    source: UnboundedSource = MqttShard("telemetry-eu", 0)
    reads = [
        pardo
        for step in job_of(template.name, "default").transforms.values()
        if step.spec.urn == "beam:transform:pardo:v1"
        and (pardo := api.ParDoPayload.FromString(step.spec.payload)).restriction_coder_id
    ]
    assert len(reads) == 1
    dofn = pickler.loads(reads[0].do_fn.payload)[0]
    provider = DoFnSignature(dofn).get_restriction_provider()
    assert provider.truncate(source, _UnboundedSourceRestriction(source)) is None
    assert reads[0].requests_finalization
