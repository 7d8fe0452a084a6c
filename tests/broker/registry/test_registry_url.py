"""A registry's URL: which databases are taken, and where a password comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.registry.registry_url import registry_url


def test_a_file_is_taken_from_the_folder(tmp_path: Path) -> None:
    assert registry_url("sqlite:///a/r.db", folder=tmp_path).database == str(tmp_path / "a/r.db")
    assert registry_url("sqlite:////v/r.db", folder=tmp_path).database == "/v/r.db"


def test_a_password_is_a_reference(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the file@:/\n")
    at = "postgresql://u:{}@h/d"
    url = registry_url(at.format("${env:PASSWORD}"), environment={"PASSWORD": "of ${env:X}"})
    assert (url.drivername, url.password) == ("postgresql+psycopg", "of ${env:X}")
    url = registry_url(at.format("${file:secret}"), folder=tmp_path)
    assert url.password == "of the file@:/"
    assert "file@" not in repr(url)
    assert registry_url("postgresql+psycopg://u@h/d").password is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("registry.db", "is no URL of a database; it must be sqlite:///FILE or"),
        ("mysql://h/d", "is of kind 'mysql'; it must be"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("postgresql://u:hunter2@h/d", "has its password in clear; write ${env:NAME}"),
        ("postgresql://u@h/d?password=hunter2", "has its password among the parameters"),
        ("postgresql://u:${env:NONE}@h/d", "the variable 'NONE', which is not set"),
        ("postgresql://u:${file:none}@h/d", "a file that can't be read"),
    ],
)
def test_what_is_wrong_is_told_without_the_password(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are looked at
        registry_url(text, folder=tmp_path, environment={})
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)
