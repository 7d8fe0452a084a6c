"""What a start would meet is told in full, each with what to do, and nothing is changed."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from broker.auth import identity
from broker.core.limits import Limits
from broker.registry import Service, generate
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from broker.server import open_files
from broker.server.checking import check
from broker.server.memory_limit import available
from localcloud.endpoints import free_ports
from schemas.finding import Finding, Outcome
from tests.broker.auth.issuing import Issuer
from tests.broker.core.harness import House, open_store
from tests.harness.certificates import Authority
from tests.harness.processes import Processes

NOW = datetime.now(UTC)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def looked(folder: Path, text: str, now: datetime = NOW) -> list[Finding]:
    path = folder / "broker.yaml"
    path.write_text(text)
    return check(path, now)


def wrong(findings: list[Finding]) -> dict[str, str]:
    """What is not ok: the words, by resource and outcome."""
    return {
        f"{Path(each.resource).name} {each.outcome}": each.words
        for each in findings
        if each.outcome is not Outcome.OK
    }


def test_a_configuration_that_would_start_is_ok(tmp_path: Path) -> None:
    generate(tmp_path / "registry.yaml", devices=["d1", "d2"])
    signed = Authority(tmp_path, "site").sign("127.0.0.1")
    Path(signed.key).chmod(0o600)
    findings = looked(
        tmp_path,
        f"""
        listeners:
          - {{port: 0}}
          - {{type: wss, port: 0, certificate_file: {signed.certificate}, key_file: {signed.key}}}
        registry: {{file: registry.yaml}}
        store: {{file: broker.db}}
        limits: {{connections: 100}}
        """,
    )
    # How long a throw-away certificate lasts is no matter here.
    assert [
        each for each in findings if each.outcome != "ok" and "certificate" not in each.asked
    ] == []
    told = {each.resource: each.words for each in findings}
    assert told[str(tmp_path / "registry.yaml")] == "2 devices and services"
    assert told[str(tmp_path / "broker.db")] == "is not there yet and will be made"
    assert not (tmp_path / "broker.db").exists()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, taken: int) -> None:
    (tmp_path / "registry.yaml").write_text("version: 7")
    (tmp_path / "broker.db").write_text("notes, no database" * 100)
    found = wrong(
        looked(
            tmp_path,
            f"""
            listeners:
              - {{port: {taken}}}
              - {{type: tls, port: 0, certificate_file: none.pem, key_file: none.key}}
              - {{host: 192.0.2.1, port: 0}}
              - {{prot: 1}}
            registry: {{file: registry.yaml}}
            store: {{file: broker.db}}
            limits: {{topic_levels: 0}}
            """,
        )
    )
    assert "stop that, or choose another port" in found[f"tcp 127.0.0.1:{taken} failed"]
    assert "another address of this configuration" in found[f"tcp 127.0.0.1:{taken} failed"]
    assert "none.pem" in found["tls 127.0.0.1:0 failed"]
    assert "no address of this machine" in found["tcp 192.0.2.1:0 failed"]
    assert "is 7; this program reads version 1" in found["registry.yaml failed"]
    assert "no SQLite file" in found["broker.db failed"]
    assert "broker.yaml failed" in found


def test_a_section_with_a_wrong_key_is_not_told_to_be_missing(tmp_path: Path) -> None:
    text = "listeners: [{port: 0}]\nregistry: {fil: r.yaml}\nstore: {file: b, fil: 1}\n"
    text += "limits: {connections: 9}"
    told = {each.resource for each in looked(tmp_path, text) if each.outcome is not Outcome.OK}
    assert told == {str(tmp_path / "broker.yaml")}


def test_the_line_of_what_is_wrong_does_not_say_that_it_is_right(tmp_path: Path) -> None:
    signed = Authority(tmp_path, "site").sign("127.0.0.1")
    Path(signed.key).chmod(0o644)
    (tmp_path / "notes").write_text("")
    findings = looked(
        tmp_path,
        f"""
        listeners:
          - {{type: tls, port: 0, certificate_file: {signed.certificate}, key_file: {signed.key}}}
          - {{host: 192.0.2.1, port: 0, anonymous: guest, anonymous_beyond_loopback: true}}
        administration: {{socket: notes}}
        limits: {{connections: 10000000}}
        """,
        NOW + timedelta(days=10_000),
    )
    wrongly = [each.asked for each in findings if each.outcome is not Outcome.OK]
    assert len(wrongly) >= 6
    for asked in wrongly:
        assert not asked.startswith(("is ", "can ", "has ", "suffice "))
        assert " is " not in asked


def test_a_revocation_list_that_ends_is_told_with_its_day(tmp_path: Path) -> None:
    issuer = Issuer(now=NOW.replace(microsecond=0))
    authority = {"pem": issuer.pem, "revocation_list": issuer.revocation_list()}
    registry = {"version": 1, "authorities": {"site": authority}}
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(registry))
    text = "listeners: [{port: 0}]\nregistry: {file: registry.yaml}\n"

    def outcome(now: datetime) -> tuple[Outcome, str]:
        (one,) = [each for each in looked(tmp_path, text, now) if "revocation" in each.asked]
        assert one.asked == "revocation list of authority 'site'"
        return one.outcome, one.words

    assert outcome(NOW - timedelta(days=3))[0] is Outcome.OK
    soon, words = outcome(NOW)
    assert (soon, words[:12]) == (Outcome.WARNING, "it ends at 2")
    late, words = outcome(NOW + timedelta(hours=2))
    assert (late, words[:24]) == (Outcome.FAILED, "it is out of date since ")


def test_the_command_that_gives_a_database_its_new_list_is_named(tmp_path: Path) -> None:
    issuer = Issuer(now=NOW.replace(microsecond=0))
    site = identity.Authority(id="site", pem=issuer.pem, revocation_list=issuer.revocation_list())
    registry = SqlRegistry(registry_url("sqlite:///registry.db", folder=tmp_path))
    registry.put_authority("site", site)
    registry.close()
    text = 'listeners: [{port: 0}]\nregistry: {url: "sqlite:///registry.db"}\n'
    for now in (NOW, NOW + timedelta(hours=2)):
        (one,) = [each for each in looked(tmp_path, text, now) if "revocation" in each.asked]
        assert one.command == (
            "mqttbeam devices authorities set site --revocation-list ca.crl --registry URL"
        )


def test_a_list_in_a_database_that_another_has_signed_is_told(tmp_path: Path) -> None:
    site = identity.Authority(
        id="site", pem=Issuer("site").pem, revocation_list=Issuer("site").revocation_list()
    )
    registry = SqlRegistry(registry_url("sqlite:///registry.db", folder=tmp_path))
    registry.put_authority("site", site)
    registry.close()
    text = 'listeners: [{port: 0}]\nregistry: {url: "sqlite:///registry.db"}\n'
    (one,) = [each for each in looked(tmp_path, text, NOW) if "revocation" in each.asked]
    assert one.outcome is Outcome.FAILED
    assert "(is not signed by the authority): all certificates" in one.words


def test_what_is_missing_is_warned_of(tmp_path: Path) -> None:
    found = wrong(looked(tmp_path, "listeners: [{port: 0}]"))
    assert "nobody can connect" in found["registry warning"]
    assert "in memory alone" in found["store warning"]


def test_certificates_that_end_are_told_with_their_day(tmp_path: Path) -> None:
    signed = Authority(tmp_path, "site").sign("127.0.0.1")
    entry = (
        f"{{type: tls, port: 0, certificate_file: {signed.certificate}, key_file: {signed.key}}}"
    )
    name = Path(signed.certificate).name
    late = wrong(looked(tmp_path, f"listeners: [{entry}]", NOW + timedelta(days=10_000)))
    assert "it has expired at 20" in late[f"{name} failed"]
    early = wrong(looked(tmp_path, f"listeners: [{entry}]", NOW - timedelta(days=10_000)))
    assert "is the clock right?" in early[f"{name} failed"]


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    one, other = (Authority(tmp_path, name).sign(name) for name in ("one", "other"))
    found = wrong(
        looked(
            tmp_path,
            f"listeners: [{{type: tls, port: 0, certificate_file: {one.certificate},"
            f" key_file: {other.key}}}]",
        )
    )
    assert "cannot be used" in found["tls 127.0.0.1:0 failed"]


def test_a_store_is_not_changed_whether_it_is_held_left_behind_or_closed(tmp_path: Path) -> None:
    house = House(store=tmp_path / "broker.db")
    house.resume().subscribe("a")
    assert house.store is not None
    text = "listeners: [{port: 0}]\nstore: {file: broker.db}"

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.glob("broker.db*")}

    held = files()
    assert "another broker has it" in wrong(looked(tmp_path, text))["broker.db failed"]
    assert files() == held

    # As kill -9 leaves them.
    killed = tmp_path / "killed"
    killed.mkdir()
    for name, data in held.items():
        (killed / name).write_bytes(data)
    (told,) = [each for each in looked(killed, text) if each.asked == "opening it"]
    assert told.words == "1 session, 0 messages"
    assert {path.name for path in killed.iterdir()} - {"broker.yaml"} == set(held)
    assert {name: (killed / name).read_bytes() for name in held} == held

    house.store.close()
    closed = files()
    assert set(closed) == {"broker.db"}
    (told,) = [each for each in looked(tmp_path, text) if each.asked == "opening it"]
    assert told.words == "1 session, 0 messages"
    assert files() == closed
    open_store(tmp_path / "broker.db").close()


def test_the_system_s_limit_of_open_files_is_held_against_the_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 1_024))
    assert open_files.too_few(960) is None
    told = open_files.too_few(961)
    assert told is not None
    assert "no more than 960 of limits.connections (961) fit in" in told
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    assert open_files.too_few(Limits().connections) is None


def test_an_address_that_is_given_twice_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = wrong(looked(tmp_path, f"listeners: [{{port: {port}}}]\nhealth: {{port: {port}}}"))
    words = found[f"health 127.0.0.1:{port} failed"]
    assert "taken by another address of this configuration" in words
    assert f"tcp 127.0.0.1:{port} failed" not in found


def test_what_a_running_broker_holds_is_no_hindrance_to_its_own_configuration(
    tmp_path: Path,
) -> None:
    generate(tmp_path / "registry.yaml", devices=["d1"])
    (port,) = free_ports(1)
    text = (
        f"listeners: [{{port: {port}}}]\nregistry: {{file: registry.yaml}}\n"
        "store: {file: broker.db}\nlimits: {connections: 9}\n"
    )
    own = text + "administration: {socket: broker.sock}"
    (tmp_path / "broker.yaml").write_text(own)
    with Processes(tmp_path) as processes:
        config = str(tmp_path / "broker.yaml")
        broker = processes.start(
            "broker", [sys.executable, "-m", "broker.server", "--config", config]
        )
        broker.wait_for("ready ")
        assert wrong(looked(tmp_path, own)) == {}
        others = wrong(looked(tmp_path, text))
        assert f"process {broker.pid}; stop that" in others[f"tcp 127.0.0.1:{port} failed"]
        assert "another broker has it" in others["broker.db failed"]
        foreign = "administration: {socket: broker.sock}\nlisteners: [{port: 0}]"
        told = wrong(looked(tmp_path, foreign))["broker.sock failed"]
        assert f"another broker listens there, process {broker.pid}" in told
        other = "administration: {socket: registry.yaml}\nlisteners: [{port: 0}]"
        assert "no socket" in wrong(looked(tmp_path, other))["registry.yaml failed"]


def test_a_service_for_anonymous_clients_that_is_not_there_is_told(tmp_path: Path) -> None:
    guest = Service(name="guest", role="observer", client_id_prefix="guest-")
    generate(tmp_path / "registry.yaml", devices=["d1"], services=[guest])
    text = "listeners: [{port: 0, anonymous: NAME}]\nregistry: {file: registry.yaml}\n"
    for name, missing in (("guest", False), ("gest", True)):
        findings = looked(tmp_path, text.replace("NAME", name))
        (one,) = [each for each in findings if each.asked == f"service {name!r}"]
        assert (one.outcome is Outcome.WARNING) == missing


@pytest.mark.parametrize(
    ("limits", "outcome", "words"),
    [
        ("memory_bytes: 5", "failed", "5 bytes are enough for 0 clients alone"),
        ("memory_bytes: 700000", "failed", "700000 bytes are enough for 97 clients alone"),
        ("memory_bytes: 700000, connections: 50, queued_bytes: 1000", None, ""),
        ("memory_bytes: 100000000", "warning", "2147483648 bytes are more than the 100000000 that"),
        ("queued_bytes: 99999999999999", "warning", "99999999999999 bytes are more than the"),
        ("memory_bytes: 100000000, queued_bytes: 50000000", None, ""),
        (
            f"memory_bytes: {2**50}",
            "warning",
            f"{2**50} bytes are more than the {available()} that this machine or container has",
        ),
    ],
)
def test_memory_that_fits_neither_the_machine_nor_clients_is_told(
    tmp_path: Path, limits: str, outcome: str | None, words: str
) -> None:
    findings = looked(tmp_path, f"listeners: [{{port: 0}}]\nlimits: {{{limits}}}\n")
    told = [each for each in findings if each.resource == "memory" and each.outcome != "ok"]
    if outcome is None:
        assert told == []
    else:
        assert words in told[0].words
        assert told[0].outcome == outcome


def test_events_may_not_be_told_where_the_brokers_figures_are(tmp_path: Path) -> None:
    text = "listeners: [{port: 0}]\nevents: {topic: $SYS/broker/uptime}\n"
    (problem,) = [each for each in looked(tmp_path, text) if each.outcome == "failed"]
    assert "the broker's own figures are below $SYS/broker" in problem.words
