"""Certificates, authorities and revocation lists for clients, with whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

HOUR = timedelta(hours=1)


def subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Issued:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> bytes:
        return self.certificate.fingerprint(hashes.SHA256())

    def files(self, folder: Path, name: str) -> tuple[str, str]:
        """Paths of PEM files: certificate and key."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_text(self.pem)
        paths[1].write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])


class Issuer:
    """An authority; ``signed_by``: it is one below another."""

    def __init__(
        self, name: str = "ca", *, is_ca: bool = True, now: datetime | None = None
    ) -> None:
        self.now = now or datetime.now(UTC).replace(microsecond=0)
        self.name = subject(name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self.name, self.key).add_extension(
            x509.BasicConstraints(ca=is_ca, path_length=None), critical=True
        )
        self.pem = (
            builder.sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )

    def issue(
        self,
        common_name: str = "d1",
        *,
        alternatives: Sequence[x509.GeneralName] = (),
        usages: Sequence[ObjectIdentifier] = (),
        begins: timedelta = -HOUR,
        ends: timedelta = HOUR,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(subject(common_name), key, begins, ends)
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def revocation_list(self, *revoked: Issued, ends: timedelta = HOUR) -> str:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(self.now - 2 * HOUR)
            .next_update(self.now + ends)
        )
        for each in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.certificate.serial_number)
                .revocation_date(self.now - HOUR)
                .build()
            )
        return (
            builder.sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
            .decode()
        )

    def _builder(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: timedelta = -2 * HOUR,
        ends: timedelta = 2 * HOUR,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + begins)
            .not_valid_after(self.now + ends)
        )
