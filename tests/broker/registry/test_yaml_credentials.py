"""Every kind of credential in the registry file: what is read, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from broker.auth.identity import (
    FIRST_SECOND,
    LAST_SECOND,
    Certificate,
    NameFrom,
    Password,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.errors import RegistryError
from broker.registry import YamlRegistry, load_registry
from broker.registry.yaml_credentials import validity_values
from tests.broker.auth.issuing import Issuer
from tests.broker.registry.contents import (
    CA_PEM,
    CRL_PEM,
    EC_PEM,
    HASH,
    certificate_pem,
    rsa_pem,
)

LEAF_PEM = certificate_pem("d1", ca=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "ec.pem": EC_PEM,
        "rsa.pem": rsa_pem(),
        "leaf.pem": LEAF_PEM,
        "ca.pem": CA_PEM,
        "ca.crl": CRL_PEM,
        # Of the same name, with another key.
        "other.crl": Issuer("site").revocation_list(),
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def load(folder: Path, text: str) -> YamlRegistry:
    path = folder / "registry.yaml"
    path.write_text("version: 1\n" + text.replace("HASH", f'"{HASH}"'))
    return load_registry(path, environment={})


def of_d1(folder: Path, *credentials: str) -> YamlRegistry:
    lines = "".join(f"\n      - {{{each}}}" for each in credentials)
    return load(folder, f"devices:\n  d1:\n    credentials:{lines}\n")


# No program writes the second, but the form allows it.
@pytest.mark.parametrize("encoded", [HASH, HASH[:-1] + '"'], ids=["usual", "quoted"])
def test_a_password_without_an_identifier_has_one_by_its_values(folder: Path, encoded: str) -> None:
    """The same in each version: connections and what is exported know a credential by it."""
    (folder / "registry.yaml").write_text(
        json.dumps({"version": 1, "devices": {"d1": {"password_hash": encoded}}})
    )
    identity = load_registry(folder / "registry.yaml", environment={}).find("d1")
    assert identity is not None
    values = json.dumps({"password_hash": encoded, "type": "password"}, sort_keys=True)
    digest = hashlib.sha256(values.encode()).hexdigest()[:12]
    assert [each.id for each in identity.credentials] == [f"d1/password-{digest}"]


def test_a_device_has_any_number_of_credentials_of_every_kind(folder: Path) -> None:
    registry = of_d1(
        folder,
        "id: d/a, type: password, password_hash: HASH, not_after: 2026-12-31T00:00:00Z",
        "id: d/b, type: scram, iterations: 4096, salt: c2Fs, stored_key: eA==, server_key: eQ==",
        "id: d/c, type: public_key, algorithm: ES256, pem_file: ec.pem",
        "id: d/d, type: public_key, algorithm: RS256, pem_file: rsa.pem",
        "id: d/e, type: certificate, certificate_file: leaf.pem",
        'id: d/f, type: certificate, fingerprint: "' + "ab:" * 31 + 'ab"',
    )
    identity = registry.find("d1")
    assert identity is not None
    kinds = [type(each) for each in identity.credentials]
    assert kinds == [Password, ScramSecret, PublicKey, PublicKey, Certificate, Certificate]
    assert identity.credentials[0].validity == Validity(not_after=1_798_675_200.0)
    der = x509.load_pem_x509_certificate(LEAF_PEM.encode()).public_bytes(serialization.Encoding.DER)
    assert registry.find_certificate(hashlib.sha256(der).digest()) == identity
    assert registry.find_certificate(bytes.fromhex("ab" * 32)) == identity
    assert registry.find_certificate(bytes(32)) is None


def test_a_credential_without_an_id_has_one_of_what_it_is(folder: Path) -> None:
    def identifier(text: str) -> str:
        identity = of_d1(folder, text).find("d1")
        assert identity is not None
        return identity.credentials[0].id

    first = identifier("type: public_key, algorithm: ES256, pem_file: ec.pem")
    assert first.startswith("d1/public_key-")
    later = "type: public_key, algorithm: ES256, pem_file: ec.pem, not_after: 2030-01-01T00:00:00Z"
    assert identifier(later) == first
    assert identifier("type: public_key, algorithm: RS256, pem_file: rsa.pem") != first


def test_an_authority_says_where_the_name_stands(folder: Path) -> None:
    registry = load(
        folder,
        "authorities: {site: {pem_file: ca.pem, name_from: uri, pattern: 'spiffe://s/{name}',"
        " revocation_list_file: ca.crl}}",
    )
    [authority] = registry.authorities()
    assert (authority.id, authority.name_from) == ("site", NameFrom.URI)
    assert (authority.pem, authority.revocation_list) == (CA_PEM, CRL_PEM)


@pytest.mark.parametrize(
    ("credential", "complaint"),
    [
        ("type: pin", "credentials[0].type: is 'pin'; it must be one of: password, scram"),
        ("password_hash: HASH", "credentials[0].type: is missing"),
        ("type: password", "give exactly one of password_hash"),
        ("type: password, password: x", "a clear password is not taken here"),
        (
            "type: password, password_hash: HASH, id: ' '",
            "].id: ' ' must be a name, a slash",
        ),
        (
            "type: password, password_hash: HASH, not_after: 2026-12-31",
            "not_after: is 2026-12-31; it must be a time such as 2026-12-31T00:00:00Z",
        ),
        (
            "type: password, password_hash: HASH, not_after: 2026-12-31T00:00:00",
            "it must be a time such as",
        ),
        (
            "type: password, password_hash: HASH, not_before: 2026-12-31T00:00:00.5Z",
            "not_before: is 2026-12-31T00:00:00.500000+00:00; it must be in whole seconds",
        ),
        (
            "type: password, password_hash: HASH, not_before: 2027-01-01T00:00:00Z,"
            " not_after: 2026-01-01T00:00:00Z",
            "a validity must begin before it ends",
        ),
        (
            "type: scram, iterations: 4096, salt: '?', stored_key: eA==, server_key: eQ==",
            "credentials[0].salt: is not base64",
        ),
        ("type: public_key, algorithm: HS256, pem: x", "is 'HS256'; it must be one of: RS256, ES"),
        ("type: public_key, algorithm: ES256, pem: x", "credentials[0].pem: is no public key"),
        (
            "type: public_key, algorithm: ES256, pem_file: rsa.pem",
            "pem_file: is a key for RS256, not for ES256",
        ),
        ("type: public_key, algorithm: ES256", "give exactly one of pem and pem_file"),
        ("type: certificate, fingerprint: abcd", "fingerprint: a fingerprint has 32 bytes"),
        ("type: certificate, certificate_file: ec.pem", "is no certificate in PEM"),
    ],
)
def test_a_wrong_credential_is_named(folder: Path, credential: str, complaint: str) -> None:
    with pytest.raises(RegistryError) as caught:
        of_d1(folder, credential)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices: {d1: {gateways: [g], password_hash: HASH}}", "gateways: there is no device 'g'"),
        ("devices: {d1: {gateways: [d1], password_hash: HASH}}", "can't be its own gateway"),
        (
            "services: {s: {role: observer, client_id_prefix: s, gateways: [g], credentials: []}}",
            "services.s.gateways: is not known here",
        ),
        ("devices: {d1: {metadata: {at: 2026-01-01}, credentials: []}}", "what JSON can hold"),
        ("devices: {d1: {metadata: {at: .nan}, credentials: []}}", "what JSON can hold"),
        (
            "devices:\n  d1: {credentials: [{id: d/a, type: password, password_hash: HASH}]}\n"
            "  d2: {credentials: [{id: d/a, type: password, password_hash: HASH}]}",
            "devices.d2.credentials: id 'd/a' is taken, by one of 'd1'",
        ),
        (
            "devices:\n  d1: {credentials: [{type: certificate, certificate_file: leaf.pem}]}\n"
            "  d2: {credentials: [{type: certificate, certificate_file: leaf.pem}]}",
            "is the certificate 'd1/certificate-",
        ),
        ("authorities: {a: {pem_file: leaf.pem}}", "authorities.a.pem_file: is no CA's"),
        ("authorities: {a: {pem_file: ca.pem, pattern: x}}", "must have '{name}' once"),
        ("authorities: {a: {pem_file: ca.pem, revocation_list: x}}", "is no revocation list"),
        (
            "authorities: {a: {pem_file: ca.pem, revocation_list_file: other.crl}}",
            "authorities.a.revocation_list_file: is not signed by the authority",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(RegistryError) as caught:
        load(folder, text)
    assert complaint in str(caught.value)


def test_every_time_that_a_validity_may_have_is_written_and_no_other_is_one() -> None:
    widest = Validity(not_before=FIRST_SECOND, not_after=LAST_SECOND)
    assert validity_values(widest) == {
        "not_before": "0001-01-01T00:00:00Z",
        "not_after": "9999-12-31T23:59:59Z",
    }
    with pytest.raises(ValueError, match="within the years 1 to 9999"):
        Validity(not_after=LAST_SECOND + 1)
