"""A template's specification: there, of this template, and naming an image that can be pulled.

Images are looked for in Artifact Registry, at
https://cloud.google.com/artifact-registry/docs/reference/rest; other registries are not asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.needs import File, Specification
from pipelines.preflight.rights import rights
from pipelines.preflight.storage import SERVICE as STORAGE
from pipelines.preflight.storage import examine_file, object_path
from schemas.finding import Finding, Outcome, failed, found, untold

SERVICE = "artifactregistry"
PULL = ("artifactregistry.repositories.downloadArtifacts",)

_IMAGE = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>([a-z0-9-]+(\.[a-z0-9-]+)+/)?[^/]+)"
    r"/(?P<repository>[^/]+)/(?P<package>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>.+))?"
)


def examine_specification(
    need: Specification, access: Access, *, seconds: float
) -> Iterator[Finding]:
    """Whether it can be read and is this template's, and the account may pull its images."""
    findings = list(examine_file(File(name=need.name), access, seconds=seconds))
    yield from findings
    if findings[-1].outcome is Outcome.FAILED:
        return
    asked = f"is the specification of {need.template}"
    try:
        spec = access.caller.get(STORAGE, object_path(need.name), [("alt", "media")])
    except CannotAsk as error:
        yield untold(need.name, asked, f"{error} Or the file is no specification")
        return
    except ApiRefused as error:
        yield untold(need.name, asked, f"it can't be read from here: {error}")
        return
    wrong = _wrong(need, spec)
    if wrong:
        yield failed(
            need.name,
            asked,
            wrong,
            f"mqttbeam templates spec {need.template} --image IMAGE --output SPEC.json &&"
            f" gcloud storage cp SPEC.json {need.name}",
        )
        return
    yield found(need.name, asked)
    environment = spec.get("defaultEnvironment") or {}
    for image in dict.fromkeys((spec["image"], environment.get("sdkContainerImage"))):
        if image:
            yield from _image(str(image), need.template, access)


def _wrong(need: Specification, spec: Mapping[str, Any]) -> str:
    """Returns why it is none of this template's; "" where it is one."""
    metadata = spec.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(spec.get("image"), str):
        return "it is no specification of a template: it has no metadata or no image"
    title = str(metadata.get("name"))
    titles = {told: name for name, told in need.titles}
    if titles.get(title) != need.template:
        return f"it is that of {titles.get(title, f'another template, {title!r}')}"
    names = {each.get("name") for each in metadata.get("parameters", ())}
    lacking = [each for each in need.parameters if each not in names]
    if lacking:
        return f"it has no parameter {', '.join(lacking)}: it is of another release"
    return ""


def _image(image: str, template: str, access: Access) -> Iterator[Finding]:
    parts = _IMAGE.fullmatch(image)
    if parts is None:
        words = "it is in no Artifact Registry, and other registries are not asked"
        yield untold(image, "exists", words)
        return
    # Of a project of a domain the path is DOMAIN/PROJECT, the interface's name DOMAIN:PROJECT.
    project = parts["project"].replace("/", ":")
    repository = (
        f"projects/{project}/locations/{parts['location']}/repositories/{parts['repository']}"
    )
    which = f"versions/{parts['digest']}" if parts["digest"] else f"tags/{parts['tag'] or 'latest'}"
    there = _existence(
        access,
        image,
        f"v1/{repository}/packages/{quote(parts['package'], safe='')}/{which}",
        f"mqttbeam templates build {template} --push --tag {parts['tag'] or 'TAG'} --repository"
        f" {image.rpartition('/')[0]}",
    )
    yield there
    if there.outcome is Outcome.FAILED:
        return
    yield rights(
        access.whose,
        repository,
        f"lets {access.whose} pull images",
        PULL,
        lambda: access.account.permissions(SERVICE, f"v1/{repository}", PULL),
        command=lambda: (
            f"gcloud artifacts repositories add-iam-policy-binding {parts['repository']}"
            f" --location={parts['location']} --project={project}"
            f' --member="{access.member}" --role=roles/artifactregistry.reader'
        ),
    )


def _existence(access: Access, image: str, path: str, command: str) -> Finding:
    asked = "exists"
    try:
        access.caller.get(SERVICE, path)
    except CannotAsk as error:
        return untold(image, asked, str(error))
    except ApiRefused as error:
        if error.status == 404:
            return failed(image, asked, "its repository has no such image", command)
        return untold(image, asked, str(error))
    return found(image, asked)
