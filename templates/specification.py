"""The specification of a template: metadata and image, as Dataflow reads them from a bucket.

gcloud's own builder leaves out ``streaming`` and what a template supports, so it is written here
and checked against Google's types.
https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.flexTemplates/launch#ContainerSpec
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from google.cloud.dataflow_v1beta3.types import ContainerSpec
from google.protobuf.json_format import ParseError

from templates.catalog import Template
from templates.errors import TemplateError

_TAG = "[A-Za-z0-9_.-]{1,128}"
_IMAGE = re.compile(rf"[a-z0-9.:-]+/[a-z0-9._/-]+(:{_TAG}|@sha256:[0-9a-f]{{64}})")
_REPOSITORY = re.compile("[a-z0-9.:-]+(/[a-z0-9._-]+)*")


def metadata(template: Template) -> dict[str, Any]:
    """Returns a template's metadata as TemplateMetadata in JSON."""
    return {
        "name": template.title,
        "description": template.description,
        # What it promises is at least once in either mode, and exactly once costs more.
        "streaming": True,
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "AT_LEAST_ONCE",
        "parameters": [parameter.metadata() for parameter in template.parameters],
    }


def disagreements(template: Template) -> Iterator[str]:
    """Gives what metadata.json, beside the entry point, says otherwise than the options do.

    The file is what others read: a build, a reviewer, Terraform.
    """
    path = template.folder / "metadata.json"
    made = metadata(template)
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{path.name}: can't be read ({error}); python -m docs.generate writes it"
        return
    if written == made:
        return
    told = {each.get("name"): each for each in written.get("parameters", ())}
    for parameter in made["parameters"]:
        if told.pop(parameter["name"], None) != parameter:
            yield f"{path.name}: {parameter['name']} is not what its option says"
    for name in told:
        yield f"{path.name}: {name} is no parameter of {template.name}"
    if {**written, "parameters": ()} != {**made, "parameters": ()}:
        yield f"{path.name}: it is not what the template says; python -m docs.generate writes it"


def specification(template: Template, *, image: str) -> dict[str, Any]:
    """Returns a template's ContainerSpec in JSON.

    Raises:
      TemplateError: the image has no tag and no digest, or the result is none of Google's type.
    """
    check_image(image, named="image")
    spec = {
        "image": image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": metadata(template),
        # Launcher and workers are one image; without this the workers would lack our packages.
        "defaultEnvironment": {"sdkContainerImage": image, "enableStreamingEngine": True},
    }
    check_specification(json.dumps(spec))
    return spec


def check_image(image: str, *, named: str) -> None:
    """Raises TemplateError, in which the image is ``named`` so, if it has no tag and no digest."""
    if not _IMAGE.fullmatch(image):
        raise TemplateError(
            f"{named} {image!r}: must be REGISTRY/PATH:TAG or REGISTRY/PATH@sha256:DIGEST, as in"
            " europe-docker.pkg.dev/my-project/mqttbeam/mqtt-to-pubsub:1.0"
        )


def check_places(*, repository: str, tag: str) -> None:
    """Looks at what the images of a build are named after.

    Raises:
      TemplateError: names the setting and says what would be right.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise TemplateError(
            f"--repository {repository!r}: must be like europe-docker.pkg.dev/my-project/mqttbeam"
        )
    if not re.fullmatch(_TAG, tag):
        raise TemplateError(
            f"--tag {tag!r}: must be 1 to 128 letters, digits, _, . and -, as in 1.0"
        )


def check_specification(text: str) -> ContainerSpec:
    """Reads a ContainerSpec; a field that Google's type doesn't have is an error.

    Raises:
      TemplateError: it is no ContainerSpec.
    """
    try:
        spec: ContainerSpec = ContainerSpec.from_json(text, ignore_unknown_fields=False)
    except ParseError as error:
        raise TemplateError(f"no ContainerSpec: {error}") from error
    return spec


def to_text(record: dict[str, Any]) -> str:
    """Returns JSON as it stands in our files."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
