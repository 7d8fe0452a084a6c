"""Keys, certificates and revocation lists as PEM text, checked before they are kept.

A ValueError says what is wrong with the text; it never quotes it.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.auth.certificates import read_revocation_list
from broker.auth.identity import KeyAlgorithm

MINIMUM_RSA_BITS = 2_048
"""Of RS256 (RFC 7518, section 3.3)."""


def key_algorithm(pem: str) -> KeyAlgorithm:
    """Which tokens a public key (SubjectPublicKeyInfo) can verify."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise ValueError("is no public key in PEM (BEGIN PUBLIC KEY)") from problem
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MINIMUM_RSA_BITS:
            raise ValueError(f"is an RSA key of {key.key_size} bits; {MINIMUM_RSA_BITS} is least")
        return KeyAlgorithm.RS256
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return KeyAlgorithm.ES256
    raise ValueError("is a key of another kind; RSA (RS256) and P-256 (ES256) are taken")


def check_public_key(algorithm: KeyAlgorithm, pem: str) -> str:
    """Returns the PEM text of a key for ``algorithm``."""
    found = key_algorithm(pem)
    if found is not algorithm:
        raise ValueError(f"is a key for {found.value}, not for {algorithm.value}")
    return pem


def fingerprint(pem: str) -> bytes:
    """The SHA-256 fingerprint of the one certificate in a PEM text."""
    return _certificate(pem).fingerprint(hashes.SHA256())


def check_authority(pem: str) -> str:
    """Returns the PEM text of a certificate that may issue others."""
    certificate = _certificate(pem)
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError) as problem:
        raise ValueError("is no CA's certificate: it has no basic constraints") from problem
    if not constraints.value.ca:
        raise ValueError("is no CA's certificate (basic constraints: CA false)")
    return pem


def check_revocation_list(authority: str, pem: str) -> str:
    """Returns the PEM text of a revocation list that the authority, in PEM too, has signed."""
    try:
        x509.load_pem_x509_crl(pem.encode())
    except ValueError as problem:
        raise ValueError("is no revocation list in PEM (BEGIN X509 CRL)") from problem
    read_revocation_list(x509.load_pem_x509_certificate(authority.encode()), pem)
    return pem


def _certificate(pem: str) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as problem:
        raise ValueError("is no certificate in PEM (BEGIN CERTIFICATE)") from problem
    if len(found) != 1:
        raise ValueError(f"has {len(found)} certificates; give one")
    return found[0]
