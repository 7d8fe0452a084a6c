"""SCRAM against the directory: who is unknown is challenged as all are, and fails at the end."""

from __future__ import annotations

import pytest

from broker.auth.identity import ScramSecret, Validity
from broker.auth.scram import Challenge, Proved, ScramAuthenticator
from mqtt.errors import ScramError
from mqtt.scram import ScramClient, ScramKeys
from tests.broker.auth.directory import NOW, Names, identity, password


def secret(
    text: str, *, id: str = "s1", validity: Validity | None = None, salt: str = ""
) -> ScramSecret:
    keys = ScramKeys.of(text, salt=(salt or id).encode() * 4, iterations=4_096)
    return ScramSecret(
        id=id,
        validity=validity or Validity(),
        salt=keys.salt,
        iterations=keys.iterations,
        stored_key=keys.stored_key,
        server_key=keys.server_key,
    )


NAMES = Names(
    identity("d1", secret("right")),
    identity("blocked", secret("right"), blocked=True),
    identity("other", password("right")),
    identity("past", secret("right", validity=Validity(not_after=NOW))),
    identity(
        "rotated",
        secret("new", id="a", validity=Validity(not_before=NOW - 10, not_after=NOW + 10)),
        secret("old", id="b"),
    ),
    identity(
        "overlapping",
        secret("new", id="a", validity=Validity(not_before=NOW - 10), salt="s"),
        secret("old", id="b", validity=Validity(not_after=NOW + 10), salt="s"),
        secret("older", id="c", validity=Validity(not_after=NOW), salt="s"),
    ),
)


def exchange(name: str, text: str = "right") -> tuple[ScramClient, Challenge | Proved | None]:
    client = ScramClient(name, text, nonce="abc")
    one = ScramAuthenticator(NAMES, secret=b"own").exchange(seen=0)
    challenge = one.advance(client.first(), NOW)
    assert isinstance(challenge, Challenge)
    result = one.advance(client.answer(challenge.data), NOW)
    assert one.name == name
    # It is over, whatever comes.
    again = one.advance(b"c=biws,r=x,p=AAAA", NOW)
    assert again is None
    return client, result


def test_while_two_passwords_of_a_rotation_hold_either_proves_itself() -> None:
    for text, credential, until in (("new", "a", None), ("old", "b", NOW + 10)):
        client, proved = exchange("overlapping", text)
        assert isinstance(proved, Proved)
        assert (proved.login.credential, proved.login.until) == (credential, until)
        client.verify(proved.data)
    for text in ("older", "wrong"):
        assert exchange("overlapping", text)[1] is None


def test_a_device_proves_itself_and_so_does_the_server() -> None:
    client, proved = exchange("d1")
    assert isinstance(proved, Proved)
    assert (proved.login.principal.name, proved.login.credential) == ("d1", "s1")
    client.verify(proved.data)
    with pytest.raises(ScramError):
        client.verify(b"v=AAAA")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d1", "wrong"),
        ("nobody", "right"),
        ("blocked", "right"),
        ("other", "right"),
        ("past", "right"),
    ],
)
def test_who_proves_nothing_takes_the_same_steps(name: str, text: str) -> None:
    _, result = exchange(name, text)
    assert result is None


def test_a_challenge_has_the_salt_of_the_secret_that_holds_since_last() -> None:
    _, proved = exchange("rotated", "new")
    assert isinstance(proved, Proved)
    assert proved.login.until == NOW + 10
    assert exchange("rotated", "old")[1] is None


def test_a_name_that_is_not_known_has_one_salt() -> None:
    first = ScramClient("nobody", "x", nonce="abc").first()
    authenticator = ScramAuthenticator(NAMES, secret=b"own")
    salts = set()
    for _ in range(3):
        challenge = authenticator.exchange(seen=0).advance(first, NOW)
        assert isinstance(challenge, Challenge)
        salts.add(challenge.data.split(b",")[1])
    assert len(salts) == 1


@pytest.mark.parametrize("data", [None, b"", b"n,,n=d1", b"\xff"])
def test_what_is_no_scram_ends_the_exchange(data: bytes | None) -> None:
    assert ScramAuthenticator(NAMES, secret=b"own").exchange(seen=0).advance(data, NOW) is None
