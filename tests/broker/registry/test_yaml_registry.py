"""The registry file: who may connect, under which client id, and what they may do."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import argon2
import pytest

from broker.auth.passwords import PasswordAuthenticator
from broker.auth.principal import Principal, PrincipalKind
from broker.errors import RegistryError
from broker.registry import Service, YamlRegistry, generate, load_registry
from mqtt.topics import TopicFilter

HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret")


def load(tmp_path: Path, text: str, **environment: str) -> YamlRegistry:
    path = tmp_path / "registry.yaml"
    path.write_text(text.replace("HASH", f'"{HASH}"'))
    return load_registry(path, environment=environment)


def principal_of(registry: YamlRegistry, name: str) -> Principal:
    identity = registry.find(name)
    assert identity is not None
    return identity.principal


def test_a_device_has_its_own_name_everywhere(tmp_path: Path) -> None:
    registry = load(tmp_path, "version: 1\ndevices: {d1: {password_hash: HASH}}")
    principal = principal_of(registry, "d1")
    assert (principal.kind, principal.client_id) == (PrincipalKind.DEVICE, "d1")
    assert principal.may_publish("devices/d1/telemetry/x")
    assert principal.may_publish("/devices/d1/events")
    assert not principal.may_publish("devices/d2/telemetry/x")
    assert not principal.may_publish("devices/d1/commands/x")
    assert principal.may_subscribe(TopicFilter.parse("devices/d1/commands/#"))
    assert not principal.may_subscribe(TopicFilter.parse("devices/+/commands/#"))
    assert not principal.may_subscribe(TopicFilter.parse("$share/g/#"))


def test_own_roles_deny_by_overlap_and_allow_by_containment(tmp_path: Path) -> None:
    registry = load(
        tmp_path,
        """
        version: 1
        roles:
          meter:
            publish: {allow: ["m/%device/#"], deny: ["m/%device/raw"]}
            subscribe: {allow: ["a/+", "b/#"], deny: ["b/secret/#"]}
            will: {allow: ["m/%device/#"], deny: ["m/%device/x"]}
        devices: {d1: {role: meter, password_hash: HASH}}
        """,
    )
    principal = principal_of(registry, "d1")
    assert principal.may_publish("m/d1/x")
    assert not principal.may_publish("m/d1/raw")
    assert principal.may_subscribe(TopicFilter.parse("a/+"))
    assert not principal.may_subscribe(TopicFilter.parse("a/#"))
    assert not principal.may_subscribe(TopicFilter.parse("b/#"))
    assert principal.may_subscribe(TopicFilter.parse("b/open/#"))
    assert principal.may_leave_will("m/d1/raw")
    assert not principal.may_leave_will("m/d1/x")


def test_a_service_with_an_empty_prefix_has_every_client_identifier(tmp_path: Path) -> None:
    registry = load(
        tmp_path,
        """
        version: 1
        services: {s: {role: observer, client_id_prefix: "", password_hash: HASH}}
        """,
    )
    principal = principal_of(registry, "s")
    assert principal.own_client_id("any thing/+") == "any thing/+"
    assert principal.assign_client_id("token") == "token"


def test_a_role_without_wills_allows_none(tmp_path: Path) -> None:
    registry = load(
        tmp_path,
        """
        version: 1
        roles: {meter: {publish: {allow: ["#"]}}}
        devices: {d1: {role: meter, password_hash: HASH}, d2: {password_hash: HASH}}
        """,
    )
    meter, standard = (principal_of(registry, name) for name in ("d1", "d2"))
    assert meter.may_publish("devices/d1/state")
    assert not meter.may_leave_will("devices/d1/state")
    assert standard.may_leave_will("devices/d2/state")
    assert not standard.may_leave_will("devices/d2/responses/1")


def test_a_password_comes_from_a_hash_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from the file\n")
    registry = load(
        tmp_path,
        """
        version: 1
        devices:
          d1: {password_hash: HASH}
          d2: {password_file: password}
          d3: {password_env: D3}
        """,
        D3="from the environment",
    )
    authenticator = PasswordAuthenticator(registry)
    for name, password in (
        ("d1", b"secret"),
        ("d2", b"from the file"),
        ("d3", b"from the environment"),
    ):
        login = authenticator.verify(name, password, time.time())
        assert login is not None
        assert login.principal.name == name
        assert authenticator.verify(name, b"other", time.time()) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices: {}", "version: is missing"),
        ("version: 2", "version: is 2; this program reads version 1"),
        ("version: 1\ndevice: {}", "device: is not known here"),
        ("version: 1\ndevices: {d1: {}}", "give exactly one of password_hash"),
        ("version: 1\ndevices: {d1: {pasword_env: X}}", "d1.pasword_env: is not known here"),
        (
            "version: 1\ndevices: {d1: {password_hash: HASH, password_env: X}}",
            "give exactly one of",
        ),
        ("version: 1\ndevices: {d1: {password: x}}", "a clear password is not taken here"),
        ("version: 1\ndevices: {d1: {password_hash: x}}", "devices.d1.password_hash: not an argon"),
        ("version: 1\ndevices: {d1: {password_env: NONE}}", "has no variable 'NONE'"),
        ("version: 1\ndevices: {d1: {password_file: none}}", "'none' cannot be read"),
        (
            'version: 1\ndevices: {d1: {password_file: "a\\0"}}',
            "devices.d1.password_file: is 'a\\x00'; the name of a file holds no NUL",
        ),
        ("version: 1\ndevices: {d+1: {password_hash: HASH}}", "devices.d+1: 'd+1' must be 1 to"),
        ("version: 1\ndevices: {d1: {role: x, password_hash: HASH}}", "is 'x'; the roles are:"),
        (
            "version: 1\nservices: {s: {role: observer, password_hash: HASH}}",
            "services.s.client_id_prefix: is missing",
        ),
        (
            "version: 1\nservices: {s: {role: device, client_id_prefix: s-, password_hash: HASH}}",
            "services.s.role: is 'device', which uses '%device', which only a device has",
        ),
        (
            "version: 1\nroles: {r: {publish: {allow: ['a/x%device']}}}",
            "roles.r.publish: filter 'a/x%device': '%device' must be a whole level",
        ),
        ("version: 1\nroles: {r: {publish: {allow: ['a/#/b']}}}", "'#' must be a whole level"),
        (
            "version: 1\nroles: {r: {subscribe: {allow: ['$share/g/a']}}}",
            "rights are about topics",
        ),
        (
            "version: 1\ndevices: {s-1: {password_hash: HASH}}\n"
            "services: {s: {role: observer, client_id_prefix: s-, password_hash: HASH}}",
            "'s-' also holds 's-1' of device 's-1'",
        ),
        (
            "version: 1\ndevices: {d1: {password_hash: HASH}}\n"
            "services: {s: {role: observer, client_id_prefix: '', password_hash: HASH}}",
            "'' also holds 'd1' of device 'd1'",
        ),
        (
            "version: 1\ndevices: {s: {password_hash: HASH}}\n"
            "services: {s: {role: observer, client_id_prefix: t-, password_hash: HASH}}",
            "services.s: a device has the same name",
        ),
    ],
)
def test_every_complaint_names_the_entry_and_what_would_be_right(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(RegistryError) as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)


def test_a_generated_registry_is_private_quick_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    began = time.monotonic()
    passwords = generate(
        path,
        devices=[f"d{number}" for number in range(200)],
        services=[Service(name="s", role="observer", client_id_prefix="s-")],
    )
    assert time.monotonic() - began < 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(passwords.values())) == 201
    assert not any(password in path.read_text() for password in passwords.values())
    authenticator = PasswordAuthenticator(load_registry(path))
    for name in ("d0", "d199", "s"):
        assert authenticator.verify(name, passwords[name].encode(), time.time()) is not None
    assert [file.name for file in tmp_path.iterdir()] == ["registry.yaml"]


def test_a_name_given_twice_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    with pytest.raises(ValueError, match="'a' is given twice"):
        generate(path, devices=["a", "a"])
    assert not path.exists()


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        load(
            tmp_path,
            """
            version: 1
            roles:
              a: {publish: {allow: ["a/#/b"]}}
              b: {publish: {alow: ["a/#"]}}
            devices:
              d1: {role: none}
              d2: {password_hash: HASH}
            services:
              d2: {role: a, client_id_prefix: d2-, password_hash: HASH}
            other: 1
            """,
        )
    told = str(caught.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'registry.yaml'}: ") for line in told)
    keys = [line.split(": ")[1] for line in told]
    assert keys == [
        "roles.a.publish",
        "roles.b.publish.alow",
        "devices.d1.password_hash",
        "services.d2",
        "other",
    ]


def test_so_many_problems_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    devices = "".join(f"\n  d{number}: {{}}" for number in range(100))
    with pytest.raises(RegistryError) as caught:
        load(tmp_path, f"version: 1\ndevices:{devices}")
    told = str(caught.value).splitlines()
    assert len(told) == 21
    assert told[-1].endswith("registry.yaml: 80 more problems")
