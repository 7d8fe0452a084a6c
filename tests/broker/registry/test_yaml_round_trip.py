"""What is written as a registry file and read again is the same, whatever it holds."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings

from broker.registry import load_registry
from broker.registry.entries import Content, contradictions
from broker.registry.yaml_writing import content_text, write_private
from tests.broker.registry.contents import contents


@given(contents())
@settings(deadline=None, max_examples=200)
def test_a_registry_file_loses_nothing(content: Content) -> None:
    assert list(contradictions(content)) == []
    with TemporaryDirectory() as folder:
        path = Path(folder, "registry.yaml")
        write_private(path, content_text(content))
        assert load_registry(path, environment={}).content == content


def test_a_written_registry_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.touch(mode=0o644)
    write_private(path, content_text(Content()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["registry.yaml"]
