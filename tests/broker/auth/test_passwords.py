"""A password proves who it is; nothing tells a wrong password from a name that is not known."""

from __future__ import annotations

import statistics
import time

import argon2
import pytest

from broker.auth.identity import DirectoryChanges, Identity, Validity
from broker.auth.password_hash import PasswordHash
from broker.auth.passwords import PasswordAuthenticator
from tests.broker.auth.directory import NOW, Names, identity, password

THEN = Validity(not_before=NOW - 100, not_after=NOW + 100)


@pytest.fixture
def authenticator() -> PasswordAuthenticator:
    return PasswordAuthenticator(
        Names(identity("d1", password("right")), identity("d2", password("right")))
    )


def test_the_right_password_gives_a_login(authenticator: PasswordAuthenticator) -> None:
    login = authenticator.verify("d1", b"right", NOW)
    assert login is not None
    assert (login.principal.name, login.credential, login.until) == ("d1", "p1", None)


@pytest.mark.parametrize(
    ("username", "given"),
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
    authenticator: PasswordAuthenticator, username: str | None, given: bytes | None
) -> None:
    assert authenticator.verify(username, given, NOW) is None


def test_a_blocked_device_proves_nothing() -> None:
    names = Names(identity("d1", password("right"), blocked=True))
    assert PasswordAuthenticator(names).verify("d1", b"right", NOW) is None


@pytest.mark.parametrize(("now", "works"), [(-101, False), (-100, True), (99, True), (100, False)])
def test_a_password_has_its_time_and_the_login_ends_with_it(now: int, works: bool) -> None:
    one = PasswordAuthenticator(Names(identity("d1", password("right", validity=THEN))))
    login = one.verify("d1", b"right", NOW + now)
    assert (login is not None) == works
    if login is not None:
        assert login.until == NOW + 100
        assert one.remembered("d1", b"right", NOW + 99) is login
        assert one.remembered("d1", b"right", NOW + 100) is None


def test_a_device_may_have_two_passwords_while_one_replaces_the_other() -> None:
    two = identity("d1", password("old", id="a"), password("new", id="b"))
    one = PasswordAuthenticator(Names(two))
    for text, credential in (("old", "a"), ("new", "b")):
        login = one.verify("d1", text.encode(), NOW)
        assert login is not None
        assert login.credential == credential


def test_what_was_right_is_remembered_for_that_name_and_password_alone(
    authenticator: PasswordAuthenticator,
) -> None:
    assert authenticator.remembered("d1", b"right", NOW) is None
    authenticator.verify("d1", b"right", NOW)
    assert authenticator.remembered("d1", b"right", NOW) is not None
    assert authenticator.remembered("d1", b"wrong", NOW) is None
    assert authenticator.remembered("d2", b"right", NOW) is None
    assert authenticator.remembered("d1", None, NOW) is None


def test_where_a_role_changes_its_holders_must_be_proved_anew_and_no_others() -> None:
    names = Names(
        identity("d1", password("right"), role="plain"), identity("d2", password("right"))
    )
    authenticator = PasswordAuthenticator(names)
    for name in ("d1", "d2"):
        authenticator.verify(name, b"right", NOW)
    authenticator.forget(DirectoryChanges(version=2, roles=frozenset({"plain"})))
    assert authenticator.remembered("d1", b"right", NOW) is None
    assert authenticator.remembered("d2", b"right", NOW) is not None


@pytest.mark.parametrize("names", [frozenset({"d1"}), None])
def test_what_changes_must_be_proved_anew(
    authenticator: PasswordAuthenticator, names: frozenset[str] | None
) -> None:
    for name in ("d1", "d2"):
        authenticator.verify(name, b"right", NOW)
    authenticator.forget(DirectoryChanges(version=2, names=names))
    assert authenticator.remembered("d1", b"right", NOW) is None
    assert (authenticator.remembered("d2", b"right", NOW) is None) == (names is None)


def test_what_changes_while_it_is_verified_is_not_remembered() -> None:
    class Changing(Names):
        def find(self, name: str) -> Identity | None:
            found = super().find(name)
            one.forget(DirectoryChanges(version=2, names=frozenset({name})))
            return found

    one = PasswordAuthenticator(Changing(identity("d1", password("right"))))
    assert one.verify("d1", b"right", NOW) is not None
    assert one.remembered("d1", b"right", NOW) is None


