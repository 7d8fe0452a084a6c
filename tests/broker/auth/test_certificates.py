"""A certificate is a device's by its fingerprint, or by the name that its authority put into it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker.auth.certificates import CertificateAuthenticator
from broker.auth.identity import Authority, Certificate, Login, NameFrom, Validity
from tests.broker.auth.directory import Names, identity
from tests.broker.auth.issuing import HOUR, Issued, Issuer

CA = Issuer()
NOW = CA.now.timestamp()
AUTHORITY = Authority(id="site-ca", pem=CA.pem)


def by_authority(issued: Issued, now: float = NOW, **changes: Any) -> Login | None:
    authority = dataclasses.replace(AUTHORITY, **changes)
    names = Names(identity("d1"), identity("gone", blocked=True), authorities=[authority])
    return CertificateAuthenticator(names).verify(issued.der, now)


def by_fingerprint(issued: Issued, now: float = NOW, **changes: Any) -> Login | None:
    credential = Certificate(id="c1", fingerprint=issued.fingerprint)
    found = identity("d1", dataclasses.replace(credential, **changes))
    return CertificateAuthenticator(Names(found)).verify(issued.der, now)


def test_a_certificate_by_its_fingerprint_whoever_issued_it() -> None:
    issued = Issuer("anybody", now=CA.now).issue("whatever")
    login = by_fingerprint(issued)
    assert login is not None
    assert (login.principal.name, login.credential) == ("d1", "c1")
    assert login.until == NOW + 3_600
    assert by_fingerprint(issued, fingerprint=bytes(32)) is None


def test_an_entered_certificate_has_its_own_time_and_the_entry_s() -> None:
    issued = CA.issue()
    login = by_fingerprint(issued, validity=Validity(not_after=NOW + 10))
    assert login is not None
    assert login.until == NOW + 10
    assert by_fingerprint(issued, validity=Validity(not_after=NOW)) is None
    assert by_fingerprint(issued, now=NOW + 3_601) is None
    assert by_fingerprint(issued, now=NOW - 3_601) is None


def test_why_a_certificate_proves_nothing_is_told() -> None:
    issued, other = CA.issue(), Issuer("other", now=CA.now).issue()

    def why(der: bytes, now: float = NOW, **changes: Any) -> str:
        authority = dataclasses.replace(AUTHORITY, **changes)
        names = Names(identity("d1"), identity("gone", blocked=True), authorities=[authority])
        told: list[str] = []
        assert CertificateAuthenticator(names).verify(der, now, told.append) is None
        return told[0]

    assert "not in the registry, and no authority that holds now" in why(other.der)
    assert "has expired or is not valid yet" in why(issued.der, NOW + 3_601)
    assert why(CA.issue("gone").der) == "'gone' is blocked"
    assert why(CA.issue("nobody").der) == "nobody is registered under its certificate's name"
    assert "can't be read" in why(b"\x30\x00")
    revoked = CA.revocation_list(issued)
    assert "'site-ca': the certificate is revoked" in why(issued.der, revocation_list=revoked)
    late = CA.revocation_list(ends=-HOUR / 2)
    assert "its revocation list is out of date since 20" in why(issued.der, revocation_list=late)


def test_a_blocked_device_s_certificate_proves_nothing() -> None:
    issued = CA.issue()
    credential = Certificate(id="c1", fingerprint=issued.fingerprint)
    names = Names(identity("d1", credential, blocked=True))
    assert CertificateAuthenticator(names).verify(issued.der, NOW) is None
    assert by_authority(CA.issue("gone")) is None


@pytest.mark.parametrize(
    ("name_from", "pattern", "alternatives", "common_name"),
    [
        (NameFrom.COMMON_NAME, "{name}", [], "d1"),
        (NameFrom.COMMON_NAME, "device:{name}", [], "device:d1"),
        (NameFrom.DNS, "{name}.site.example", [x509.DNSName("d1.site.example")], "x"),
        (
            NameFrom.URI,
            "spiffe://site/{name}",
            [
                x509.UniformResourceIdentifier("https://elsewhere.example"),
                x509.UniformResourceIdentifier("spiffe://site/d1"),
            ],
            "x",
        ),
        (NameFrom.EMAIL, "{name}@site.example", [x509.RFC822Name("d1@site.example")], "x"),
    ],
)
def test_an_authority_s_certificate_names_the_device(
    name_from: NameFrom, pattern: str, alternatives: list[x509.GeneralName], common_name: str
) -> None:
    issued = CA.issue(common_name, alternatives=alternatives)
    login = by_authority(issued, name_from=name_from, pattern=pattern)
    assert login is not None
    assert (login.principal.name, login.credential) == ("d1", "site-ca")
    assert login.until == NOW + 3_600


@pytest.mark.parametrize(
    ("issued", "changes"),
    [
        pytest.param(CA.issue("d2"), {}, id="nobody's name"),
        pytest.param(CA.issue("xd1"), {}, id="more than the name"),
        pytest.param(CA.issue("d1"), {"pattern": "device:{name}"}, id="not by the pattern"),
        pytest.param(CA.issue("d1"), {"name_from": NameFrom.DNS}, id="not where the rule looks"),
        pytest.param(
            CA.issue("x", alternatives=[x509.DNSName("d1"), x509.DNSName("gone")]),
            {"name_from": NameFrom.DNS},
            id="two names",
        ),
        pytest.param(Issuer().issue("d1"), {}, id="an authority of the same name"),
        pytest.param(Issuer("other").issue("d1"), {}, id="another authority"),
        pytest.param(CA.issue("d1", ends=-HOUR / 2), {}, id="expired"),
        pytest.param(CA.issue("d1", begins=HOUR / 2), {}, id="not yet"),
        pytest.param(
            CA.issue("d1", usages=[ExtendedKeyUsageOID.SERVER_AUTH]), {}, id="for servers"
        ),
        pytest.param(CA.issue("d1"), {"validity": Validity(not_after=NOW)}, id="not any more"),
    ],
)
def test_any_other_certificate_proves_nothing(issued: Issued, changes: dict[str, Any]) -> None:
    assert by_authority(issued, **changes) is None


def test_a_certificate_for_clients_is_taken() -> None:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert by_authority(CA.issue("d1", usages=usages)) is not None


def test_a_certificate_that_is_no_authority_s_vouches_for_nobody() -> None:
    impostor = Issuer(is_ca=False)
    assert by_authority(impostor.issue("d1"), pem=impostor.pem) is None


def test_what_is_on_the_revocation_list_proves_nothing() -> None:
    good, bad = CA.issue("d1"), CA.issue("d1")
    revoked = CA.revocation_list(bad)
    assert by_authority(good, revocation_list=revoked) is not None
    assert by_authority(bad, revocation_list=revoked) is None


def test_a_revocation_list_that_is_out_of_date_or_somebody_else_s_lets_nobody_in() -> None:
    good = CA.issue("d1")
    assert by_authority(good, revocation_list=CA.revocation_list(ends=-HOUR)) is None
    assert by_authority(good, revocation_list=Issuer().revocation_list()) is None
    assert by_authority(good, revocation_list=Issuer("other").revocation_list()) is None


def test_what_is_no_certificate_proves_nothing() -> None:
    assert CertificateAuthenticator(Names()).verify(b"\x30\x00", NOW) is None


@pytest.mark.parametrize(
    ("common_name", "pattern", "proved"),
    [
        ("d1", "{name}", True),
        ("device:d1", "device:{name}", True),
        ("d1", "device:{name}", False),
        ("d2", "{name}", False),
        ("gone", "{name}", False),
    ],
)
def test_a_proxy_s_word_is_taken_by_the_listener_s_pattern(
    common_name: str, pattern: str, proved: bool
) -> None:
    names = Names(identity("d1"), identity("gone", blocked=True))
    login = CertificateAuthenticator(names).verify_common_name(common_name, pattern)
    assert (login is not None) == proved
