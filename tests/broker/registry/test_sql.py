"""The registry in a database: SQLite and PostgreSQL keep the same promises."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import text
from sqlalchemy.engine import URL

from broker.auth.identity import Authority, Certificate, DirectoryChanges, Password, Validity
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind
from broker.errors import RegistryError
from broker.registry import migrating
from broker.registry.content_directory import ContentDirectory
from broker.registry.database import Database
from broker.registry.entries import Content, Entry
from broker.registry.registry_url import registry_url
from broker.registry.roles import Patterns, Role
from broker.registry.sql import SqlRegistry
from tests.broker.auth.directory import NOW
from tests.broker.registry.contents import CA_PEM, CHEAP, HASH, contents


def password(identifier: str, encoded: str = HASH) -> Password:
    return Password(id=identifier, hash=PasswordHash(encoded=encoded))


def add(registry: SqlRegistry, name: str, **values: Any) -> None:
    registry.edit(name, lambda entry: Entry(name=name, **values))


def service(registry: SqlRegistry, name: str, prefix: str, role: str = "observer") -> None:
    kind = PrincipalKind.SERVICE
    add(registry, name, kind=kind, role=role, client_id_prefix=prefix)


@given(contents(), contents())
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_taken_in_is_there_and_nothing_else(
    registry: SqlRegistry, first: Content, second: Content
) -> None:
    for content in (first, second):
        registry.take_in(content, instead=True)
        assert registry.content() == content


def test_taking_in_beside_keeps_what_is_there(registry: SqlRegistry) -> None:
    add(registry, "d1", credentials=(password("d/a"),))
    add(registry, "d2")
    changed = Entry(name="d2", blocked=True, gateways=("d1",))
    registry.take_in(Content(entries={"d2": changed, "d3": Entry(name="d3")}))
    assert sorted(registry.entries()) == ["d1", "d2", "d3"]
    assert registry.entries()["d2"] == changed
    registry.take_in(Content(entries={"d1": Entry(name="d1", credentials=(password("d/b"),))}))
    assert [each.id for each in registry.entries()["d1"].credentials] == ["d/b"]


def test_an_identity_has_its_roles_rights_and_its_credentials(registry: SqlRegistry) -> None:
    registry.put_role("meter", Role(publish=Patterns(allow=("m/%device",))))
    add(registry, "d1", role="meter", credentials=(password("d/a"),))
    identity = registry.find("d1")
    assert identity is not None
    assert identity.principal.may_publish("m/d1")
    assert not identity.principal.may_publish("devices/d1/state")
    assert identity.credentials == (password("d/a"),)
    assert registry.find("D1") is None
    assert registry.standings(["d1", "d2"]) == {"d1": identity.standing}


def test_another_file_in_the_place_of_a_sqlite_file_is_noticed(tmp_path: Path) -> None:
    """A copy that was restored: with the same version number, and somebody else in it."""
    url, copy = (registry_url(f"sqlite:///{name}", folder=tmp_path) for name in ("r.db", "copy.db"))
    for where, name in ((url, "d1"), (copy, "d2")):
        made = SqlRegistry(where)
        add(made, name)
        made.close()
    registry = SqlRegistry(url)
    version = registry.changes(0).version
    assert registry.changes(version).names == frozenset()
    (tmp_path / "copy.db").replace(tmp_path / "r.db")
    assert registry.changes(version) == DirectoryChanges(version=version, names=None)
    assert registry.find("d1") is None
    assert registry.find("d2") is not None
    assert registry.changes(version).names == frozenset()
    (tmp_path / "r.db").rename(tmp_path / "gone.db")
    with pytest.raises(RegistryError, match="can't be read"):
        registry.changes(version)
    registry.close()


def test_a_gateway_speaks_for_the_devices_bound_to_it_unless_they_are_blocked(
    registry: SqlRegistry,
) -> None:
    add(registry, "g")
    add(registry, "d1", gateways=("g",))
    add(registry, "d2", gateways=("g",), blocked=True)
    add(registry, "d3")
    gateway = registry.find("g")
    assert gateway is not None
    may = [gateway.principal.may_publish(f"devices/{name}/state") for name in ("g", "d1", "d2")]
    assert may == [True, True, False]
    assert not gateway.principal.may_publish("devices/d3/state")


def test_a_certificate_is_found_by_its_fingerprint(registry: SqlRegistry) -> None:
    add(registry, "d1", credentials=(Certificate(id="d/c", fingerprint=bytes(32)),))
    identity = registry.find_certificate(bytes(32))
    assert identity is not None
    assert identity.principal.name == "d1"
    assert registry.find_certificate(b"\1" * 32) is None


def test_decoys_get_one_hash_of_each_cost(registry: SqlRegistry) -> None:
    other = type(CHEAP)(time_cost=1, memory_cost=16, parallelism=1).hash("x")
    add(registry, "d1", credentials=(password("d/a"), password("d/b", CHEAP.hash("y"))))
    add(registry, "d2", credentials=(password("d/c", other),))
    costs = {each.encoded.split("$")[3] for each in registry.password_hashes()}
    assert len(registry.password_hashes()) == 2
    assert costs == {"m=8,t=1,p=1", "m=16,t=1,p=1"}


def test_decoys_are_as_many_as_one_has_passwords_that_have_not_ended(
    registry: SqlRegistry,
) -> None:
    assert registry.most_passwords(NOW) == 0
    add(registry, "d1", credentials=(password("d/a"),))
    certificate = Certificate(id="d/x", fingerprint=bytes(32))
    add(registry, "d2", credentials=(password("d/b"), certificate))
    assert registry.most_passwords(NOW) == 1
    ending, coming = Validity(not_after=NOW + 1), Validity(not_before=NOW + 100)
    two = (replace(password("d/c"), validity=ending), replace(password("d/d"), validity=coming))
    add(registry, "d3", credentials=two)
    for now, most in ((NOW, 2), (NOW + 1, 1)):
        assert registry.most_passwords(now) == most
        assert ContentDirectory(registry.content()).most_passwords(now) == most


def test_a_change_is_seen_by_every_process_with_whom_it_is_about(
    registry: SqlRegistry, open_registry: Callable[[], SqlRegistry]
) -> None:
    other = open_registry()
    version = other.changes(0).version
    assert other.changes(version).names == frozenset()
    add(registry, "g")
    add(registry, "d1", gateways=("g",))
    changes = other.changes(version)
    assert changes.names == frozenset({"g", "d1"})
    assert not changes.removed
    registry.edit("d1", lambda entry: None)
    assert other.changes(changes.version).names == frozenset({"g", "d1"})
    assert other.changes(changes.version).removed == {"d1"}
    assert other.find("d1") is None


def test_who_was_removed_is_told_though_the_name_is_there_again(registry: SqlRegistry) -> None:
    for name in ("d1", "d2", "d3"):
        add(registry, name)
    version = registry.changes(0).version
    registry.edit("d1", lambda entry: None)
    add(registry, "d1")
    content = registry.content()
    kept = {name: entry for name, entry in content.entries.items() if name != "d2"}
    registry.take_in(replace(content, entries=kept), instead=True)
    registry.take_in(content)
    changes = registry.changes(version)
    assert changes.names == changes.removed == frozenset({"d1", "d2"})


def test_what_changes_nothing_is_no_change(registry: SqlRegistry) -> None:
    add(registry, "d1")
    version = registry.changes(0).version
    registry.edit("d1", lambda entry: entry)
    registry.take_in(registry.content())
    assert registry.changes(0).version == version


def test_a_role_or_an_authority_that_changes_is_named(registry: SqlRegistry) -> None:
    version = registry.changes(0).version
    registry.put_role("meter", Role())
    changes = registry.changes(version)
    assert changes == DirectoryChanges(version=version + 1, roles=frozenset({"meter"}))
    assert registry.rights()["meter"] == Role().rights
    registry.put_authority("site", Authority(id="site", pem=CA_PEM))
    changes = registry.changes(changes.version)
    assert changes == DirectoryChanges(version=version + 2, authorities=frozenset({"site"}))
    assert [authority.id for authority in registry.authorities()] == ["site"]
    registry.put_authority("site", None)
    assert registry.authorities() == ()
    content = Content(
        entries={"d1": Entry(name="d1")},
        roles={"device": Role()},
        authorities={"site": Authority(id="site", pem=CA_PEM)},
    )
    version = registry.changes(0).version
    registry.take_in(content)
    assert registry.changes(version) == DirectoryChanges(
        version=version + 1,
        names=frozenset({"d1"}),
        roles=frozenset({"device"}),
        authorities=frozenset({"site"}),
    )


def test_what_an_earlier_program_wrote_of_a_role_may_be_about_anyone(url: URL) -> None:
    database = Database(url)
    migrating.upgrade(database, to="0002")
    with database.writing() as connection:
        connection.execute(text("UPDATE registry_version SET version = version + 1"))
        insert = "INSERT INTO changes (version, name) SELECT version, NULL FROM registry_version"
        connection.execute(text(insert))
    migrating.upgrade(database)
    database.close()
    registry = SqlRegistry(url)
    version = registry.changes(0).version
    assert registry.changes(version - 1).names is None
    assert registry.changes(version).names == frozenset()
    registry.close()


def test_versions_that_were_forgotten_may_be_about_anyone(
    registry: SqlRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.registry.database.KEPT_VERSIONS", 2)
    add(registry, "d1")
    version = registry.changes(0).version
    for name in ("d2", "d3"):
        add(registry, name)
    assert registry.changes(version).names == frozenset({"d2", "d3"})
    add(registry, "d4")
    assert registry.changes(version).names is None
    assert registry.changes(version + 1_000).names is None


def test_changes_at_once_are_one_after_the_other(
    registry: SqlRegistry, open_registry: Callable[[], SqlRegistry]
) -> None:
    add(registry, "d1", metadata={"count": 0})
    begun = registry.changes(0).version

    def count(own: SqlRegistry) -> None:
        for _ in range(10):
            own.edit("d1", counted)

    def counted(entry: Entry | None) -> Entry:
        assert entry is not None
        return replace(entry, metadata={"count": entry.metadata["count"] + 1})

    threads = [threading.Thread(target=count, args=(open_registry(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.entries()["d1"].metadata == {"count": 40}
    assert registry.changes(begun).version == begun + 40
    assert registry.changes(begun).names == frozenset({"d1"})


def test_what_another_program_wrote_that_makes_no_sense_is_told(
    registry: SqlRegistry, url: URL
) -> None:
    add(registry, "d1", credentials=(password("d/a"),))
    registry.put_role("meter", Role(publish=Patterns(allow=("a",))))
    database = Database(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE credentials SET not_before = 2, not_after = 1"))
    for ask in (registry.find, lambda name: registry.standings([name])):
        with pytest.raises(RegistryError, match="a validity must begin before it ends"):
            ask("d1")
    with database.writing() as connection:
        connection.execute(text("UPDATE role_filters SET filter = 'a/#/b'"))
    database.close()
    with pytest.raises(RegistryError, match="'#' must be a whole level"):
        registry.rights()


def test_an_error_changes_nothing(registry: SqlRegistry) -> None:
    add(registry, "d1")
    version = registry.changes(0).version

    def broken(entry: Entry | None) -> Entry:
        raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        registry.edit("d1", broken)
    assert registry.changes(0).version == version


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (Entry(name="x", role="none"), "devices.x.role: is 'none'; the roles are:"),
        (Entry(name="x", gateways=("y",)), "devices.x.gateways: there is no device 'y'"),
        (Entry(name="x", gateways=("s",)), "devices.x.gateways: there is no device 's'"),
        (Entry(name="s-1"), "devices.s-1.name: 's-1' overlaps the client identifiers of service"),
        (
            Entry(name="x", credentials=(password("d/taken"),)),
            "devices.x.credentials: 'd/taken' of 'd1' is the same, or has the same id",
        ),
        (
            Entry(name="x", credentials=(Certificate(id="d/new", fingerprint=bytes(32)),)),
            "devices.x.credentials: 'd/cert' of 'd1' is the same",
        ),
        (
            Entry(name="x", credentials=(password("d/a"), password("d/a"))),
            "devices.x.credentials: id 'd/a' is taken, by one of 'x'",
        ),
        (
            Entry(name="x", kind=PrincipalKind.SERVICE, role="observer", client_id_prefix="D"),
            None,
        ),
        (
            Entry(name="x", kind=PrincipalKind.SERVICE, role="observer", client_id_prefix="d"),
            "services.x.client_id_prefix: 'd' overlaps the client identifiers of device 'd1'",
        ),
        (
            Entry(name="x", kind=PrincipalKind.SERVICE, role="observer", client_id_prefix="s-x"),
            "'s-x' overlaps the client identifiers of service 's', 's-'",
        ),
        (
            Entry(name="x", kind=PrincipalKind.SERVICE, role="observer", client_id_prefix=""),
            "services.x.client_id_prefix: '' overlaps the client identifiers of device 'd1'",
        ),
        (
            Entry(name="x", kind=PrincipalKind.SERVICE, role="device", client_id_prefix="x"),
            "services.x.role: is 'device', which uses '%device'",
        ),
    ],
)
def test_what_does_not_fit_to_the_rest_is_refused(
    registry: SqlRegistry, entry: Entry, complaint: str | None
) -> None:
    cert = Certificate(id="d/cert", fingerprint=bytes(32))
    add(registry, "d1", credentials=(password("d/taken"), cert))
    service(registry, "s", "s-")
    if complaint is None:
        assert registry.edit(entry.name, lambda before: entry) == entry
        return
    with pytest.raises(RegistryError) as caught:
        registry.edit(entry.name, lambda before: entry)
    assert complaint in str(caught.value)
    assert registry.find(entry.name) is None


def test_a_role_that_is_used_stays(registry: SqlRegistry) -> None:
    registry.put_role("reader", Role(subscribe=Patterns(allow=("a",))))
    service(registry, "s", "s-", role="reader")
    with pytest.raises(RegistryError, match=r"services\.s\.role: is 'reader'; the roles are"):
        registry.put_role("reader", None)
    with pytest.raises(RegistryError, match="which uses '%device'"):
        registry.put_role("reader", Role(subscribe=Patterns(allow=("a/%device",))))
    registry.edit("s", lambda entry: None)
    registry.put_role("reader", None)
    assert registry.content() == Content()


def test_a_removed_gateway_leaves_its_devices(registry: SqlRegistry) -> None:
    add(registry, "g")
    add(registry, "d1", gateways=("g",))
    registry.edit("g", lambda entry: None)
    assert registry.entries() == {"d1": Entry(name="d1")}


def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    SqlRegistry(URL.create("sqlite", database=str(path))).close()
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_a_database_that_is_none_is_named_without_its_password(tmp_path: Path) -> None:
    url = URL.create(
        "postgresql+psycopg", username="u", password="secret", host=str(tmp_path), database="d"
    )
    with pytest.raises(RegistryError) as caught:
        SqlRegistry(url)
    assert str(caught.value).startswith("registry postgresql+psycopg://u:***@")
    assert "secret" not in str(caught.value)
    (tmp_path / "no.db").write_text("this is no database, however long the text of it is" * 100)
    with pytest.raises(RegistryError, match=r"no\.db can't be .*not a database"):
        SqlRegistry(URL.create("sqlite", database=str(tmp_path / "no.db")))


def test_an_identity_is_the_same_from_a_database_and_from_a_file(registry: SqlRegistry) -> None:
    registry.put_role("meter", Role(publish=Patterns(allow=("a/%device", "%device", "b/+"))))
    add(registry, "d1", role="meter", metadata={"site": "north"}, credentials=(password("d/a"),))
    add(registry, "d2", gateways=("d1",))
    from_memory = ContentDirectory(registry.content())
    for name in ("d1", "d2"):
        assert registry.find(name) == from_memory.find(name)
