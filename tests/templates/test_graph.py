"""The names of a job's steps are a contract with the jobs that run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from templates import catalog
from templates.catalog import TEMPLATES, Template, template_named
from templates.errors import TemplateError
from templates.graph import Contract, contract_of
from templates.promises import failures, variants_of

RELEASED = Contract(variants={"default": ("Read", "Read/Decode", "Write")})


def test_the_same_names_and_new_ones_break_nothing() -> None:
    names = ["Read", "Read/Decode", "Write", "Count"]
    assert RELEASED.broken_by("default", names) == []
    assert RELEASED.unrecorded("default", names) == ["Count"]


def test_a_rename_breaks_the_update() -> None:
    assert RELEASED.broken_by("default", ["Read", "Read/Decode", "Publish"]) == ["Write"]


def test_a_mapping_mends_a_rename() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Write": "Publish"})
    assert mapped.broken_by("default", ["Read", "Read/Decode", "Publish"]) == []
    assert mapped.unrecorded("default", ["Read", "Read/Decode", "Publish"]) == []
    assert mapped.broken_by("default", ["Read", "Read/Decode", "Other"]) == ["Write"]


def test_the_mapping_of_a_composite_holds_for_its_parts() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Read": "Subscribe"})
    assert mapped.broken_by("default", ["Subscribe", "Subscribe/Decode", "Write"]) == []


def test_a_step_that_was_removed_on_purpose_is_mapped_to_nothing() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Write": ""})
    assert mapped.broken_by("default", ["Read", "Read/Decode"]) == []


def test_recording_adds_and_never_takes_away() -> None:
    recorded = RELEASED.with_names("default", ["Read", "Count"])
    assert recorded.variants["default"] == ("Count", "Read", "Read/Decode", "Write")
    assert RELEASED.with_names("other", ["Read"]).variants["other"] == ("Read",)
    assert json.loads(recorded.to_json())["renamed"] == {}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_every_variant_has_a_contract(template: Template) -> None:
    assert set(variants_of(template)) <= set(contract_of(template).variants)


def test_a_contract_that_is_missing_is_never_taken_for_an_empty_one() -> None:
    with pytest.raises(TemplateError, match=r"graph.json is missing"):
        contract_of(dataclasses.replace(template_named("pubsub-to-mqtt"), name="new"))


def test_a_new_template_s_contract_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    template = template_named("pubsub-to-mqtt")
    template.folder.mkdir()
    assert list(failures(template, record=True)) == []
    assert "ReadFromPubSub/Read/Read" in contract_of(template).variants["default"]
    assert list(failures(template)) == []
