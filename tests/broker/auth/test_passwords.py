"""A password proves who it is; nothing tells a wrong password from a name that is not known."""

from __future__ import annotations

import argon2
import pytest

from broker.auth.passwords import Account, PasswordAuthenticator, PasswordHash
from broker.auth.principal import Principal, PrincipalKind, Rights

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def account(name: str, password: str, hasher: argon2.PasswordHasher = CHEAP) -> Account:
    principal = Principal(name=name, kind=PrincipalKind.DEVICE, client_id=name, rights=Rights())
    return Account(principal=principal, password=PasswordHash.of(password, hasher=hasher))


@pytest.fixture
def authenticator() -> PasswordAuthenticator:
    return PasswordAuthenticator({"d1": account("d1", "right"), "d2": account("d2", "right")})


def test_the_right_password_gives_the_principal(authenticator: PasswordAuthenticator) -> None:
    principal = authenticator.verify("d1", b"right")
    assert principal is not None
    assert principal.name == "d1"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("d1", b"wrong"),
        ("d1", b""),
        ("d1", None),
        ("nobody", b"right"),
        (None, b"right"),
        (None, None),
        ("d1", b"right" + b"x" * 2_000),
        ("d1", b"\xff\x00"),
    ],
)
def test_anything_else_gives_nobody(
    authenticator: PasswordAuthenticator, username: str | None, password: bytes | None
) -> None:
    assert authenticator.verify(username, password) is None


def test_what_was_right_is_remembered_for_that_name_and_password_alone(
    authenticator: PasswordAuthenticator,
) -> None:
    assert authenticator.remembered("d1", b"right") is None
    authenticator.verify("d1", b"right")
    assert authenticator.remembered("d1", b"right") is not None
    assert authenticator.remembered("d1", b"wrong") is None
    assert authenticator.remembered("d2", b"right") is None
    assert authenticator.remembered("d1", None) is None


def test_the_password_itself_is_not_kept(authenticator: PasswordAuthenticator) -> None:
    authenticator.verify("d1", b"right")
    assert b"right" not in b"".join(authenticator._digests.values())
    assert "argon2id" not in repr(authenticator._accounts)


@pytest.mark.parametrize("username", ["d1", "nobody", None])
def test_an_unknown_name_takes_the_same_steps_as_a_wrong_password(
    username: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    authenticator = PasswordAuthenticator({"d1": account("d1", "right", costly)})
    verified: list[tuple[int, int]] = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override] # argon2's own is typed Literal[True]
            parameters = argon2.extract_parameters(str(hash))
            verified.append((parameters.time_cost, parameters.memory_cost))
            return super().verify(hash, password)

    monkeypatch.setattr(argon2, "PasswordHasher", Watched)
    assert authenticator.verify(username, b"wrong") is None
    assert verified == [(2, 16)]


@pytest.mark.parametrize("text", ["", "right", "$argon2i$v=19$m=8,t=1,p=1$x$y", "$2b$12$abc"])
def test_only_argon2id_is_a_hash(text: str) -> None:
    with pytest.raises(ValueError, match="argon2id"):
        PasswordHash(encoded=text)
