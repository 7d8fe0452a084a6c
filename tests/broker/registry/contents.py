"""Random registries that are whole, and keys and certificates for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import argon2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import strategies as st

from broker.auth.identity import (
    Authority,
    Certificate,
    Credential,
    KeyAlgorithm,
    NameFrom,
    Password,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.auth.password_formats import OtherHash, mosquitto_hash
from broker.auth.password_hash import PasswordHash
from broker.auth.principal import PrincipalKind
from broker.registry.entries import Content, Entry
from broker.registry.roles import Patterns, Role

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash("secret")
OTHER = OtherHash(
    format="mosquitto", encoded=mosquitto_hash("secret", salt=bytes(12), iterations=101)
)


def pem(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC_PEM = pem(EC_KEY.public_key())


@cache
def rsa_pem() -> str:
    return pem(rsa.generate_private_key(65537, 2048).public_key())


def certificate_pem(name: str, *, ca: bool) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(EC_KEY.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(EC_KEY, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def revocation_list_pem(name: str, *serials: int) -> str:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .last_update(now)
        .next_update(now + timedelta(days=1))
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        )
    signed = builder.sign(EC_KEY, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


CA_PEM = certificate_pem("site", ca=True)
CRL_PEM = revocation_list_pem("site", 7, 8)

_SECONDS = st.integers(0, 4_102_444_800).map(float)
_DIGEST = st.binary(min_size=32, max_size=32)
_PATTERN = (
    st.lists(st.sampled_from(["a", "+", "%device", "ä b", ""]), min_size=1, max_size=4)
    .map("/".join)
    .filter(bool)
)
_PATTERNS = st.builds(
    lambda allow, deny: Patterns(allow=tuple(allow), deny=tuple(deny)),
    st.lists(_PATTERN, max_size=3),
    st.lists(_PATTERN, max_size=2),
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _validity(draw: st.DrawFn) -> Validity:
    first, last = draw(st.none() | _SECONDS), draw(st.none() | _SECONDS)
    if first is not None and last is not None and first >= last:
        last = first + 1
    return Validity(not_before=first, not_after=last)


@st.composite
def _credential(draw: st.DrawFn, number: int, formats: frozenset[str]) -> Credential:
    known: dict[str, Any] = {"id": f"c/{number}", "validity": draw(_validity())}
    kind = draw(st.sampled_from(["password", "scram", "key", "certificate"]))
    if kind == "password":
        others = (OTHER,) if "mosquitto" in formats and draw(st.booleans()) else ()
        return Password(**known, hash=PasswordHash(encoded=HASH), others=others)
    if kind == "scram":
        return ScramSecret(
            **known,
            salt=draw(st.binary(min_size=1, max_size=40)),
            iterations=draw(st.integers(4096, 100_000)),
            stored_key=draw(_DIGEST),
            server_key=draw(_DIGEST),
        )
    if kind == "key":
        return PublicKey(**known, algorithm=KeyAlgorithm.ES256, pem=EC_PEM)
    return Certificate(**known, fingerprint=number.to_bytes(32, "big"))


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """A registry of some devices and services, some of them behind gateways."""
    roles = draw(
        st.dictionaries(
            st.sampled_from(["meter", "null", "1e3", "observer"]),
            st.builds(Role, publish=_PATTERNS, subscribe=_PATTERNS, will=_PATTERNS),
            max_size=3,
        )
    )
    devices = draw(st.lists(st.sampled_from(["d1", "d2", "no", "1.5", "D1"]), unique=True))
    services = draw(st.lists(st.sampled_from(["s-a", "t@b"]), unique=True))
    for_all = {"observer"} | roles.keys()
    formats = draw(st.sampled_from([frozenset[str](), frozenset({"mosquitto"})]))
    entries = {}
    number = 0
    for name in [*devices, *services]:
        is_device = name in devices
        known = (
            for_all | {"device"}
            if is_device
            else {role for role in for_all if not (role in roles and roles[role].for_devices_only)}
        )
        credentials = []
        for _ in range(draw(st.integers(0, 2))):
            number += 1
            credentials.append(draw(_credential(number, formats)))
        known = known or {"telemetry-pipeline"}
        others = [other for other in devices if other != name]
        entries[name] = Entry(
            name=name,
            kind=PrincipalKind.DEVICE if is_device else PrincipalKind.SERVICE,
            role=draw(st.sampled_from(sorted(known))),
            client_id_prefix=None if is_device else f"{name}-",
            blocked=draw(st.booleans()),
            metadata=draw(st.dictionaries(_TEXT, _JSON, max_size=3)),
            gateways=tuple(draw(st.lists(st.sampled_from(others), max_size=2)))
            if is_device and others
            else (),
            credentials=tuple(credentials),
        )
    authorities = draw(
        st.dictionaries(
            st.sampled_from(["site", "2026"]),
            st.builds(
                Authority,
                id=st.just("?"),
                validity=_validity(),
                pem=st.just(CA_PEM),
                name_from=st.sampled_from(NameFrom),
                pattern=st.sampled_from(["{name}", "spiffe://site/{name}"]),
                revocation_list=st.none() | st.just(CRL_PEM),
            ),
        )
    )
    named = {
        name: Authority(
            id=name,
            validity=each.validity,
            pem=each.pem,
            name_from=each.name_from,
            pattern=each.pattern,
            revocation_list=each.revocation_list,
        )
        for name, each in authorities.items()
    }
    return Content(entries=entries, roles=roles, authorities=named, password_formats=formats)