def test_the_password_itself_is_not_kept(authenticator: PasswordAuthenticator) -> None:
    authenticator.verify("d1", b"right", NOW)
    assert b"right" not in b"".join(each.digest for each in authenticator._proved.values())
    assert "argon2id" not in repr(password("right"))


@pytest.mark.parametrize("username", ["d1", "nobody", "blocked", "keyless", None])
def test_an_unknown_name_takes_the_same_steps_as_a_wrong_password(
    username: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    blocked = identity("blocked", password("right", hasher=costly), blocked=True)
    names = Names(identity("d1", password("right", hasher=costly)), blocked, identity("keyless"))
    authenticator = PasswordAuthenticator(names)
    verified: list[tuple[int, int]] = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override] # argon2's own is typed Literal[True]
            parameters = argon2.extract_parameters(str(hash))
            verified.append((parameters.time_cost, parameters.memory_cost))
            return super().verify(hash, password)

    monkeypatch.setattr(argon2, "PasswordHasher", Watched)
    assert authenticator.verify(username, b"wrong", NOW) is None
    assert verified == [(2, 16)]


@pytest.mark.parametrize("username", ["one", "two", "nobody", "blocked", "later", None])
def test_where_one_has_two_passwords_every_wrong_one_is_verified_twice(
    username: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = password("right", id="b", validity=Validity(not_before=NOW + 1))
    authenticator = PasswordAuthenticator(
        Names(
            identity("one", password("right")),
            identity("two", password("old", id="a"), password("new", id="b")),
            identity("blocked", password("x", id="a"), password("y", id="b"), blocked=True),
            identity("later", password("right", id="a"), later),
        )
    )
    verified: list[str] = []
    verifies = PasswordHash.verifies

    def counted(self: PasswordHash, given: bytes) -> bool:
        verified.append(self.encoded)
        return verifies(self, given)

    monkeypatch.setattr(PasswordHash, "verifies", counted)
    assert authenticator.verify(username, b"wrong", NOW) is None
    assert len(verified) == 2


def test_of_many_passwords_the_four_that_hold_since_last_are_tried() -> None:
    many = [
        password(f"p{each}", id=f"{each}", validity=Validity(not_before=NOW - each))
        for each in range(6)
    ]
    authenticator = PasswordAuthenticator(Names(identity("d1", *many)))
    right = [authenticator.verify("d1", b"p%d" % each, NOW) is not None for each in range(6)]
    assert right == [True] * 4 + [False] * 2


@pytest.mark.parametrize("username", ["d1", "nobody"])
def test_decoys_are_made_for_everyone_and_not_only_where_one_is_needed(
    authenticator: PasswordAuthenticator, username: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    of = PasswordHash.of

    def counted(text: str, *, hasher: argon2.PasswordHasher) -> PasswordHash:
        made.append("one")
        return of(text, hasher=hasher)

    monkeypatch.setattr(PasswordHash, "of", counted)
    for _ in range(2):
        authenticator.forget(DirectoryChanges(version=2))
        assert authenticator.verify(username, b"wrong", NOW) is None
    assert made == ["one", "one"]


def test_an_unknown_name_takes_as_long_as_a_wrong_password() -> None:
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=4_096, parallelism=1)
    old, new = (password(text, id=text, hasher=hasher) for text in ("old", "new"))
    names = Names(identity("one", password("right", hasher=hasher)), identity("two", old, new))
    authenticator = PasswordAuthenticator(names)
    authenticator.verify("warm", b"up", NOW)
    times: dict[str, list[float]] = {"one": [], "two": [], "nobody": []}
    for _ in range(40):
        for name, taken in times.items():
            began = time.thread_time()
            assert authenticator.verify(name, b"wrong", NOW) is None
            taken.append(time.thread_time() - began)
    one, two, unknown = (statistics.median(taken) for taken in times.values())
    # Without decoys the unknown takes a hundredth, and the one with two twice as long.
    for known in (one, two):
        assert 0.7 < known / unknown < 1.4


@pytest.mark.parametrize("text", ["", "right", "$argon2i$v=19$m=8,t=1,p=1$x$y", "$2b$12$abc"])
def test_only_argon2id_is_a_hash(text: str) -> None:
    with pytest.raises(ValueError, match="argon2id"):
        PasswordHash(encoded=text)
