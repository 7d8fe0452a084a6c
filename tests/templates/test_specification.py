"""The specification is Google's ContainerSpec, to the last field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3.types import ParameterType

from templates import catalog
from templates.catalog import TEMPLATES, Template, template_named
from templates.errors import TemplateError, UnknownTemplate
from templates.specification import (
    check_specification,
    disagreements,
    metadata,
    specification,
    to_text,
)

IMAGE = "europe-docker.pkg.dev/my-project/mqttbeam/mqtt-to-pubsub:1.0"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_google_s_type_reads_all_of_it(template: Template) -> None:
    spec = check_specification(to_text(specification(template, image=IMAGE)))
    assert spec.image == spec.default_environment.sdk_container_image == IMAGE
    assert spec.metadata.streaming
    assert spec.metadata.supports_at_least_once
    assert spec.metadata.supports_exactly_once
    assert spec.metadata.default_streaming_mode == "AT_LEAST_ONCE"
    assert [each.name for each in spec.metadata.parameters] == [
        each.name for each in template.parameters
    ]


def test_kinds_become_dataflow_s_types() -> None:
    spec = check_specification(
        to_text(specification(template_named("mqtt-to-pubsub"), image=IMAGE))
    )
    types = {each.name: each.param_type for each in spec.metadata.parameters}
    assert types["outputTopic"] is ParameterType.PUBSUB_TOPIC
    assert types["protocol"] is ParameterType.ENUM
    assert types["ordered"] is ParameterType.BOOLEAN
    assert types["shards"] is ParameterType.NUMBER
    assert types["deadLetterBlobFolder"] is ParameterType.GCS_WRITE_FOLDER
    assert types["passwordSecretId"] is ParameterType.TEXT


def test_a_field_that_google_doesn_t_know_is_seen() -> None:
    spec = specification(template_named("mqtt-to-pubsub"), image=IMAGE)
    spec["metadata"]["streeming"] = True
    with pytest.raises(TemplateError, match="streeming"):
        check_specification(json.dumps(spec))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_the_metadata_that_are_written_are_those_of_the_options(template: Template) -> None:
    assert list(disagreements(template)) == []


def test_metadata_that_say_otherwise_than_the_options_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    template = template_named("pubsub-to-mqtt")
    template.folder.mkdir()
    file = template.folder / "metadata.json"
    assert "can't be read" in "".join(disagreements(template))
    written = metadata(template)
    first, second, *rest = written["parameters"]
    written["parameters"] = [{**first, "regexes": [".*"]}, {**second, "name": "other"}, *rest]
    written["defaultStreamingMode"] = "EXACTLY_ONCE"
    file.write_text(to_text(written))
    assert list(disagreements(template)) == [
        f"metadata.json: {first['name']} is not what its option says",
        f"metadata.json: {second['name']} is not what its option says",
        "metadata.json: other is no parameter of pubsub-to-mqtt",
        "metadata.json: it is not what the template says; python -m docs.generate writes it",
    ]


@pytest.mark.parametrize("image", ["", "image", "registry/image", "registry/image:", "a b/c:1"])
def test_an_image_without_tag_or_digest_is_refused(image: str) -> None:
    with pytest.raises(TemplateError, match="must be REGISTRY/PATH:TAG"):
        specification(template_named("mqtt-to-pubsub"), image=image)


def test_a_digest_is_taken() -> None:
    image = f"europe-docker.pkg.dev/p/r/i@sha256:{'0' * 64}"
    assert specification(template_named("mqtt-to-pubsub"), image=image)["image"] == image


def test_an_unknown_template_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownTemplate, match="'mqtt': there are mqtt-to-pubsub, mqtt-to-"):
        template_named("mqtt")
    with pytest.raises(UnknownTemplate, match="did you mean mqtt-to-bigquery"):
        template_named("mqtt-to-bigquerry")
