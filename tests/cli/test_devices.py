"""`mqttbeam devices`: what is said, what is kept, and that a secret is shown once."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from broker.auth.passwords import PasswordAuthenticator
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.registry.contents import CA_PEM, EC_PEM, HASH, certificate_pem
from tests.cli.commandline import assert_refused, mqttbeam


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def done(folder: Path, *arguments: str) -> str:
    result = mqttbeam("devices", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def told(folder: Path, *arguments: str) -> Any:
    return json.loads(done(folder, *arguments, "--json"))


def failed(folder: Path, *arguments: str) -> str:
    result = mqttbeam("devices", *arguments, cwd=folder)
    assert result.returncode == 1, result.stdout
    [line] = result.stderr.splitlines()
    return line


def registry(folder: Path) -> SqlRegistry:
    return SqlRegistry(registry_url("sqlite:///registry.db", folder=folder))


def logs_in(folder: Path, name: str, password: str) -> bool:
    opened = registry(folder)
    login = PasswordAuthenticator(opened).verify(name, password.encode(), 1e9)
    opened.close()
    return login is not None


def test_a_device_gets_a_password_that_is_shown_once(folder: Path) -> None:
    said = done(folder, "add", "meter-7")
    password = said.splitlines()[1].removeprefix("shown once, password: ")
    assert logs_in(folder, "meter-7", password)
    assert password not in done(folder, "show", "meter-7") + done(folder, "export")
    assert failed(folder, "add", "meter-7") == "error: device 'meter-7' is there already"
    assert logs_in(folder, "meter-7", password)


def test_a_service_a_gateway_and_metadata(folder: Path) -> None:
    done(folder, "add", "g", "--credential", "none")
    done(folder, "add", "d", "--gateway", "g", "--metadata", '{"site": "north"}')
    role = ("--service", "--role", "telemetry-pipeline")
    done(folder, "add", "warehouse", *role, "--client-id-prefix", "warehouse-")
    shown = [json.loads(line) for line in done(folder, "list", "--json").splitlines()]
    assert [(each["name"], each["kind"], each["gateways"]) for each in shown] == [
        ("d", "device", ["g"]),
        ("g", "device", []),
        ("warehouse", "service", []),
    ]
    assert shown[0]["metadata"] == {"site": "north"}
    lines = done(folder, "list", "--match", "w*").splitlines()
    assert [line.split()[0] for line in lines] == ["name", "warehouse"]
    done(folder, "set", "d", "--no-gateways", "--role", "observer")
    assert told(folder, "show", "d")["gateways"] == []
    assert told(folder, "show", "d")["role"] == "observer"


def test_secrets_go_to_files_of_their_owner_alone(folder: Path) -> None:
    answer = told(folder, "add", "d", "--credential", "certificate", "--out", "out")
    assert "secrets" not in answer["credential"]
    assert answer["credential"]["files"] == ["out/d.key.pem", "out/d.certificate.pem"]
    for file in answer["credential"]["files"]:
        assert stat.S_IMODE((folder / file).stat().st_mode) == 0o600
    assert (folder / "out/d.key.pem").read_text().startswith("-----BEGIN PRIVATE KEY")
    refused = failed(folder, "credentials", "add", "d", "certificate", "--out", "out")
    assert refused.startswith("error: out/d.key.pem is there already")
    assert len(told(folder, "show", "d")["credentials"]) == 1


def test_a_secret_of_nobody_stays_nowhere(folder: Path) -> None:
    done(folder, "add", "d")
    failed(folder, "add", "d", "--out", "out")
    failed(folder, "credentials", "add", "nobody", "es256", "--out", "out")
    assert list((folder / "out").iterdir()) == []
    assert "--out none: No such file" in failed(folder, "add", "e", "--out", "none")


def test_credentials_are_added_listed_and_removed(folder: Path) -> None:
    (folder / "ec.pem").write_text(EC_PEM)
    (folder / "leaf.pem").write_text(certificate_pem("d", ca=False))
    (folder / "chosen").write_text("of my choice\n")
    done(folder, "add", "d", "--password-file", "chosen")
    assert logs_in(folder, "d", "of my choice")
    add = ("credentials", "add", "d")
    done(folder, *add, "scram", "--not-after", "2030-01-01T00:00:00Z")
    done(folder, *add, "--public", "ec.pem")
    done(folder, *add, "--public", "leaf.pem")
    made = told(folder, *add, "rs256")
    assert made["credential"]["secrets"]["key.pem"].startswith("-----BEGIN PRIVATE KEY")
    rows = [
        json.loads(row)
        for row in done(folder, "credentials", "list", "d", "--json").split("\n")
        if row
    ]
    assert sorted(row["kind"] for row in rows) == [
        "certificate",
        "es256",
        "password",
        "rs256",
        "scram",
    ]
    [scram] = [row for row in rows if row["kind"] == "scram"]
    assert scram["not_after"] == "2030-01-01T00:00:00Z"
    done(folder, "credentials", "remove", "d", scram["id"])
    assert scram["id"] not in done(folder, "credentials", "list", "d")
    refused = failed(folder, "credentials", "remove", "d", "x")
    assert refused.startswith("error: d has no credential 'x'; it has: d/")


def test_rotation_with_and_without_overlap(folder: Path) -> None:
    first = told(folder, "add", "d")["credential"]["secrets"]["password"]
    second = told(folder, "rotate", "d")["credential"]["secrets"]["password"]
    assert (logs_in(folder, "d", first), logs_in(folder, "d", second)) == (False, True)
    third = told(folder, "rotate", "d", "--overlap", "3600")["credential"]["secrets"]["password"]
    assert logs_in(folder, "d", second)
    assert logs_in(folder, "d", third)
    refused = mqttbeam("devices", "rotate", "d", cwd=folder)
    assert_refused(refused, "error: d has 2 credentials; say which by --credential: d/password-")


def test_blocking_and_removing(folder: Path) -> None:
    done(folder, "add", "d")
    done(folder, "block", "d")
    assert told(folder, "show", "d")["blocked"] is True
    done(folder, "unblock", "d")
    assert told(folder, "show", "d")["blocked"] is False
    done(folder, "remove", "d")
    for command in ("show", "block", "remove", "rotate"):
        assert failed(folder, command, "d").startswith("error: there is no device or service 'd'")


def test_a_registry_file_is_taken_in_and_written_again(folder: Path) -> None:
    (folder / "ca.pem").write_text(CA_PEM)
    (folder / "in.yaml").write_text(
        f"""
        version: 1
        roles: {{meter: {{publish: {{allow: [a]}}}}}}
        devices: {{d: {{role: meter, password_hash: "{HASH}"}}}}
        authorities: {{site: {{pem_file: ca.pem}}}}
        """
    )
    assert done(folder, "import", "in.yaml") == "1 devices and services, 1 roles, 1 authorities\n"
    done(folder, "export", "out.yaml")
    assert stat.S_IMODE((folder / "out.yaml").stat().st_mode) == 0o600
    assert done(folder, "export") == (folder / "out.yaml").read_text()
    done(folder, "import", "out.yaml", "--registry", "sqlite:///other.db")
    again = done(folder, "export", "--registry", "sqlite:///other.db")
    assert again == (folder / "out.yaml").read_text()
    done(folder, "add", "e")
    done(folder, "import", "out.yaml")
    assert told(folder, "show", "e")
    done(folder, "import", "out.yaml", "--instead")
    assert "'e'" in failed(folder, "show", "e")


def test_the_registry_is_named_by_the_environment_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTTBEAM_REGISTRY", "sqlite:///named.db")
    done(folder, "add", "d")
    assert (folder / "named.db").exists()
    assert not (folder / "registry.db").exists()
    assert done(folder, "upgrade").startswith("version 0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "a/b"], "error: 'a/b' must be 1 to 128 characters"),
        (["add", "d", "--service"], "error: --service needs --role"),
        (["add", "d", "--role", "observer", "--service"], "error: 'd': services have a client_id"),
        (["add", "d", "--credential", "pin"], "error: --credential pin: choose from password"),
        (["add", "d", "--metadata", "[]"], "error: --metadata: is []; it must be an object"),
        (["set", "d"], "error: give --role, --metadata"),
        (["credentials", "add", "d"], "error: give a KIND to make one, or --public"),
        (["credentials", "add", "d", "es256", "--ca-key", "k"], "error: --ca-certificate and"),
        (["credentials", "add", "d", "scram", "--not-after", "x"], "error: --not-before, --not-"),
        (["import", "none.yaml"], "error: none.yaml: cannot be read"),
        (["list", "--registry", "mysql://x/y"], "error: --registry: is of kind 'mysql'"),
        (["list", "--registry", "postgresql://u:p@h/d"], "error: --registry: has its password in"),
    ],
)
def test_a_wrong_use_is_told_in_one_line(folder: Path, arguments: list[str], message: str) -> None:
    assert_refused(mqttbeam("devices", *arguments, cwd=folder), message)


def test_only_what_adds_makes_a_registry(folder: Path) -> None:
    assert failed(folder, "list").startswith("error: registry.db is not there; `mqttbeam devices")
    assert not (folder / "registry.db").exists()
