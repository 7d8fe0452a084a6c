"""What is wrong with a listener's certificate and key, in words: OpenSSL's are its functions'."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)


def complaint(certificate_file: Path, key_file: Path) -> str | None:
    """Why OpenSSL may have refused them, naming the file; None where nothing is found."""
    try:
        certificate = _certificate(certificate_file)
        key = _public_key_of(key_file)
    except ValueError as error:
        return str(error)
    if _der(certificate.public_key()) != _der(key):
        return (
            f"{key_file} is not the key of the first certificate in {certificate_file}, which is"
            f" for {certificate.subject.rfc4514_string() or 'nobody'}"
        )
    return None


def _certificate(path: Path) -> x509.Certificate:
    data = _content(path)
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} holds no certificate in PEM (BEGIN CERTIFICATE)") from error


def _public_key_of(path: Path) -> PublicKeyTypes:
    data = _content(path)
    try:
        return load_pem_private_key(data, None).public_key()
    except TypeError as error:
        raise ValueError(
            f"{path} is encrypted with a passphrase; write it without one, readable by the"
            " broker's user alone"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{path} holds no private key in PEM (BEGIN PRIVATE KEY)") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
