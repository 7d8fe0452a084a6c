"""The job that Dataflow would get for a template, made here: no credentials, no server, no bucket.

Beam's own DataflowRunner translates the pipeline as in a launch; told to write a job file and to
stage into a folder, it asks nobody. What a launch with these parameters would submit is then on
disk: the job's description, the pipeline's graph, and what is staged beside it.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.pipeline_context import PipelineContext

from pipelines.forms import Kind
from pipelines.launch import run
from templates.catalog import Template
from templates.entry import prepare
from transforms.secrets import SecretRef

CANARY_NAME = "MQTTBEAM_CANARY"
CANARY = "the-secret-that-must-not-be-in-the-job"

# Beam 2.77 puts a pickle into the graph as base64 of bzip2; this is how that begins.
_PACKED = re.compile(rb"QlpoO[A-Za-z0-9+/]+={0,2}")
_PARDO = "beam:transform:pardo:v1"
_NOBODY = "http://localhost:1"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What would be submitted, with the options that it was made of."""

    options: Any
    image: str
    description: dict[str, Any]
    pipeline: api.Pipeline
    staged: Mapping[str, bytes]

    @property
    def transforms(self) -> dict[str, api.PTransform]:
        """The graph's steps by their names."""
        # The root is the pipeline itself; Beam names it as it likes.
        roots = self.pipeline.root_transform_ids
        steps = self.pipeline.components.transforms.items()
        return {step.unique_name: step for key, step in steps if key not in roots}

    @property
    def experiments(self) -> set[str]:
        """Dataflow's experiments that the job asks for."""
        return set(self.description["environment"]["experiments"])

    def coders(self, step: api.PTransform) -> str:
        """Returns what a step encodes by, in words: its outputs, and what it keeps for later."""
        if step.subtransforms:
            return ""
        pcollections = self.pipeline.components.pcollections
        words = [
            f"{'' if tag == 'None' else f'{tag} '}{self._coder(pcollections[key].coder_id)}"
            for tag, key in sorted(step.outputs.items())
        ]
        if step.spec.urn == _PARDO:
            pardo = api.ParDoPayload.FromString(step.spec.payload)
            if pardo.restriction_coder_id:
                words.append(f"restriction {self._coder(pardo.restriction_coder_id)}")
            for name, spec in sorted(pardo.state_specs.items()):
                kept = " ".join(map(self._coder, _state_coders(spec)))
                words.append(f"state {name} {spec.WhichOneof('spec')} {kept}")
            words += [f"timer {name}" for name in sorted(pardo.timer_family_specs)]
        return ", ".join(words)

    def texts(self) -> Iterator[bytes]:
        """Gives all that the job holds, pickles unpacked, however deep."""
        todo = list(self.staged.values())
        while todo:
            text = todo.pop()
            yield text
            packed = _PACKED.findall(text)
            todo.extend(bz2.decompress(base64.b64decode(each)) for each in packed)

    @cached_property
    def _context(self) -> PipelineContext:
        return PipelineContext(self.pipeline.components)

    def _coder(self, key: str) -> str:
        # By Beam's own classes: a pickled coder has its parts in the pickle only.
        return repr(self._context.coders.get_by_id(key))


def _state_coders(spec: api.StateSpec) -> list[str]:
    """Returns the ids of the coders of what is in a state: an element's, or key's and value's."""
    kind = getattr(spec, spec.WhichOneof("spec"))
    names = [field.name for field in kind.DESCRIPTOR.fields if field.name.endswith("coder_id")]
    return [getattr(kind, name) for name in names]


def translate(
    template: Template, values: Mapping[str, str], *, image: str, exactly_once: bool = False
) -> Job:
    """Returns the job for parameters, in the streaming mode that a launch would ask for.

    Every secret is replaced by one of the environment whose value is CANARY: whoever reads a
    secret while the graph is built puts that into the job, where ``texts`` shows it.

    Raises:
      ParameterError: a parameter is wrong.
      PipelineFailed: Beam refused the pipeline.
    """
    with tempfile.TemporaryDirectory(prefix="mqttbeam-job-") as folder, _canary():
        mode = "exactly_once" if exactly_once else "at_least_once"
        arguments = [
            *_arguments(template, folder, image),
            f"--dataflow_service_options=streaming_mode_{mode}",
        ]
        options, beam_options = template.read(values, arguments)
        prepare(template, beam_options)
        secrets = {
            parameter.option: SecretRef(f"env:{CANARY_NAME}")
            for parameter in template.parameters
            if parameter.form.kind is Kind.SECRET and parameter.name in values
        }
        options = dataclasses.replace(options, **secrets)
        run(lambda pipeline: template.build(pipeline, options), beam_options, name=template.name)
        staged = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return Job(
        options=options,
        image=image,
        description=json.loads(staged["job.json"]),
        pipeline=api.Pipeline.FromString(staged["pipeline.pb"]),
        staged=staged,
    )


def _arguments(template: Template, folder: str, image: str) -> list[str]:
    return [
        "--runner=DataflowRunner",
        "--no_auth",
        f"--dataflow_endpoint={_NOBODY}",
        f"--template_location={folder}/job.json",
        f"--staging_location={folder}",
        f"--temp_location={folder}",
        "--project=my-project",
        "--region=europe-west1",
        f"--job_name={template.name}",
        f"--sdk_container_image={image}",
    ]


@contextlib.contextmanager
def _canary() -> Iterator[None]:
    os.environ[CANARY_NAME] = CANARY
    try:
        yield
    finally:
        del os.environ[CANARY_NAME]
