"""`mqttbeam devices authorities`: an authority's new revocation list, and which are refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tests.broker.auth.issuing import HOUR, Issuer
from tests.cli.commandline import assert_refused, mqttbeam

CA = Issuer("site-ca")
SET = ("devices", "authorities", "set", "site-ca", "--revocation-list")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry whose authority has a list with one certificate on it."""
    listed = {"pem": CA.pem, "revocation_list": CA.revocation_list(CA.issue("d1"))}
    content = {"version": 1, "authorities": {"site-ca": listed, "bare": {"pem": CA.pem}}}
    (tmp_path / "in.yaml").write_text(yaml.safe_dump(content))
    assert mqttbeam("devices", "import", "in.yaml", cwd=tmp_path).returncode == 0
    return tmp_path


def shown(folder: Path) -> dict[str, int | None]:
    """How many certificates each authority has revoked."""
    listed = mqttbeam("devices", "authorities", "list", "--json", cwd=folder)
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    return {row["name"]: row["revoked"] for row in rows}


def test_a_new_list_takes_the_place_of_the_one_before(folder: Path) -> None:
    assert shown(folder) == {"bare": None, "site-ca": 1}
    (folder / "ca.crl").write_text(CA.revocation_list(CA.issue("d1"), CA.issue("d2")))
    done = mqttbeam(*SET, "ca.crl", cwd=folder)
    assert done.stdout.startswith("site-ca: 2 revoked, the list holds until 20")
    assert shown(folder) == {"bare": None, "site-ca": 2}


def test_a_list_that_would_do_harm_is_refused_and_changes_nothing(folder: Path) -> None:
    older = Issuer("site-ca", now=CA.now - timedelta(minutes=5))
    older.key = CA.key
    for text, words in (
        ("none", "is no revocation list in PEM"),
        (Issuer("site-ca").revocation_list(), "is not signed by the authority"),
        (CA.revocation_list(ends=-HOUR), "is out of date since 20"),
        (older.revocation_list(ends=2 * HOUR), "is of 20"),
    ):
        (folder / "ca.crl").write_text(text)
        refused = mqttbeam(*SET, "ca.crl", cwd=folder)
        assert_refused(refused, f"error: --revocation-list: ca.crl {words}")
    assert shown(folder) == {"bare": None, "site-ca": 1}


def test_an_authority_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    (folder / "ca.crl").write_text(CA.revocation_list())
    command = ("devices", "authorities", "set", "other", "--revocation-list", "ca.crl")
    refused = mqttbeam(*command, cwd=folder)
    words = "error: there is no authority 'other'; the registry has: bare, site-ca\n"
    assert (refused.returncode, refused.stderr) == (1, words)
