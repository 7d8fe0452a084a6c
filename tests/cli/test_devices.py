"""`mqttbeam devices`: what is said, what is kept, and that a secret is shown once."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from broker.auth.passwords import PasswordAuthenticator
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from tests.broker.registry.contents import CA_PEM, EC_KEY, EC_PEM, HASH, certificate_pem
from tests.cli.commandline import PROGRAM, assert_refused, mqttbeam

PASSED = "error: --not-after 2020-01-01T00:00:00Z: that has passed already"
CA_KEY = EC_KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()


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
    stem = "out/" + answer["credential"]["id"].replace("/", ".")
    assert answer["credential"]["files"] == [f"{stem}.key.pem", f"{stem}.certificate.pem"]
    for file in answer["credential"]["files"]:
        assert stat.S_IMODE((folder / file).stat().st_mode) == 0o600
    key = (folder / f"{stem}.key.pem").read_text()
    assert key.startswith("-----BEGIN PRIVATE KEY")
    told(folder, "rotate", "d", "--self-signed", "--out", "out")
    assert (folder / f"{stem}.key.pem").read_text() == key
    assert len(list((folder / "out").iterdir())) == 4


def test_the_folder_for_secrets_is_made_for_its_owner_alone(folder: Path) -> None:
    told(folder, "add", "d", "--out", "new/secrets")
    assert stat.S_IMODE((folder / "new/secrets").stat().st_mode) == 0o700
    (folder / "file").touch()
    assert failed(folder, "add", "e", "--out", "file") == "error: --out file: File exists"


def test_a_secret_of_nobody_stays_nowhere(folder: Path) -> None:
    done(folder, "add", "d")
    failed(folder, "add", "d", "--out", "out")
    failed(folder, "credentials", "add", "nobody", "es256", "--out", "out")
    assert list((folder / "out").iterdir()) == []


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


def ends(folder: Path, name: str, *, passed: bool) -> None:
    """Puts an end to all of its credentials, a second ago or beyond all years."""
    with sqlite3.connect(folder / "registry.db") as database:
        at = int(time.time()) - 1 if passed else 10**12
        database.execute("UPDATE credentials SET not_after = ? WHERE member = ?", (at, name))
    database.close()


def test_an_expired_credential_is_shown_and_not_rotated(folder: Path) -> None:
    first = told(folder, "add", "d")["credential"]["id"]
    ends(folder, "d", passed=True)
    second = told(folder, "credentials", "add", "d", "password")["credential"]["id"]
    rows = done(folder, "credentials", "list", "d", "--json").splitlines()
    expired = {row["id"]: row["expired"] for row in map(json.loads, rows)}
    assert expired == {first: True, second: False}
    third = told(folder, "rotate", "d")["credential"]["id"]
    assert {each["id"] for each in told(folder, "show", "d")["credentials"]} == {first, third}


def test_a_time_beyond_all_years_is_refused_and_shown_where_it_is_stored(folder: Path) -> None:
    done(folder, "add", "d")
    refused = mqttbeam("devices", "rotate", "d", "--overlap", "999999999999", cwd=folder)
    assert refused.returncode == 2
    assert "315360000" in refused.stderr
    ends(folder, "d", passed=False)
    for command in (("show", "d"), ("credentials", "list", "d"), ("export",)):
        assert "9999-12-31T23:59:59Z" in done(folder, *command)


@pytest.mark.parametrize("kind", ["password", "scram", "es256", "certificate"])
def test_days_are_the_end_of_a_credential_of_every_kind(folder: Path, kind: str) -> None:
    done(folder, "add", "d", "--credential", "none")
    made = told(folder, "credentials", "add", "d", kind, "--days", "5")["credential"]
    end = datetime.fromisoformat(made["not_after"])
    assert abs(end - datetime.now(UTC) - timedelta(days=5)) < timedelta(minutes=1)
    if kind == "certificate":
        text = made["secrets"]["certificate.pem"]
        assert x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc == end


def test_an_import_that_takes_a_certificate_away_warns_of_the_authority(folder: Path) -> None:
    (folder / "ca.pem").write_text(CA_PEM)
    (folder / "leaf.pem").write_text(certificate_pem("d", ca=False))
    (folder / "in.yaml").write_text(
        "version: 1\nauthorities: {site-ca: {pem_file: ca.pem}}\n"
        "devices: {d: {credentials: [{type: certificate, certificate_file: leaf.pem}]}}\n"
    )
    assert mqttbeam("devices", "import", "in.yaml", cwd=folder).stderr == ""
    (folder / "in.yaml").write_text("version: 1\ndevices: {d: {credentials: []}}\n")
    taken = mqttbeam("devices", "import", "in.yaml", cwd=folder)
    assert taken.returncode == 0
    assert taken.stderr.startswith("warning: if the authority site-ca has signed d/certificate-")


def test_a_certificate_is_rotated_by_a_ca_or_signed_by_itself_as_is_said(folder: Path) -> None:
    (folder / "ca.pem").write_text(CA_PEM)
    (folder / "ca.key.pem").write_text(CA_KEY)
    (folder / "in.yaml").write_text("version: 1\nauthorities: {site-ca: {pem_file: ca.pem}}\n")
    done(folder, "import", "in.yaml")
    ca = ("--ca-certificate", "ca.pem", "--ca-key", "ca.key.pem")
    done(folder, "add", "d", "--credential", "none")
    done(folder, "credentials", "add", "d", "certificate", *ca)
    refused = mqttbeam("devices", "rotate", "d", cwd=folder)
    assert refused.returncode == 2
    assert "give --ca-certificate and --ca-key for one of a CA, or --self-signed" in refused.stderr
    rotated = mqttbeam("devices", "rotate", "d", *ca, "--json", cwd=folder)
    assert rotated.stderr.startswith("warning: if the authority site-ca has signed d/certificate-")
    new = json.loads(rotated.stdout)["credential"]
    signed = x509.load_pem_x509_certificate(new["secrets"]["certificate.pem"].encode())
    authority = x509.load_pem_x509_certificate(CA_PEM.encode())
    signed.verify_directly_issued_by(authority)
    assert signed.not_valid_after_utc == authority.not_valid_after_utc
    removed = mqttbeam("devices", "credentials", "remove", "d", new["id"], cwd=folder)
    assert "until it is on the authority's revocation list" in removed.stderr
    refused = mqttbeam("devices", "rotate", "d", cwd=folder)
    assert_refused(refused, "error: d has no credential; `mqttbeam devices credentials add d")


def test_events_of_somebody_who_never_was(folder: Path) -> None:
    done(folder, "add", "d")
    assert done(folder, "events", "d") == ""
    assert failed(folder, "events", "nobody").startswith("error: there is no device or service")


def test_files_that_are_not_what_they_should_be_are_named(folder: Path) -> None:
    (folder / "latin").write_bytes(b"\xe9")
    (folder / "leaf.pem").write_text(certificate_pem("d", ca=False))
    refused = mqttbeam("devices", "add", "d", "--password-file", "latin", cwd=folder)
    assert_refused(refused, "error: latin is no text in UTF-8")
    given = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM}main()", "devices", "add", "d", "--password-file", "-"],
        cwd=folder,
        input=b"\xe9",
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": "POSIX"},
    )
    assert (given.returncode, given.stderr) == (2, b"error: standard input is no text in UTF-8\n")
    arguments = ("certificate", "--ca-certificate", "leaf.pem", "--ca-key", "leaf.pem")
    refused = mqttbeam("devices", "credentials", "add", "d", *arguments, cwd=folder)
    assert_refused(refused, "error: --ca-certificate: leaf.pem is no CA's certificate")


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
    taken = "1 added, 0 replaced, 0 kept as they were, 0 removed\n"
    said = done(folder, "import", "in.yaml")
    assert said == f"devices and services: {taken}roles: {taken}authorities: {taken}"
    done(folder, "export", "out.yaml")
    assert stat.S_IMODE((folder / "out.yaml").stat().st_mode) == 0o600
    assert done(folder, "export") == (folder / "out.yaml").read_text()
    assert done(folder, "export", "-") == (folder / "out.yaml").read_text()
    assert not (folder / "-").exists()
    done(folder, "import", "out.yaml", "--registry", "sqlite:///other.db")
    again = done(folder, "export", "--registry", "sqlite:///other.db")
    assert again == (folder / "out.yaml").read_text()
    done(folder, "add", "e")
    done(folder, "import", "out.yaml")
    assert told(folder, "show", "e")
    [first, *_] = done(folder, "import", "out.yaml", "--instead").splitlines()
    assert first.endswith(": 0 added, 0 replaced, 1 kept as they were, 1 removed")
    assert "'e'" in failed(folder, "show", "e")


def test_an_import_that_would_remove_more_than_half_wants_force(folder: Path) -> None:
    for name in ("a", "b", "c"):
        done(folder, "add", name, "--credential", "none")
    (folder / "one.yaml").write_text("version: 1\ndevices: {a: {credentials: []}}\n")
    (folder / "empty.yaml").write_text("version: 1\n")
    assert failed(folder, "import", "one.yaml", "--instead") == (
        "error: one.yaml has 1 devices and services; --instead would remove 2 of the 3 that are"
        " there, more than half; with --force it does"
    )
    assert "3 of the 3" in failed(folder, "import", "empty.yaml", "--instead")
    assert (
        done(folder, "import", "empty.yaml")
        .splitlines()[0]
        .endswith("3 kept as they were, 0 removed")
    )
    assert len(done(folder, "list", "--json").splitlines()) == 3
    said = done(folder, "import", "one.yaml", "--instead", "--force").splitlines()
    assert said[0].endswith(": 0 added, 0 replaced, 1 kept as they were, 2 removed")
    assert len(done(folder, "list", "--json").splitlines()) == 1


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
        (["add", "d", "--role", "observer", "--service"], "error: --service needs --client-"),
        (["add", "d", "--credential", "pin"], "error: --credential pin: choose from password"),
        (["add", "d", "--metadata", "[]"], "error: --metadata: is []; it must be an object"),
        (["add", "d", "--metadata", "{x"], "error: --metadata: is no JSON: "),
        (["credentials", "add", "d", "es256", "--not-after", "2020-01-01T00:00:00Z"], PASSED),
        (["set", "d"], "error: give --role, --metadata"),
        (["credentials", "add", "d"], "error: give a KIND to make one, or --public"),
        (["credentials", "add", "d", "es256", "--ca-key", "k"], "error: --ca-certificate and"),
        (["credentials", "add", "d", "scram", "--not-after", "x"], "error: --not-before, --not-"),
        (["import", "none.yaml", "--force"], "error: --force: without --instead nothing is"),
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
