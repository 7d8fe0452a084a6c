"""What is issued proves its owner by what the registry keeps of it, which has no secret."""

from __future__ import annotations

import time
from dataclasses import replace

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from broker.auth.authenticator import Attempt, Authenticator
from broker.auth.identity import (
    Authority,
    Certificate,
    Credential,
    Login,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.registry.content_directory import ContentDirectory
from broker.registry.entries import Content, Entry
from broker.registry.issuing import CredentialKind, Signer, from_public, issue, kind_of, rotated
from tests.broker.registry.contents import CA_PEM, EC_KEY, certificate_pem

ALWAYS = Validity()


def login(attempt: Attempt, *credentials: Credential, authority: Authority | None = None) -> bool:
    entry = Entry(name="d1", credentials=credentials)
    authorities = {} if authority is None else {authority.id: authority}
    directory = ContentDirectory(Content(entries={"d1": entry}, authorities=authorities))
    authenticator = Authenticator(directory, audiences=("us",), decoy_key=b"own")
    found = authenticator.verify(attempt, time.time())
    assert found is None or isinstance(found, Login)
    return found is not None


def attempt(**given: object) -> Attempt:
    return Attempt(address="127.0.0.1", client_id="d1", **given)  # type: ignore[arg-type]  # any


def signer() -> Signer:
    key = EC_KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Signer(certificate=CA_PEM, key=key.decode())


def test_a_password() -> None:
    issued = issue(CredentialKind.PASSWORD, "d1", validity=ALWAYS, formats=())
    given = issued.files["password"].encode()
    assert login(attempt(username="d1", password=given), issued.credential)
    assert not login(attempt(username="d1", password=b"x"), issued.credential)
    assert issued.files["password"] not in repr(issued)


def test_a_password_that_was_chosen_is_not_told_again() -> None:
    issued = issue(CredentialKind.PASSWORD, "d1", validity=ALWAYS, formats=(), password="mine")
    assert issued.files == {}
    assert login(attempt(username="d1", password=b"mine"), issued.credential)


def test_a_scram_secret_in_the_place_of_another_has_its_salt_and_no_other_has() -> None:
    def scram(before: Credential | None = None) -> ScramSecret:
        issued = issue(CredentialKind.SCRAM, "d1", validity=ALWAYS, formats=(), instead_of=before)
        made = issued.credential
        assert isinstance(made, ScramSecret)
        return made

    old = scram()
    new = scram(old)
    assert (new.salt, new.iterations) == (old.salt, old.iterations)
    assert new.stored_key != old.stored_key
    assert scram().salt != old.salt


@pytest.mark.parametrize("kind", [CredentialKind.RS256, CredentialKind.ES256])
def test_a_key_pair_for_tokens(kind: CredentialKind) -> None:
    issued = issue(kind, "d1", validity=ALWAYS, formats=())
    now = int(time.time())
    claims = {"aud": "us", "iat": now, "exp": now + 60}
    token = jwt.encode(claims, issued.files["key.pem"], algorithm=kind.name)
    assert login(attempt(password=token.encode()), issued.credential)
    assert kind_of(issued.credential) is kind
    other = issue(kind, "d1", validity=ALWAYS, formats=())
    assert not login(attempt(password=token.encode()), other.credential)


def test_a_certificate_known_by_its_fingerprint() -> None:
    until = Validity(not_after=float(int(time.time()) + 86_400))
    issued = issue(CredentialKind.CERTIFICATE, "d1", validity=until, formats=())
    certificate = x509.load_pem_x509_certificate(issued.files["certificate.pem"].encode())
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert isinstance(issued.credential, Certificate)
    assert issued.credential.fingerprint == certificate.fingerprint(hashes.SHA256())
    assert login(attempt(certificate=der), issued.credential)
    assert not login(attempt(certificate=der))


def test_a_certificate_that_an_authority_signed_is_known_by_it() -> None:
    issued = issue(CredentialKind.CERTIFICATE, "d1", validity=ALWAYS, formats=(), signer=signer())
    certificate = x509.load_pem_x509_certificate(issued.files["certificate.pem"].encode())
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert login(attempt(certificate=der), authority=Authority(id="site", pem=CA_PEM))
    ends = x509.load_pem_x509_certificate(CA_PEM.encode()).not_valid_after_utc
    assert certificate.not_valid_after_utc == ends
    assert issued.credential.validity.not_after == ends.timestamp()


def test_what_cannot_be_issued_is_told() -> None:
    for kind, given, complaint in (
        (CredentialKind.PASSWORD, {"password": ""}, "the password is empty"),
        (CredentialKind.ES256, {"password": "x"}, "kind es256 has no password"),
        (
            CredentialKind.CERTIFICATE,
            {"signer": replace(signer(), certificate=certificate_pem("x", ca=False))},
            "is no CA's certificate",
        ),
        (CredentialKind.CERTIFICATE, {"signer": replace(signer(), key="x")}, "no private key"),
    ):
        with pytest.raises(ValueError, match=complaint):
            issue(kind, "d1", validity=ALWAYS, formats=(), **given)


def test_a_public_part_that_is_there_is_taken() -> None:
    key = issue(CredentialKind.RS256, "d1", validity=ALWAYS, formats=()).credential
    assert isinstance(key, PublicKey)
    assert kind_of(from_public(key.pem, "d1", validity=ALWAYS)) is CredentialKind.RS256
    leaf = from_public(certificate_pem("d1", ca=False), "d1", validity=ALWAYS)
    assert isinstance(leaf, Certificate)
    with pytest.raises(ValueError, match="is no public key in PEM"):
        from_public("x", "d1", validity=ALWAYS)


def test_rotation_ends_the_old_one_at_once_or_when_its_overlap_is_over() -> None:
    old = issue(CredentialKind.ES256, "d1", validity=ALWAYS, formats=()).credential
    new = issue(CredentialKind.ES256, "d1", validity=ALWAYS, formats=()).credential
    entry = Entry(name="d1", credentials=(old,))
    assert rotated(entry, old, new, until=None).credentials == (new,)
    kept = {each.id: each.validity for each in rotated(entry, old, new, until=100).credentials}
    assert kept == {old.id: Validity(not_after=100.0), new.id: ALWAYS}
    ending = replace(old, validity=Validity(not_after=50.0))
    kept = {each.id: each.validity for each in rotated(entry, ending, new, until=100).credentials}
    assert kept[old.id] == Validity(not_after=50.0)
