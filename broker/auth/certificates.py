"""Client certificates: one by its fingerprint, or an authority's by the name that they bear.

TLS has proved that the client holds the certificate's key, and nothing else: whose certificate it
is, if anybody's, is decided here, by the directory. An authority speaks for what it has issued
itself; an intermediate one is entered as an authority of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.auth.identity import (
    PROXY,
    Authority,
    Certificate,
    Directory,
    Identity,
    Login,
    NameFrom,
    Tell,
    Vouched,
    lacking,
    untold,
)

_AUTHORITIES_KEPT = 64


class CertificateAuthenticator:
    """Certificates to a ``Login``, for any thread. Times are seconds since the epoch."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def verify(self, der: bytes, now: float, tell: Tell = untold) -> Login | None:
        """Whose certificate it is, or None where it is nobody's, or not now.

        Raises:
          RegistryError: the directory can't answer now.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            if not _is_valid(certificate, now):
                tell("its certificate has expired or is not valid yet")
                return None
            ends = certificate.not_valid_after_utc.timestamp()
            return self._by_fingerprint(der, now, ends, tell) or self._by_authority(
                certificate, now, ends, tell
            )
        except (ValueError, x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
            # It is no certificate, or one with parts that nobody can read.
            tell("its certificate, or an authority's or its list, can't be read")
            return None

    def verify_common_name(
        self, common_name: str, pattern: str, tell: Tell = untold
    ) -> Login | None:
        """Whom the common name of a certificate means that a trusted proxy has verified."""
        name = _name(common_name, pattern)
        identity = None if name is None else self._directory.find(name)
        if identity is None or identity.blocked:
            tell(lacking(identity, "right", "common name, as the proxy tells it"))
            return None
        return Login(principal=identity.principal, credential=PROXY)

    def _by_fingerprint(self, der: bytes, now: float, ends: float, tell: Tell) -> Login | None:
        fingerprint = hashlib.sha256(der).digest()
        identity = self._directory.find_certificate(fingerprint)
        if identity is None:
            return None
        if identity.blocked:
            tell(lacking(identity, "certificate"))
            return None
        for credential in identity.credentials:
            if isinstance(credential, Certificate) and credential.fingerprint == fingerprint:
                if not credential.validity.holds(now):
                    tell(f"its certificate is not valid now by its entry {credential.id!r}")
                    return None
                return _login(identity, credential.id, ends, credential.validity.not_after)
        return None

    def _by_authority(
        self, certificate: x509.Certificate, now: float, ends: float, tell: Tell
    ) -> Login | None:
        for authority in self._directory.authorities():
            objection = _objection(authority, certificate, now)
            if objection is not None:
                if objection:
                    tell(f"authority {authority.id!r}: {objection}")
                continue
            names = {
                name
                for text in _texts(certificate, authority.name_from)
                if (name := _name(text, authority.pattern)) is not None
            }
            if len(names) != 1:
                # Nobody, or several: it must be plain who is meant.
                tell(f"its certificate names {len(names)} by authority {authority.id!r}, not one")
                return None
            identity = self._directory.find(names.pop())
            if identity is None or identity.blocked:
                tell(lacking(identity, "right", "certificate's name"))
                return None
            login = _login(identity, authority.id, ends, authority.validity.not_after)
            vouched = Vouched(authority=authority, serial=certificate.serial_number)
            return replace(login, vouched=vouched)
        tell(
            "its certificate is not in the registry, and no authority that holds now has issued it"
        )
        return None


def still_vouches(authority: Authority, vouched: Vouched, now: float) -> bool:
    """Whether an authority, as it is now, would still speak for a client that it spoke for."""
    before = replace(
        vouched.authority, validity=authority.validity, revocation_list=authority.revocation_list
    )
    if authority != before or not authority.validity.holds(now):
        return False
    try:
        _, revoked = _loaded(authority.pem, authority.revocation_list)
    except ValueError:
        return False
    return revoked is None or _objection_by_list(revoked, vouched.serial, now) is None


def _login(identity: Identity, credential: str, *ends: float | None) -> Login:
    return Login(
        principal=identity.principal,
        credential=credential,
        until=min(end for end in ends if end is not None),
    )


def _objection(authority: Authority, certificate: x509.Certificate, now: float) -> str | None:
    """Why the authority does not stand by a certificate: "" where it is none of its own.

    None: it has, for a client, and does.
    """
    if not authority.validity.holds(now):
        return ""
    issuer, revoked = _loaded(authority.pem, authority.revocation_list)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return ""
    if not _is_valid(issuer, now):
        return "it is not valid now"
    if not _is_authority(issuer):
        return "it is no authority by its own certificate (basic constraints, key usage)"
    if not _is_for_clients(certificate):
        return "the certificate is not for clients (extended key usage)"
    return None if revoked is None else _objection_by_list(revoked, certificate.serial_number, now)


def _objection_by_list(
    revoked: x509.CertificateRevocationList, serial: int, now: float
) -> str | None:
    """Why a revocation list does not let a certificate pass; None where it does."""
    # A list that is out of date says nothing of what was revoked since (RFC 5280, section 5.1.2.5).
    until = revoked.next_update_utc
    if until is not None and now >= until.timestamp():
        return f"its revocation list is out of date since {until:%Y-%m-%d %H:%M} UTC"
    if revoked.get_revoked_certificate_by_serial_number(serial) is not None:
        return "the certificate is revoked"
    return None


@lru_cache(maxsize=_AUTHORITIES_KEPT)
def _loaded(
    pem: str, revocation_list: str | None
) -> tuple[x509.Certificate, x509.CertificateRevocationList | None]:
    """The authority's certificate and its list. Raises ValueError: the list is not its own."""
    issuer = x509.load_pem_x509_certificate(pem.encode())
    if revocation_list is None:
        return issuer, None
    return issuer, read_revocation_list(issuer, revocation_list)


def read_revocation_list(issuer: x509.Certificate, pem: str) -> x509.CertificateRevocationList:
    """An authority's list. Raises ValueError: it is none, or not its own."""
    revoked = x509.load_pem_x509_crl(pem.encode())
    if revoked.issuer != issuer.subject or not revoked.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # a key that can't sign lists is False, too
        raise ValueError("is not signed by the authority")
    return revoked


def _is_valid(certificate: x509.Certificate, now: float) -> bool:
    then = datetime.fromtimestamp(now, UTC)
    return certificate.not_valid_before_utc <= then <= certificate.not_valid_after_utc


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return constraints.value.ca
    return constraints.value.ca and usage.value.key_cert_sign


def _is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether it says that it is for clients, or nothing of what it is for."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return True
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    return not allowed.isdisjoint(usage.value)


def _texts(certificate: x509.Certificate, name_from: NameFrom) -> Sequence[str]:
    if name_from is NameFrom.COMMON_NAME:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(name.value) for name in names]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    if name_from is NameFrom.DNS:
        return found.get_values_for_type(x509.DNSName)
    if name_from is NameFrom.URI:
        return found.get_values_for_type(x509.UniformResourceIdentifier)
    return found.get_values_for_type(x509.RFC822Name)


def _name(text: str, pattern: str) -> str | None:
    before, after = pattern.split("{name}")
    found = re.fullmatch(f"{re.escape(before)}(.+){re.escape(after)}", text, re.DOTALL)
    return None if found is None else found[1]
