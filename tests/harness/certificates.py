"""Throw-away certificates: authorities and what they sign, and one that nobody vouches for.

They are as bare as homemade ones: without key identifiers, which Python asks for since 3.13.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_SIGNS_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Signed(NamedTuple):
    """PEM files of a certificate and its key."""

    certificate: str
    key: str


class Authority:
    """Signs certificates that are kept in ``folder``.

    ``identified``: with the key identifiers that Python's own checks ask for since 3.13.
    """

    def __init__(self, folder: Path, name: str, *, identified: bool = False) -> None:
        self._folder = folder
        self._name = _name(name)
        self._key = _new_key()
        self._identified = identified
        builder = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_ONLY, critical=True)
        )
        if identified:
            own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
            builder = builder.add_extension(own, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self.file = str(folder / f"{name}.pem")
        Path(self.file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str) -> Signed:
        """Returns a certificate for a client, host name or IP address."""
        key = _new_key()
        builder = _builder(_name(name), self._name, key).add_extension(
            _alternative_name(name), critical=False
        )
        if self._identified:
            signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            builder = builder.add_extension(signer, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _save(self._folder, name, certificate, key)


def self_signed(folder: Path, name: str) -> Signed:
    """Returns a certificate for a host name or IP address that is its own authority."""
    key = _new_key()
    certificate = (
        _builder(_name(name), _name(name), key)
        .add_extension(_alternative_name(name), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _save(folder, name, certificate, key)


def server_context(
    signed: Signed,
    *,
    clients: Authority | None = None,
    version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """A server's context; with ``clients`` it wants a certificate signed by them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # As brokers do, whatever Python's version.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(signed.certificate, signed.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.file)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative_name(text: str) -> x509.SubjectAlternativeName:
    name: x509.GeneralName
    try:
        name = x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        name = x509.DNSName(text)
    return x509.SubjectAlternativeName([name])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
    )


def _save(
    folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Signed:
    signed = Signed(str(folder / f"{name}-certificate.pem"), str(folder / f"{name}-key.pem"))
    Path(signed.certificate).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(signed.key).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return signed
