"""The bill of materials, by the schema of its format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from templates.errors import ImageError
from templates.image import hashes
from templates.image.bill import Package, bill, check_built_from, installed, main
from templates.image.locked import BaseImage, write_lock
from tests.templates.image.dockerfile import PROJECT
from tests.templates.image.schema import validated

DIGEST = f"sha256:{'5' * 64}"
IMAGE = BaseImage(role="python", image="docker.io/library/python", tag="3.11-slim", digest=DIGEST)
NOT_YET = BaseImage(role="beam", image="docker.io/apache/beam", tag="2.77.0")
DPKG = """\
Package: libstdc++6
Status: install ok installed
Architecture: amd64
Version: 12.2.0-14+deb12u1
Description: GNU Standard C++ Library v3
 Version: 3 of the text is none of the package.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
PACKAGES = [
    Package(name="apache-beam", version="2.77.0", expression="Apache-2.0", sha256="a" * 64),
    Package(name="docopt", version="0.6.2", licence="MIT License"),
    Package(name="unknown", version="1!2.0+local"),
]


def document(**other: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "project": {"name": "mqttbeam", "version": "0.1.0", "license": "Apache-2.0"},
        "images": [IMAGE, NOT_YET],
        "packages": PACKAGES,
        "dpkg_status": DPKG,
    }
    return bill(**{**given, **other})


def component(name: str) -> dict[str, Any]:
    (found,) = [each for each in document()["components"] if each["name"] == name]
    return dict(found)


def test_it_is_of_its_schema() -> None:
    read = validated(json.dumps(document()))
    assert {each.name for each in read.components} == {
        "docker.io/library/python",
        "docker.io/apache/beam",
        "libstdc++6",
        "apache-beam",
        "docopt",
        "unknown",
    }


def test_a_fault_would_be_seen() -> None:
    wrong = document(packages=[Package(name="x", version="1", sha256="no hash")])
    with pytest.raises(AssertionError):
        validated(json.dumps(wrong))


def test_a_package_has_hash_licence_and_name() -> None:
    beam = component("apache-beam")
    assert beam["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert beam["licenses"] == [{"expression": "Apache-2.0"}]
    assert beam["purl"] == "pkg:pypi/apache-beam@2.77.0"
    assert component("docopt")["licenses"] == [{"license": {"name": "MIT License"}}]
    assert "licenses" not in component("unknown")


def test_a_base_image_is_known_by_its_digest() -> None:
    assert component("docker.io/library/python")["purl"] == (
        f"pkg:oci/python@sha256%3A{'5' * 64}?repository_url=docker.io/library/python&tag=3.11-slim"
    )
    assert "hashes" not in component("docker.io/apache/beam")


def test_a_package_of_the_system_is_there_once_installed() -> None:
    assert component("libstdc++6")["version"] == "12.2.0-14+deb12u1"


def test_the_same_materials_make_the_same_document() -> None:
    assert document() == document()
    other = document(packages=PACKAGES[:1])
    assert other["serialNumber"] != document()["serialNumber"]


def test_the_hash_of_what_pip_took_goes_to_what_is_installed() -> None:
    (here,) = [each for each in installed({}) if each.name == "packaging"]
    report = {
        "install": [
            {
                "metadata": {"name": "Packaging", "version": here.version},
                "download_info": {"archive_info": {"hashes": {"sha256": "b" * 64}}},
            }
        ]
    }
    known = {each.name: each.sha256 for each in installed(hashes.hashes_of(report))}
    assert known["packaging"] == "b" * 64
    assert known["pytest"] is None


def test_another_base_than_the_lock_has_is_refused() -> None:
    check_built_from([IMAGE, NOT_YET], [f"python={DIGEST}", "beam=unresolved"])
    with pytest.raises(ImageError, match="python: built from sha256:6666"):
        check_built_from([IMAGE], [f"python=sha256:{'6' * 64}"])
    with pytest.raises(ImageError, match="beam: built from None"):
        check_built_from([IMAGE, NOT_YET], [f"python={DIGEST}"])


def test_the_commands_of_the_dockerfile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lock([IMAGE], tmp_path / "images.lock")
    (tmp_path / "packages.json").write_text('{"install": []}')
    kept = tmp_path / "hashes.json"
    assert hashes.main(["--output", str(kept), str(tmp_path / "packages.json")]) == 0
    (tmp_path / "status").write_text(DPKG)
    command = [
        *("--project", str(PROJECT / "pyproject.toml"), "--images", str(tmp_path / "images.lock")),
        *("--hashes", str(kept), "--dpkg", str(tmp_path / "status")),
        *("--output", str(tmp_path / "sbom.json"), "--built-from"),
    ]
    assert main([*command, f"python={DIGEST}"]) == 0
    names = {each.name for each in validated((tmp_path / "sbom.json").read_text()).components}
    assert {"apache-beam", "libstdc++6", "docker.io/library/python"} <= names
    assert main([*command, "python=unresolved"]) == 1
    assert "build by `mqttbeam templates build`" in capsys.readouterr().err
