"""`mqttbeam devices formats`: the cost is told, and only what was chosen is ever hashed so."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.auth.password_formats import mosquitto_hash
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.registry.contents import HASH, OTHER
from tests.cli.commandline import assert_refused, mqttbeam

ADD = ("formats", "add", "mosquitto", "--accept-cost")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A registry with a device whose password was set before any format was chosen."""
    done(tmp_path, "add", "before")
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[str, list[str]]:
    """What is said on standard output and on standard error."""
    result = mqttbeam("devices", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr.splitlines()


def done(folder: Path, *arguments: str) -> str:
    return run(folder, *arguments)[0]


def failed(folder: Path, *arguments: str) -> list[str]:
    result = mqttbeam("devices", *arguments, cwd=folder)
    assert (result.returncode, result.stdout) == (1, "")
    return result.stderr.splitlines()


def listed(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(folder, "formats", "list", "--json"))
    return found


def others(folder: Path, name: str) -> list[list[str]]:
    """The formats of each of one's credentials, as they are told."""
    rows = done(folder, "credentials", "list", name, "--json").splitlines()
    return [json.loads(row)["other_hashes"] for row in rows]


def exported(folder: Path) -> dict[str, str]:
    lines = done(folder, "formats", "export", "mosquitto").splitlines()
    return dict(line.split(":", 1) for line in lines)


def is_hash_of(encoded: str, password: str) -> bool:
    _, _, iterations, salt, _ = encoded.split("$")
    made = mosquitto_hash(password, salt=base64.b64decode(salt), iterations=int(iterations))
    return made == encoded


def test_a_format_is_chosen_only_by_who_accepts_its_cost(folder: Path) -> None:
    cost, refusal = failed(folder, "formats", "add", "mosquitto")
    assert "MiB of memory by argon2id" in cost
    assert refusal == "error: mosquitto: nothing is changed; with --accept-cost it is chosen"
    assert listed(folder) == {
        "format": "mosquitto",
        "chosen": False,
        "passwords": 0,
        "without": 1,
    }
    done(folder, "add", "d")
    assert others(folder, "d") == [[]]
    said, [cost] = run(folder, *ADD)
    assert said == "mosquitto: chosen; 2 passwords have no such hash until they are set anew\n"
    assert "attacks the weaker" in cost
    assert listed(folder)["chosen"] is True
    assert failed(folder, *ADD)[1:] == ["error: mosquitto is chosen already"]


def test_every_command_that_sets_a_password_hashes_it_in_the_chosen_format(folder: Path) -> None:
    done(folder, *ADD)
    assert others(folder, "before") == [[]]
    (folder / "password").write_text("chosen\n")
    done(folder, "add", "d", "--password-file", "password")
    assert is_hash_of(exported(folder)["d"], "chosen")
    done(folder, "add", "e", "--credential", "none")
    done(folder, "credentials", "add", "e", "password", "--password-file", "password")
    assert is_hash_of(exported(folder)["e"], "chosen")
    said = done(folder, "rotate", "before")
    assert is_hash_of(exported(folder)["before"], said.split("password: ")[1].strip())
    assert listed(folder) == {"format": "mosquitto", "chosen": True, "passwords": 3, "without": 0}
    done(folder, "add", "s", "--credential", "scram")
    assert others(folder, "s") == [[]]


def test_hashes_go_with_their_format(folder: Path) -> None:
    done(folder, *ADD)
    done(folder, "add", "d")
    said = done(folder, "formats", "remove", "mosquitto")
    assert said.startswith("mosquitto: not chosen any more, 1 hashes are removed;")
    assert others(folder, "d") == [[]]
    assert "$7$" not in done(folder, "export")
    done(folder, "rotate", "d")
    assert others(folder, "d") == [[]]
    words = "error: mosquitto is not chosen; `mqttbeam devices formats list` shows which are"
    assert failed(folder, "formats", "remove", "mosquitto") == [words]
    assert failed(folder, "formats", "export", "mosquitto") == [words]


def test_a_file_for_a_broker_is_its_owners_alone_and_tells_what_it_can_not_say(
    folder: Path,
) -> None:
    done(folder, *ADD)
    (folder / "passwords").touch(mode=0o644)
    said, warnings = run(folder, "formats", "export", "mosquitto", "passwords")
    assert said == "passwords: 0 devices and services\n"
    assert warnings == [
        "warning: set before mosquitto was chosen, and so not there until they are set anew:"
        " the passwords of before"
    ]
    assert (folder / "passwords").read_text() == ""
    assert run(folder, "formats", "export", "mosquitto", "-") == ("", warnings)
    done(folder, "rotate", "before")
    done(folder, "add", "d")
    done(folder, "rotate", "d", "--overlap", "3600", "--days", "7")
    done(folder, "add", "a:b")
    said, warnings = run(folder, "formats", "export", "mosquitto", "passwords")
    assert said == "passwords: 2 devices and services\n"
    assert stat.S_IMODE((folder / "passwords").stat().st_mode) == 0o600
    lines = (folder / "passwords").read_text().splitlines()
    assert [line.split(":$7$")[0] for line in lines] == ["before", "d"]
    several, unfit, ends = warnings
    assert several.startswith("warning: mosquitto takes one password each, so that it has the")
    assert "newest of d (d/password-" in several
    assert unfit == "warning: a:b is not there: mosquitto takes no name with a colon"
    assert ends.startswith("warning: a password ends at 20")


def test_a_registry_file_carries_formats_and_hashes_both_ways(folder: Path) -> None:
    done(folder, *ADD)
    done(folder, "add", "d")
    done(folder, "export", "all.yaml")
    other = ("--registry", "sqlite:///other.db")
    said, [warning] = run(folder, "import", "all.yaml", *other)
    assert said.splitlines()[-1].startswith("password formats: 1 added, 0 replaced")
    assert warning.startswith("warning: A guess at a password costs")
    contents = []
    for name in ("registry.db", "other.db"):
        opened = SqlRegistry(registry_url(f"sqlite:///{name}", folder=folder))
        contents.append(opened.content())
        opened.close()
    assert contents[0] == contents[1]
    assert run(folder, "import", "all.yaml", *other)[1] == []


def test_what_is_imported_is_hashed_as_the_registry_has_chosen(folder: Path) -> None:
    (folder / "d.password").write_text("secret")
    devices = {
        "d": {"password_file": "d.password"},
        "e": {"password_hash": HASH},
        "before": {"credentials": []},
    }
    (folder / "in.yaml").write_text(yaml.safe_dump({"version": 1, "devices": devices}))
    done(folder, "import", "in.yaml")
    assert others(folder, "d") == [[]]
    done(folder, *ADD)
    done(folder, "import", "in.yaml")
    assert others(folder, "d") == [["mosquitto"]]
    assert others(folder, "e") == [[]]
    assert is_hash_of(exported(folder)["d"], "secret")
    said = done(folder, "import", "in.yaml", "--instead")
    assert said.splitlines()[-1] == (
        "password formats: 0 added, 0 replaced, 0 kept as they were, 1 removed"
    )
    assert others(folder, "d") == [[]]


def test_a_hash_of_a_format_that_the_file_has_not_chosen_is_refused(folder: Path) -> None:
    devices = {"d": {"password_hash": HASH, "other_hashes": {"mosquitto": OTHER.encoded}}}
    (folder / "in.yaml").write_text(yaml.safe_dump({"version": 1, "devices": devices}))
    refused = mqttbeam("devices", "import", "in.yaml", cwd=folder)
    assert_refused(refused, "error: in.yaml: devices.d.credentials: 'd/password-")


@pytest.mark.parametrize("command", ["add", "export"])
def test_a_broker_that_nobody_knows_is_told_with_those_that_are(folder: Path, command: str) -> None:
    refused = mqttbeam("devices", "formats", command, "other", cwd=folder)
    assert_refused(refused, "error: FORMAT is 'other'; the password formats are: mosquitto")
