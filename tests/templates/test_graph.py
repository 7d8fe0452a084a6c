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
from templates.specification import metadata, to_text

STEPS = {"Read": "", "Read/Decode": "BytesCoder", "Write": "VarIntCoder"}
RELEASED = Contract(variants={"default": STEPS})


def broken(contract: Contract, steps: dict[str, str]) -> str:
    return "\n".join(contract.broken_by("default", steps))


def test_the_same_steps_and_new_ones_break_nothing() -> None:
    steps = {**STEPS, "Count": "VarIntCoder"}
    assert broken(RELEASED, steps) == ""
    assert RELEASED.unrecorded("default", steps) == ["Count"]


def test_a_rename_breaks_the_update() -> None:
    steps = {"Read": "", "Read/Decode": "BytesCoder", "Publish": "VarIntCoder"}
    assert broken(RELEASED, steps).startswith("step 'Write' is gone")


def test_a_mapping_mends_a_rename() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Write": "Publish"})
    steps = {"Read": "", "Read/Decode": "BytesCoder", "Publish": "VarIntCoder"}
    assert broken(mapped, steps) == ""
    assert mapped.unrecorded("default", steps) == []
    assert broken(mapped, STEPS).startswith("step 'Write' is gone")


def test_other_coders_break_the_update_under_either_name() -> None:
    assert "step 'Write' has other coders" in broken(RELEASED, {**STEPS, "Write": "BytesCoder"})
    mapped = Contract(variants=RELEASED.variants, renamed={"Write": "Publish"})
    steps = {"Read": "", "Read/Decode": "BytesCoder", "Publish": "BytesCoder"}
    assert "step 'Publish' has other coders" in broken(mapped, steps)


def test_the_mapping_of_a_composite_holds_for_its_parts_and_names_each() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Read": "Subscribe"})
    steps = {"Subscribe": "", "Subscribe/Decode": "BytesCoder", "Write": "VarIntCoder"}
    assert broken(mapped, steps) == ""
    assert mapped.mapping_to(steps) == {"Read": "Subscribe", "Read/Decode": "Subscribe/Decode"}


def test_a_step_that_was_removed_on_purpose_is_mapped_to_nothing() -> None:
    mapped = Contract(variants=RELEASED.variants, renamed={"Read": ""})
    assert broken(mapped, {"Write": "VarIntCoder"}) == ""
    assert mapped.mapping_to({"Write": "VarIntCoder"}) == {"Read": "", "Read/Decode": ""}


def test_what_was_renamed_in_another_variant_only_is_not_mapped() -> None:
    variants = {"default": STEPS, "archive": {"Archive": ""}}
    mapped = Contract(variants=variants, renamed={"Archive": "Files", "Write": "Publish"})
    steps = {"Read": "", "Read/Decode": "BytesCoder", "Publish": "VarIntCoder"}
    assert mapped.mapping_to(steps) == {"Write": "Publish"}


def test_recording_adds_and_never_takes_away_or_changes() -> None:
    recorded = RELEASED.with_steps("default", {"Read": "", "Write": "BytesCoder", "Count": ""})
    assert dict(recorded.variants["default"]) == {**STEPS, "Count": ""}
    assert dict(RELEASED.with_steps("other", {"Read": ""}).variants["other"]) == {"Read": ""}
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
    (template.folder / "metadata.json").write_text(to_text(metadata(template)))
    assert list(failures(template, record=True)) == []
    assert "ReadFromPubSub/Read/Read" in contract_of(template).variants["default"]
    assert list(failures(template)) == []
