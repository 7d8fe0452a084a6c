"""The job that Dataflow would get: each promise holds, and would be seen broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as api

from pipelines import telemetry
from templates import promises
from templates.catalog import TEMPLATES, Template, template_named
from templates.graph import contract_of, steps_of
from templates.job import Job, translate

JobOf = Callable[[str, str], Job]
VARIANTS = [
    (template, variant) for template in TEMPLATES for variant in promises.variants_of(template)
]
NAMES = [f"{template.name}-{variant}" for template, variant in VARIANTS]
MQTT = template_named("mqtt-to-pubsub")


@pytest.mark.parametrize("promise", promises.PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize(("template", "variant"), VARIANTS, ids=NAMES)
def test_a_job_is_as_promised(
    job_of: JobOf,
    template: Template,
    variant: str,
    promise: Callable[[Template, Job], Iterator[str]],
) -> None:
    assert list(promise(template, job_of(template.name, variant))) == []


@pytest.mark.parametrize(("template", "variant"), VARIANTS, ids=NAMES)
def test_running_jobs_can_be_updated(job_of: JobOf, template: Template, variant: str) -> None:
    contract = contract_of(template)
    steps = steps_of(job_of(template.name, variant))
    assert list(contract.broken_by(variant, steps)) == []
    assert contract.unrecorded(variant, steps) == [], (
        "new steps: run mqttbeam templates check --record"
    )


def described(job: Job, **changed: Any) -> Job:
    return dataclasses.replace(job, description={**job.description, **changed})


def repiped(job: Job, change: Callable[[api.Pipeline], None]) -> Job:
    pipeline = api.Pipeline()
    pipeline.CopyFrom(job.pipeline)
    change(pipeline)
    return dataclasses.replace(job, pipeline=pipeline)


def built(build: Callable[[beam.Pipeline, telemetry.TelemetryOptions], beam.PCollection]) -> Job:
    template = dataclasses.replace(MQTT, build=build)
    return translate(template, promises.examples(template), image=promises.IMAGE)


def test_a_batch_job_is_seen(job_of: JobOf) -> None:
    job = described(job_of("mqtt-to-pubsub", "default"), type="JOB_TYPE_BATCH")
    assert list(promises.streams(MQTT, job)) != []


def test_a_missing_experiment_is_seen(job_of: JobOf) -> None:
    job = job_of("mqtt-to-pubsub", "default")
    for experiment in ("use_runner_v2", "no_use_multiple_sdk_containers"):
        others = sorted(job.experiments - {experiment})
        environment = {**job.description["environment"], "experiments": others}
        assert list(promises.runs_on_runner_v2(MQTT, described(job, environment=environment))) == [
            f"the experiment {experiment} is not asked for"
        ]


def test_another_image_is_seen(job_of: JobOf) -> None:
    job = dataclasses.replace(job_of("mqtt-to-pubsub", "default"), image="another/image:1")
    assert list(promises.runs_in_its_image(MQTT, job)) != []


def test_workers_that_can_t_drain_are_seen(job_of: JobOf) -> None:
    def forget(pipeline: api.Pipeline) -> None:
        for environment in pipeline.components.environments.values():
            del environment.capabilities[:]

    job = repiped(job_of("mqtt-to-pubsub", "default"), forget)
    assert list(promises.drains(MQTT, job)) != []


def test_a_read_of_our_own_is_seen(job_of: JobOf) -> None:
    template = template_named("pubsub-to-mqtt")
    job = job_of("pubsub-to-mqtt", "default")
    other = dataclasses.replace(job.options, input_subscription="projects/p/subscriptions/other")
    job = dataclasses.replace(job, options=other)
    assert list(promises.reads_by_the_service(template, job)) != []


def test_a_sink_that_would_drop_ordering_keys_is_seen(job_of: JobOf) -> None:
    job = job_of("mqtt-to-pubsub", "default")
    ordered = dataclasses.replace(job.options, ordered=True)
    job = dataclasses.replace(job, options=ordered)
    assert "drops ordering keys" in "".join(promises.writes_by_the_service(MQTT, job))


def test_the_sink_with_ordering_keys_is_ours(job_of: JobOf) -> None:
    transforms = job_of("mqtt-to-pubsub", "ordered").transforms
    assert transforms["WriteToPubSub/Publish"].spec.urn == "beam:transform:pardo:v1"


def test_a_shuffle_behind_mqtt_is_seen() -> None:
    job = built(lambda pipeline, options: telemetry.build(pipeline, options) | beam.Reshuffle())
    assert "shuffles what was read" in "".join(promises.never_parts_source_and_sink(MQTT, job))


def test_a_step_that_is_named_after_a_line_of_code_is_seen() -> None:
    def careless(pipeline: beam.Pipeline, options: telemetry.TelemetryOptions) -> beam.PCollection:
        return telemetry.build(pipeline, options) | beam.Map(lambda each: each)

    (failure,) = promises.names_its_steps_for_good(MQTT, built(careless))
    assert "is named after a line of code" in failure


def test_a_secret_that_is_read_while_the_graph_is_built_is_seen() -> None:
    def careless(pipeline: beam.Pipeline, options: telemetry.TelemetryOptions) -> beam.PCollection:
        assert options.password is not None
        name = options.password.read().decode()
        return telemetry.build(pipeline, dataclasses.replace(options, username=name))

    job = built(careless)
    assert list(promises.holds_no_secret(MQTT, job)) == ["a secret's value is in it"]


def test_a_look_in_the_wrong_place_for_secrets_is_seen(job_of: JobOf) -> None:
    job = dataclasses.replace(job_of("mqtt-to-pubsub", "default"), staged={"job.json": b"{}"})
    assert "were not found" in "".join(promises.holds_no_secret(MQTT, job))
