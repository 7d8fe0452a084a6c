"""What the job of a template must be like, whoever launches it with whatever parameters.

Each promise takes the template and the job that Dataflow would get, and returns what is wrong with
it, in words, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from apache_beam.portability.api import beam_runner_api_pb2 as api

from pipelines.forms import Kind
from templates.catalog import Template
from templates.errors import ParameterError
from templates.graph import Contract, contract_of, steps_of, write_contract
from templates.job import CANARY, CANARY_NAME, Job, translate
from templates.specification import disagreements

IMAGE = "europe-docker.pkg.dev/my-project/mqttbeam/templates:checked"

_READ = "beam:transform:pubsub_read:v1"
_WRITE = "beam:transform:pubsub_write:v1"
_LINE = re.compile(r"\.py:\d+")
_SHUFFLES = ("beam:transform:group_by_key:v1", "beam:transform:reshuffle:v1")
_DRAINS = "beam:transform:sdf_truncate_sized_restrictions:v1"
_NEEDS_OF_OUR_SOURCE = (
    "beam:requirement:pardo:splittable_dofn:v1",
    "beam:requirement:pardo:finalization:v1",
)


def streams(template: Template, job: Job) -> Iterator[str]:
    """The job is a streaming job."""
    kinds = (job.description["type"], job.description["environment"]["version"]["job_type"])
    if kinds != ("JOB_TYPE_STREAMING", "FNAPI_STREAMING"):
        yield f"it is {' and '.join(kinds)}, no streaming job"


def runs_on_runner_v2(template: Template, job: Job) -> Iterator[str]:
    """Runner v2 and Streaming Engine, and the experiments that the template asks for."""
    wanted = {"use_runner_v2", "enable_streaming_engine", *template.experiments}
    for experiment in sorted(wanted - job.experiments):
        yield f"the experiment {experiment} is not asked for"


def runs_in_its_image(template: Template, job: Job) -> Iterator[str]:
    """Every step runs in the template's own image, which has our packages."""
    for environment in job.pipeline.components.environments.values():
        image = api.DockerPayload.FromString(environment.payload).container_image
        if environment.urn != "beam:env:docker:v1" or image != job.image:
            yield f"steps run in {environment.urn} {image!r}, not in {job.image!r}"


def drains(template: Template, job: Job) -> Iterator[str]:
    """Its workers can end a read, so that a drain doesn't wait for ever."""
    for environment in job.pipeline.components.environments.values():
        if _DRAINS not in environment.capabilities:
            yield f"its environment lacks {_DRAINS}, so it can't be drained"


def reads_by_the_service(template: Template, job: Job) -> Iterator[str]:
    """Every subscription that is given is read by the service's own source."""
    given = {
        getattr(job.options, parameter.option)
        for parameter in template.parameters
        if parameter.form.kind is Kind.SUBSCRIPTION
    } - {None}
    read = {
        api.PubSubReadPayload.FromString(step.spec.payload).subscription
        for step in job.transforms.values()
        if step.spec.urn == _READ
    }
    if read != given:
        yield f"the service reads {sorted(read)}, not {sorted(given)}"


def writes_by_the_service(template: Template, job: Job) -> Iterator[str]:
    """The service's own sink writes every topic, but one that is written with ordering keys."""
    wanted = template.writes(job.options)
    written = {
        api.PubSubWritePayload.FromString(step.spec.payload).topic
        for step in job.transforms.values()
        if step.spec.urn == _WRITE
    }
    if written != wanted:
        yield (
            f"the service's sink, which drops ordering keys, writes {sorted(written)}, not"
            f" {sorted(wanted)}"
        )


def never_parts_source_and_sink(template: Template, job: Job) -> Iterator[str]:
    """What comes from MQTT is not shuffled before its sink: its acknowledgement would be void."""
    if not template.from_mqtt:
        return
    for name, step in job.transforms.items():
        if step.spec.urn in _SHUFFLES:
            yield f"{name} shuffles what was read from MQTT"
    for requirement in sorted(set(_NEEDS_OF_OUR_SOURCE) - set(job.pipeline.requirements)):
        yield f"it doesn't ask for {requirement}"


def names_its_steps_for_good(template: Template, job: Job) -> Iterator[str]:
    """No step is named after a line of code: the next release of Beam would rename it."""
    for name in job.transforms:
        if _LINE.search(name):
            yield f"step {name!r} is named after a line of code: give it a name of its own"


def holds_no_secret(template: Template, job: Job) -> Iterator[str]:
    """No secret's value is anywhere in the job, in a pickle within it neither."""
    given = any(
        getattr(job.options, parameter.option) is not None
        for parameter in template.parameters
        if parameter.form.kind is Kind.SECRET
    )
    texts = list(job.texts())
    if any(CANARY.encode() in text for text in texts):
        yield "a secret's value is in it"
    # Else we would be looking in the wrong place.
    if given and not any(CANARY_NAME.encode() in text for text in texts):
        yield "the references to its secrets were not found in it"


PROMISES: tuple[Callable[[Template, Job], Iterator[str]], ...] = (
    streams,
    runs_on_runner_v2,
    runs_in_its_image,
    drains,
    reads_by_the_service,
    writes_by_the_service,
    never_parts_source_and_sink,
    names_its_steps_for_good,
    holds_no_secret,
)


def examples(template: Template) -> dict[str, str]:
    """Returns the examples of what is needed, and of every secret with what goes with it."""
    return {
        parameter.name: parameter.example
        for parameter in template.parameters
        if not parameter.optional
        or parameter.form.kind is Kind.SECRET
        or parameter.option == "username"
    }


def variants_of(template: Template) -> dict[str, Mapping[str, str]]:
    """Returns the parameters of every variant of a template's graph."""
    return {
        variant: {**examples(template), **changed}
        for variant, changed in {"default": {}, **template.variants}.items()
    }


def failures(template: Template, *, record: bool = False) -> Iterator[str]:
    """Gives what is wrong with a template: its examples, its metadata, its jobs, their steps.

    ``record`` adds names that the contract doesn't have yet to it; it takes none away.

    Raises:
      PipelineFailed: Beam refused the pipeline.
      TemplateError: the contract is missing, and not to be recorded.
    """
    for parameter in template.parameters:
        try:
            parameter.check(parameter.example)
            if parameter.default is not None:
                parameter.check(parameter.default)
        except ParameterError as error:
            yield str(error)
    yield from disagreements(template)
    new = record and not (template.folder / "graph.json").exists()
    contract = Contract() if new else contract_of(template)
    for variant, values in variants_of(template).items():
        job = translate(template, values, image=IMAGE)
        for promise in PROMISES:
            for failure in promise(template, job):
                yield f"{variant}: {failure}"
        steps = steps_of(job)
        if record:
            contract = contract.with_steps(variant, steps)
        for breach in contract.broken_by(variant, steps):
            yield f"{variant}: {breach}"
        for name in contract.unrecorded(variant, steps):
            yield f"{variant}: step {name!r} is not in graph.json; check --record adds it"
    if record:
        write_contract(template, contract)
