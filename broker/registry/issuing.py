"""New credentials: the secret for whoever is to have it, and what the registry keeps of it.

The secret is in an ``Issued`` and nowhere else: it is shown once, and can't be had again.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import argon2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.auth.identity import (
    Certificate,
    Credential,
    KeyAlgorithm,
    Password,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.auth.password_formats import hashed_in
from broker.auth.password_hash import PasswordHash
from broker.registry import pem
from broker.registry.entries import Entry
from mqtt.scram import ScramKeys

_PASSWORD_BYTES = 24
_SALT_BYTES = 16
_RSA_BITS = 2_048
_CLOCK_SKEW = timedelta(hours=1)
DEFAULT_CERTIFICATE_DAYS = 3_650


class CredentialKind(enum.Enum):
    """What can be issued."""

    PASSWORD = "password"  # noqa: S105  # the word
    SCRAM = "scram"
    RS256 = "rs256"
    ES256 = "es256"
    CERTIFICATE = "certificate"


_WITH_PASSWORD = (CredentialKind.PASSWORD, CredentialKind.SCRAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A CA that signs new certificates, as PEM texts."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A credential, and what its owner needs, each with the ending of the file that it is for.

    ``files`` holds secrets: ``password``, ``key.pem`` (PKCS #8), ``certificate.pem``.
    """

    credential: Credential
    files: Mapping[str, str] = field(repr=False)


def issue(
    kind: CredentialKind,
    owner: str,
    *,
    validity: Validity,
    formats: Iterable[str],
    password: str | None = None,
    signer: Signer | None = None,
    instead_of: Credential | None = None,
) -> Issued:
    """Makes a credential for a device or service.

    Args:
      formats: those of other brokers that the registry has chosen, in which a password is hashed
        beside argon2id.
      instead_of: what it is to replace. A SCRAM secret has the salt of that, so that one challenge
        is for both passwords while both hold.
      signer: of a certificate; without one it signs itself, and its fingerprint is all that counts.
      password: one that somebody chose, for the first two kinds; else 192 random bits.
      validity: of the credential; a certificate ends with it, or after
        ``DEFAULT_CERTIFICATE_DAYS``, and never later than the signer's own.

    Raises:
      ValueError: the password can't be had, the signer's key is not its certificate's, or its
        certificate has ended.
    """
    if password is not None:
        check_chosen(kind, password)
    identifier = f"{owner}/{kind.value}-{secrets.token_hex(4)}"
    if kind in _WITH_PASSWORD:
        chosen = secrets.token_urlsafe(_PASSWORD_BYTES) if password is None else password
        # One that somebody chose is no news.
        files = {"password": chosen} if password is None else {}
        if kind is CredentialKind.PASSWORD:
            made = _password(identifier, validity, chosen, formats)
            return Issued(credential=made, files=files)
        return Issued(credential=_scram(identifier, validity, chosen, instead_of), files=files)
    if kind is CredentialKind.CERTIFICATE:
        return _certificate(identifier, validity, owner, signer)
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if kind is CredentialKind.RS256:
        algorithm, key = KeyAlgorithm.RS256, rsa.generate_private_key(65_537, _RSA_BITS)
    else:
        algorithm, key = KeyAlgorithm.ES256, ec.generate_private_key(ec.SECP256R1())
    public = PublicKey(
        id=identifier, validity=validity, algorithm=algorithm, pem=_public_pem(key.public_key())
    )
    return Issued(credential=public, files={"key.pem": _private_pem(key)})


def check_chosen(kind: CredentialKind, password: str) -> None:
    """Raises ValueError where a password that somebody chose can't be had."""
    if kind not in _WITH_PASSWORD:
        raise ValueError(f"a credential of kind {kind.value} has no password")
    if not password:
        raise ValueError("the password is empty")


