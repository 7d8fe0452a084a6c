"""A token proves what its device's key has signed, for this server, for at most a day."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.auth.identity import KeyAlgorithm, Login, PublicKey, Validity
from broker.auth.tokens import TokenAuthenticator, looks_like_token
from tests.broker.auth.directory import NOW, Names, identity, public_pem

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
PATH = "projects/p/locations/l/registries/r/devices/"
CLAIMS = {"aud": "my-project", "iat": NOW, "exp": NOW + 3_600}

NAMES = Names(
    identity(
        "d1",
        PublicKey(id="rsa", algorithm=KeyAlgorithm.RS256, pem=public_pem(RSA)),
        PublicKey(
            id="ec",
            algorithm=KeyAlgorithm.ES256,
            pem=public_pem(EC),
            validity=Validity(not_after=NOW + 7_200),
        ),
    ),
    identity(
        "blocked",
        PublicKey(id="b", algorithm=KeyAlgorithm.ES256, pem=public_pem(EC)),
        blocked=True,
    ),
    identity("bare"),
)


def token(key: Any = EC, algorithm: str = "ES256", without: str = "", **claims: Any) -> bytes:
    content = {name: value for name, value in (CLAIMS | claims).items() if name != without}
    return jwt.encode(content, key, algorithm=algorithm).encode()


def verify(
    given: bytes, client_id: str = "d1", username: str | None = None, now: float = NOW
) -> Login | None:
    one = TokenAuthenticator(NAMES, audiences=["my-project", "other"])
    return one.verify(given, client_id=client_id, username=username, now=now)


@pytest.mark.parametrize(("key", "algorithm", "id"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec")])
def test_a_device_proves_itself_by_either_kind_of_key(key: Any, algorithm: str, id: str) -> None:
    login = verify(token(key, algorithm))
    assert login is not None
    assert (login.principal.name, login.credential) == ("d1", id)
    # The skew is the device's to have.
    assert login.until == NOW + 3_660


@pytest.mark.parametrize(
    ("client_id", "username", "proved"),
    [
        (PATH + "d1", "ignored", True),
        ("d1", "unused", True),
        ("d1", None, True),
        ("", "d1", True),
        ("service-1", "d1", True),
        ("bare", "d1", False),
        (PATH + "blocked", None, False),
        (PATH + "nobody", None, False),
        ("", None, False),
        ("", "nobody", False),
    ],
)
def test_the_client_identifier_names_the_device_and_else_the_user_name(
    client_id: str, username: str | None, proved: bool
) -> None:
    assert (verify(token(), client_id, username) is not None) == proved


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(token(OTHER), id="another key"),
        pytest.param(token(aud="elsewhere"), id="for another server"),
        pytest.param(token(aud=["elsewhere"]), id="for other servers"),
        pytest.param(token(without="aud"), id="for nobody"),
        pytest.param(token(without="iat"), id="issued never"),
        pytest.param(token(without="exp"), id="for ever"),
        pytest.param(token(exp=NOW + 24 * 3_600 + 1), id="for more than a day"),
        pytest.param(token(iat=NOW + 61, exp=NOW + 100), id="issued in the future"),
        pytest.param(token(nbf=NOW + 61), id="not yet"),
        pytest.param(token(exp=NOW - 60, iat=NOW - 100), id="expired"),
        pytest.param(token(exp=NOW, iat=NOW), id="of no time"),
        pytest.param(token(exp="soon"), id="no time"),
        pytest.param(token(iat=True), id="true"),
        pytest.param(token()[:-4] + b"AAAA", id="another signature"),
        pytest.param(token(x="y" * 5_000), id="too large"),
        pytest.param(b"eyJ.eyJ.x", id="no token"),
        pytest.param(b"eyJ\xff.x.y", id="no text"),
    ],
)
def test_any_other_token_proves_nothing(given: bytes) -> None:
    assert verify(given) is None


def forged(algorithm: str, secret: bytes | None) -> bytes:
    """A token as a forger makes it, whom no library stops."""
    parts = [{"alg": algorithm, "typ": "JWT"}, CLAIMS]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    signature = b""
    if secret is not None:
        digest = hmac.digest(secret, b".".join(encoded), hashlib.sha256)
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return b".".join([*encoded, signature])


@pytest.mark.parametrize(
    "given",
    [
        forged("none", None),
        forged("None", None),
        forged("HS256", public_pem(RSA).encode()),
        forged("HS256", public_pem(EC).encode()),
        forged("RS256", public_pem(RSA).encode()),
    ],
)
def test_no_signature_and_a_public_key_as_a_secret_prove_nothing(given: bytes) -> None:
    assert looks_like_token(given)
    assert verify(given) is None


def test_the_clock_of_a_device_may_be_off_by_a_minute_and_a_token_may_be_for_a_day() -> None:
    assert verify(token(iat=NOW + 59)) is not None
    assert verify(token(exp=NOW - 59, iat=NOW - 100)) is not None
    assert verify(token(exp=NOW + 24 * 3_600)) is not None


def test_a_key_has_its_time_and_the_login_ends_with_it() -> None:
    login = verify(token(exp=NOW + 20_000))
    assert login is not None
    assert login.until == NOW + 7_200
    assert verify(token(iat=NOW + 7_200, exp=NOW + 8_000), now=NOW + 7_200) is None


def test_without_an_audience_no_token_is_taken() -> None:
    one = TokenAuthenticator(NAMES, audiences=[])
    assert one.verify(token(), client_id="d1", username=None, now=NOW) is None


@pytest.mark.parametrize("client_id", ["d1", "bare", "blocked", "nobody"])
def test_a_signature_is_checked_whoever_it_is(
    client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    decode = jwt.decode

    def watched(given: bytes, *arguments: Any, **options: Any) -> Any:
        checked.append("once")
        return decode(given, *arguments, **options)

    monkeypatch.setattr(jwt, "decode", watched)
    assert verify(token(OTHER), client_id) is None
    assert checked == ["once"]
