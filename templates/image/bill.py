"""The image's bill of materials: ``python -m templates.image.bill``, which its Dockerfile runs.

CycloneDX 1.6 in JSON: what it is built from (base images by digest), the packages of its system as
dpkg knows them, and every Python package that is installed, with the hash of the archive that pip
took (the base image's own pip has none) and its licence where its metadata has one.
https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from templates.errors import ImageError
from templates.image.hashes import normal
from templates.image.locked import UNRESOLVED, BaseImage, read_lock

# Some have the whole text of their licence where its name belongs.
_LONGEST_LICENCE = 100
_CLASSIFIER = "License :: "


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Python package that is installed; its name is normalised as on an index (PEP 503)."""

    name: str
    version: str
    expression: str | None = None
    licence: str | None = None
    sha256: str | None = None


def installed(hashes: Mapping[str, str]) -> list[Package]:
    """Returns what this Python has installed; ``hashes``: of archives, by ``NAME==VERSION``."""
    packages = {}
    for each in metadata.distributions():
        name = normal(each.name)
        packages[name] = Package(
            name=name,
            version=each.version,
            expression=_field(each.metadata, "License-Expression"),
            licence=_licence(each.metadata),
            sha256=hashes.get(f"{name}=={each.version}"),
        )
    return [packages[name] for name in sorted(packages)]


def bill(
    *,
    project: Mapping[str, Any],
    images: Iterable[BaseImage],
    packages: Iterable[Package],
    dpkg_status: str,
) -> dict[str, Any]:
    """Returns the document; the same for the same materials.

    ``project``: the table of that name in pyproject.toml. ``dpkg_status``: dpkg's own record of
    what is installed.
    """
    components = [
        *map(_image, images),
        *_system(dpkg_status),
        *map(_package, packages),
    ]
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": project["name"],
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"expression": project["license"]}],
            }
        },
        "components": components,
    }


def check_built_from(images: Iterable[BaseImage], built_from: Sequence[str]) -> None:
    """Holds what an image is built from to the lock file.

    ``built_from``: ROLE=DIGEST, each.

    Raises:
      ImageError: names what differs.
    """
    given = dict(each.split("=", 1) for each in built_from)
    locked = {each.role: each.digest or UNRESOLVED for each in images}
    for role in sorted(given.keys() | locked.keys()):
        if given.get(role) != locked.get(role):
            raise ImageError(
                f"{role}: built from {given.get(role)}, but templates/images.lock has"
                f" {locked.get(role)}: build by `mqttbeam templates build`"
            )


def _image(image: BaseImage) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "container",
        "bom-ref": image.role,
        "name": image.image,
        "version": image.tag,
    }
    if image.digest is not None:
        name = image.image.rpartition("/")[2]
        component["purl"] = (
            f"pkg:oci/{name}@{quote(image.digest, safe='')}"
            f"?repository_url={quote(image.image, safe='/')}&tag={quote(image.tag)}"
        )
        component["hashes"] = [{"alg": "SHA-256", "content": image.digest.removeprefix("sha256:")}]
    return component


def _system(dpkg_status: str) -> Iterator[dict[str, Any]]:
    for paragraph in dpkg_status.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def _package(package: Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.name}@{quote(package.version)}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    }
    if package.expression is not None:
        component["licenses"] = [{"expression": package.expression}]
    elif package.licence is not None:
        component["licenses"] = [{"license": {"name": package.licence}}]
    if package.sha256 is not None:
        component["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    return component


def _licence(fields: metadata.PackageMetadata) -> str | None:
    """Returns a licence's name from the fields that were there before License-Expression."""
    text = (_field(fields, "License") or "").strip()
    if text and text != "UNKNOWN" and len(text) <= _LONGEST_LICENCE and "\n" not in text:
        return text
    for each in fields.get_all("Classifier") or []:
        if each.startswith(_CLASSIFIER):
            return str(each.rpartition(" :: ")[2])
    return None


def _field(fields: metadata.PackageMetadata, name: str) -> str | None:
    # The type has no get, though every version of Python does.
    return fields[name] if name in fields else None  # noqa: SIM401


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the document; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m templates.image.bill")
    for name in ("--project", "--images", "--hashes", "--dpkg", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--built-from", nargs="+", required=True, metavar="ROLE=DIGEST")
    given = parser.parse_args(argv)
    try:
        images = read_lock(given.images)
        check_built_from(images, given.built_from)
    except ImageError as error:
        print(error, file=sys.stderr)  # noqa: T201  # read in the output of a build
        return 1
    document = bill(
        project=tomllib.loads(given.project.read_text())["project"],
        images=images,
        packages=installed(json.loads(given.hashes.read_text())),
        dpkg_status=given.dpkg.read_text(),
    )
    given.output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