def from_public(text: str, owner: str, *, validity: Validity) -> Credential:
    """The credential of a public key or certificate that its owner has made. Raises ValueError."""
    token = secrets.token_hex(4)
    if "BEGIN CERTIFICATE" in text:
        digest = pem.fingerprint(text)
        return Certificate(id=f"{owner}/certificate-{token}", validity=validity, fingerprint=digest)
    algorithm = pem.key_algorithm(text)
    identifier = f"{owner}/{algorithm.value.lower()}-{token}"
    return PublicKey(id=identifier, validity=validity, algorithm=algorithm, pem=text)


def kind_of(credential: Credential) -> CredentialKind:
    """The kind that would be issued in its place."""
    match credential:
        case Password():
            return CredentialKind.PASSWORD
        case ScramSecret():
            return CredentialKind.SCRAM
        case PublicKey(algorithm=algorithm):
            return CredentialKind(algorithm.value.lower())
        case Certificate():
            return CredentialKind.CERTIFICATE


def rotated(entry: Entry, old: Credential, new: Credential, *, until: int | None) -> Entry:
    """The entry with ``new`` beside ``old``, which ends at ``until``, or in its place.

    ``until``: whole seconds since the epoch. A credential that ends sooner anyway still does.
    """
    kept = [credential for credential in entry.credentials if credential.id != old.id]
    if until is not None:
        end = old.validity.not_after
        last = float(until) if end is None else min(end, float(until))
        kept.append(replace(old, validity=replace(old.validity, not_after=last)))
    return replace(entry, credentials=(*kept, new))


def _password(
    identifier: str, validity: Validity, password: str, formats: Iterable[str]
) -> Credential:
    hashed = PasswordHash.of(password, hasher=argon2.PasswordHasher())
    others = hashed_in(formats, password)
    return Password(id=identifier, validity=validity, hash=hashed, others=others)


def _scram(
    identifier: str, validity: Validity, password: str, before: Credential | None
) -> Credential:
    if isinstance(before, ScramSecret):
        keys = ScramKeys.of(password, salt=before.salt, iterations=before.iterations)
    else:
        keys = ScramKeys.of(password, salt=secrets.token_bytes(_SALT_BYTES))
    return ScramSecret(
        id=identifier,
        validity=validity,
        salt=keys.salt,
        iterations=keys.iterations,
        stored_key=keys.stored_key,
        server_key=keys.server_key,
    )


def _certificate(identifier: str, validity: Validity, owner: str, signer: Signer | None) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, owner[:64])])
    now = datetime.now(UTC)
    ends = now + timedelta(days=DEFAULT_CERTIFICATE_DAYS)
    if validity.not_after is not None:
        ends = datetime.fromtimestamp(validity.not_after, UTC)
    issuer: x509.Name = name
    signing_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = key
    if signer is not None:
        authority, signing_key = _signing(signer)
        issuer = authority.subject
        if authority.not_valid_after_utc <= now:
            raise ValueError(
                f"the CA's certificate ended at {authority.not_valid_after_utc.isoformat()}"
            )
        if authority.not_valid_after_utc < ends:
            # Nobody believes it any longer than its CA: the registry says the same.
            ends = authority.not_valid_after_utc
            validity = replace(validity, not_after=ends.timestamp())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    kept = Certificate(
        id=identifier, validity=validity, fingerprint=certificate.fingerprint(hashes.SHA256())
    )
    return Issued(credential=kept, files={"key.pem": _private_pem(key), "certificate.pem": text})


def _signing(
    signer: Signer,
) -> tuple[x509.Certificate, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]:
    pem.check_authority(signer.certificate)
    issuer = x509.load_pem_x509_certificate(signer.certificate.encode())
    try:
        key = serialization.load_pem_private_key(signer.key.encode(), password=None)
    except (ValueError, TypeError) as problem:
        raise ValueError("the CA's key is no private key in PEM without a password") from problem
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("the CA's key is of another kind; RSA and elliptic curves are taken")
    if key.public_key() != issuer.public_key():
        raise ValueError("the CA's key is not that of its certificate")
    return issuer, key


def _private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _public_pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
