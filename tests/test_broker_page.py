"""docs/broker.md has every key of the configuration, metric and topic, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker.config_file import read_config
from broker.yaml_file import Section
from docs import broker_page


def test_the_page_is_that_of_the_code() -> None:
    page = broker_page.PAGE.read_text(encoding="utf-8")
    assert broker_page.rendered(page) == page, "run python -m docs.generate"


def test_every_key_that_the_file_may_have_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: set[str] = set()
    finish = Section.finish

    def remembered(section: Section) -> None:
        asked_for.update(re.sub(r"\[\d+\]", "[]", section.name(key)) for key in section.known)
        finish(section)

    monkeypatch.setattr(Section, "finish", remembered)
    path = tmp_path / "broker.yaml"
    path.write_text(broker_page.EXAMPLE)
    config, problems = read_config(path)
    assert problems == [], "the example of the page is right"
    assert config is not None
    told = {each.key for each in broker_page.settings()}
    sections = {
        key for key in asked_for if any(each.startswith((f"{key}.", f"{key}[]")) for each in told)
    }
    # A mapping such as a queue has its keys in its example.
    parts = {key for key in asked_for if key.rpartition(".")[0] in told}
    assert asked_for - sections - parts == told
    assert len(told) > 40


def test_every_setting_has_what_a_reader_needs() -> None:
    for each in broker_page.settings():
        assert each.kind, each.key
        assert each.meaning, each.key
        assert each.example.startswith("`"), each.key
