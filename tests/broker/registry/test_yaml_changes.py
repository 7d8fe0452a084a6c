"""A registry file that changes is read again, and says whom the change is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.errors import RegistryError
from broker.registry import load_registry
from broker.registry.entries import Content
from broker.registry.roles import STANDARD_ROLES
from broker.registry.yaml_reading import read_content
from broker.registry.yaml_secrets import Secrets
from broker.registry.yaml_splitting import ReadEntries
from tests.broker.registry.contents import CA_PEM, HASH, certificate_pem


def text(*devices: str, roles: str = "") -> str:
    lines = "".join(f"\n  {device}" for device in devices)
    return f"version: 1\n{roles}devices:{lines}\n".replace("HASH", f'"{HASH}"')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "registry.yaml"
    file.write_text(text("d1: {password_hash: HASH}", "d2: {password_hash: HASH}"))
    return file


def test_an_unchanged_file_changes_nothing(path: Path) -> None:
    registry = load_registry(path)
    version = registry.changes(0).version
    assert registry.changes(version).names == frozenset()
    path.write_text(path.read_text() + "# a comment\n")
    assert registry.changes(version).names == frozenset()


def test_who_changed_is_named_once_to_everyone_who_asks(path: Path) -> None:
    registry = load_registry(path)
    version = registry.changes(0).version
    path.write_text(text("d1: {password_hash: HASH}", "d2: {blocked: true, password_hash: HASH}"))
    changes = registry.changes(version)
    assert changes.names == frozenset({"d2"})
    assert registry.changes(version).names == frozenset({"d2"})
    assert registry.changes(changes.version).names == frozenset()
    identity = registry.find("d2")
    assert identity is not None
    assert identity.blocked


def test_a_gateway_changes_with_the_devices_that_it_speaks_for(path: Path) -> None:
    path.write_text(text("g: {password_hash: HASH}", "d1: {gateways: [g], password_hash: HASH}"))
    registry = load_registry(path)
    gateway = registry.find("g")
    assert gateway is not None
    assert gateway.principal.may_publish("devices/d1/state")
    version = registry.changes(0).version
    path.write_text(
        text("g: {password_hash: HASH}", "d1: {gateways: [g], blocked: true, password_hash: HASH}")
    )
    assert registry.changes(version).names == frozenset({"d1", "g"})
    gateway = registry.find("g")
    assert gateway is not None
    assert gateway.principal.may_publish("devices/g/state")
    assert not gateway.principal.may_publish("devices/d1/state")


def test_a_certificate_that_goes_is_warned_of_where_an_authority_may_have_signed_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path.parent / "ca.pem").write_text(CA_PEM)
    for number in range(5):
        leaf = certificate_pem("leaf", ca=False)
        (path.parent / f"{number}.pem").write_text(leaf)

    file = "certificate_file"

    def written(*certificates: int, more: str = "", authority: bool = True) -> None:
        each = [f"{{id: d1/{n}, type: certificate, {file}: {n}.pem}}" for n in certificates]
        authorities = "authorities: {site: {pem_file: ca.pem}}\n" if authority else ""
        path.write_text(text(f"d1: {{{more}credentials: [{', '.join(each)}]}}") + authorities)
        registry.changes(0)

    def told() -> list[str]:
        lines = [line.partition(": if ")[2] for line in caplog.messages]
        caplog.clear()
        return [line.partition(", whoever")[0] for line in lines]

    registry = load_registry(path)
    written(*range(5))
    written(1, 2, 3, 4)
    assert told() == ["the authority site has signed d1/0"]
    written()
    assert told() == ["the authority site has signed d1/1 or d1/2 or d1/3 or one of 1 more"]
    written(1)
    written(more="blocked: true, ")
    written(1)
    written(authority=False)
    written(1)
    path.write_text(text("d2: {password_hash: HASH}"))
    registry.changes(0)
    assert told() == []


def test_a_changed_role_is_named_and_gone_again_is_the_standard_one(path: Path) -> None:
    registry = load_registry(path)
    version = registry.changes(0).version
    before = path.read_text()
    path.write_text(before + "roles: {device: {publish: {allow: [a]}}}\n")
    changes = registry.changes(version)
    assert (changes.names, changes.roles) == (frozenset(), frozenset({"device"}))
    assert registry.rights()["device"] != STANDARD_ROLES["device"].rights
    path.write_text(before)
    assert registry.changes(changes.version).roles == frozenset({"device"})
    assert registry.rights()["device"] == STANDARD_ROLES["device"].rights


def test_a_changed_password_file_is_seen(path: Path) -> None:
    password = path.with_name("password")
    password.write_text("one")
    path.write_text(text("d1: {password_file: password}", "d2: {password_file: password}"))
    registry = load_registry(path)
    version = registry.changes(0).version
    path.write_text(text("d1: {password_file: password}"))
    assert registry.changes(version).names == frozenset({"d2"})
    version = registry.changes(version).version
    password.write_text("two")
    assert registry.changes(version).names == frozenset({"d1"})


def test_a_file_that_became_wrong_is_told_until_it_is_right_and_changes_nothing(path: Path) -> None:
    registry = load_registry(path)
    version = registry.changes(0).version
    right = path.read_text()
    path.write_text("version: 1\ndevices: {d1: {}}")
    for _ in range(2):
        with pytest.raises(RegistryError, match=r"devices\.d1\.password_hash"):
            registry.changes(version)
    assert registry.find("d2") is not None
    path.write_text(right.replace("d2:", "d3:"))
    assert registry.changes(version).names == frozenset({"d2", "d3"})


def test_who_asks_after_too_long_hears_that_it_may_be_anyone(path: Path) -> None:
    assert load_registry(path).changes(-5).names is None


def test_what_is_written_while_the_file_is_read_is_seen_the_next_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = load_registry(path)
    version = registry.changes(0).version

    def written_meanwhile(file: Path, secrets: Secrets, before: ReadEntries) -> Content:
        content = read_content(file, secrets, before)
        path.write_text(text("d4: {password_hash: HASH}"))
        return content

    path.write_text(text("d3: {password_hash: HASH}"))
    with monkeypatch.context() as patched:
        patched.setattr("broker.registry.yaml_registry.read_content", written_meanwhile)
        assert registry.changes(version).names == frozenset({"d1", "d2", "d3"})
    assert registry.changes(version).names == frozenset({"d1", "d2", "d3", "d4"})
    assert registry.find("d4") is not None
