"""SCRAM-SHA-256 by its official vector, against another implementation, and what it must refuse."""

from __future__ import annotations

import base64

import pytest
import scramp
from hypothesis import given
from hypothesis import strategies as st

from mqtt.errors import ScramError
from mqtt.saslprep import saslprep
from mqtt.scram import ClientFirst, ScramClient, ScramKeys, ScramServer, client_first, decoy_keys

# RFC 7677, section 3.
CLIENT_NONCE, SERVER_NONCE = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def keys(password: str = "pencil", salt: bytes = SALT) -> ScramKeys:
    return ScramKeys.of(password, salt=salt, iterations=4_096)


def server(nonce: str = SERVER_NONCE) -> ScramServer:
    return ScramServer(client_first(FIRST), keys(), nonce=nonce)


def client(password: str = "pencil") -> ScramClient:
    return ScramClient("user", password, nonce=CLIENT_NONCE)


def test_rfc_7677_section_3_the_client_s_messages() -> None:
    one = client()
    assert one.first() == FIRST
    assert one.answer(CHALLENGE) == FINAL
    one.verify(SIGNATURE)


def test_rfc_7677_section_3_the_server_s_messages() -> None:
    one = server()
    assert one.challenge() == CHALLENGE
    assert one.finish(FINAL) == SIGNATURE


def test_the_password_can_t_be_had_from_a_repr() -> None:
    assert "key" not in repr(keys()).replace("_key", "")
    assert repr(keys().stored_key) not in repr(keys())


@given(name=st.text("abcäöß=,é~", min_size=1), password=st.text("pQ9 ,=äß€", min_size=1))
def test_both_sides_agree_with_an_implementation_by_others(name: str, password: str) -> None:
    salt = b"0123456789abcdef"
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    theirs = mechanism.make_auth_info(password, iteration_count=4_096, salt=salt)
    # Our client, their server.
    other = mechanism.make_server(lambda user: theirs if user == saslprep(name) else None)
    one = ScramClient(name, password, nonce="abc")
    other.set_client_first(one.first().decode())
    final = one.answer(other.get_server_first().encode())
    other.set_client_final(final.decode())
    one.verify(other.get_server_final().encode())
    # Their client, our server.
    their_client = scramp.ScramClient(["SCRAM-SHA-256"], saslprep(name), password)
    first = client_first(their_client.get_client_first().encode())
    ours = ScramServer(first, keys(password, salt), nonce="xyz")
    their_client.set_server_first(ours.challenge().decode())
    answer = ours.finish(their_client.get_client_final().encode())
    assert answer is not None
    their_client.set_server_final(answer.decode())


def test_a_wrong_password_proves_nothing() -> None:
    one = client("pencils")
    assert server().finish(one.answer(CHALLENGE)) is None


def test_a_server_that_does_not_know_the_password_is_told_from_one_that_does() -> None:
    one = client()
    with pytest.raises(ScramError, match="does not know the password"):
        one.verify(SIGNATURE)  # before it was challenged
    one.answer(CHALLENGE)
    impostor = ScramServer(client_first(FIRST), decoy_keys("user", secret=b"x"), nonce="abc")
    assert impostor.finish(FINAL.replace(SERVER_NONCE.encode(), b"abc")) is None
    with pytest.raises(ScramError, match="does not know the password"):
        one.verify(b"v=" + base64.b64encode(bytes(32)))


def test_the_name_of_a_client_may_hold_commas_and_equal_signs() -> None:
    first = ScramClient("a=b,c", "p", nonce="n").first()
    assert first == b"n,,n=a=3Db=2Cc,r=n"
    assert client_first(first) == ClientFirst(
        name="a=b,c", nonce="n", header="n,,", bare="n=a=3Db=2Cc,r=n"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"n,,n=user",
        b"n,,n=,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=user,r=a\x7f",
        b"n,,n=user,r=",
        b"n,a=other,n=user,r=abc",  # in the name of somebody else
        b"n,,m=x,n=user,r=abc",  # an extension that must be understood
        b"p=tls-unique,,n=user,r=abc",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=" + b"a" * 5_000,
    ],
)
def test_what_begins_no_exchange_is_refused(message: bytes) -> None:
    with pytest.raises(ScramError):
        client_first(message)


def test_a_client_that_could_bind_the_channel_is_served_and_extensions_are_passed_over() -> None:
    first = client_first(b"y,,n=user,r=abc,x=later")
    assert (first.name, first.header, first.bare) == ("user", "y,,", "n=user,r=abc,x=later")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (FINAL.replace(b"biws", b"eSws"), "header"),
        (FINAL.replace(b"%hv", b"%hw"), "nonce"),
        (FINAL[:-4] + b"", "base64|length"),
        (FINAL.replace(b"p=dHzb", b"p="), "base64|length"),
        (FINAL.split(b",p=")[0], "client-final-message"),
        (b"\xff" + FINAL, "client-final-message"),
    ],
)
def test_a_proof_of_another_exchange_is_refused(message: bytes, complaint: str) -> None:
    with pytest.raises(ScramError, match=complaint):
        server().finish(message)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (CHALLENGE.replace(b"rOpr", b"rOps"), "go on from"),
        (b"r=" + CLIENT_NONCE.encode() + b",s=AAAA,i=4096", "go on from"),
        (CHALLENGE.replace(b"4096", b"4095"), "4095 iterations"),
        (CHALLENGE.replace(b"4096", b"2000000000"), "iterations"),
        (CHALLENGE.replace(b"s=W22Z", b"s=W22"), "base64"),
        (b"m=x," + CHALLENGE, "server-first-message"),
        (b"e=other-error", "server-first-message"),
    ],
)
def test_a_challenge_that_is_none_is_refused(message: bytes, complaint: str) -> None:
    with pytest.raises(ScramError, match=complaint):
        client().answer(message)


def test_the_end_of_an_exchange_may_be_an_error() -> None:
    one = client()
    one.answer(CHALLENGE)
    with pytest.raises(ScramError, match="server-final-message"):
        one.verify(b"e=invalid-proof")


def test_a_name_that_is_not_known_gets_the_same_salt_each_time_and_nobody_proves_it() -> None:
    decoy = decoy_keys("nobody", secret=b"own")
    assert decoy == decoy_keys("nobody", secret=b"own")
    assert decoy != decoy_keys("nobody", secret=b"other")
    assert decoy.salt != decoy_keys("somebody", secret=b"own").salt
    assert len(decoy.salt) == 16
    one = ScramServer(client_first(FIRST), decoy, nonce="abc")
    assert one.finish(client().answer(one.challenge())) is None


@pytest.mark.parametrize(("salt", "iterations"), [(b"", 4_096), (b"s", 4_095), (b"s", 10**9)])
def test_keys_are_not_made_weak_nor_unusably_strong(salt: bytes, iterations: int) -> None:
    with pytest.raises(ValueError, match="SCRAM needs"):
        ScramKeys.of("p", salt=salt, iterations=iterations)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013, section 3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("", ""),
    ],
)
def test_saslprep_gives_one_form_to_what_looks_the_same(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u0627\u0031", "\ue000", "\U0001f600", "\u0627a\u0627"]
)
def test_saslprep_refuses_and_does_not_repeat_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="SASLprep") as told:
        saslprep(text)
    assert text not in str(told.value)
