"""Credentials in the YAML registry: one mapping each, in both directions.

::

    credentials:
      - type: password
        password_hash: $argon2id$v=19$…                         # or password_file, password_env
        other_hashes: {mosquitto: $7$…}                         # beside a password_hash alone
      - {type: scram, iterations: 4096, salt: …, stored_key: …, server_key: …}        # base64
      - {type: public_key, algorithm: ES256, pem: "-----BEGIN PUBLIC KEY-----…"}      # or pem_file
      - {type: certificate, fingerprint: 64 hexadecimal digits}           # or certificate_file

Each may have an ``id``, ``not_before`` and ``not_after`` (RFC 3339, whole seconds). Without one the
id is made of the name and of what the credential is: another one in its place has another id.

``other_hashes`` are in formats that the file's ``password_formats`` has. A clear password is hashed
in each of those.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from broker.auth.identity import (
    Certificate,
    Credential,
    KeyAlgorithm,
    Password,
    PublicKey,
    ScramSecret,
    Validity,
)
from broker.auth.password_formats import OtherHash
from broker.auth.password_hash import PasswordHash
from broker.registry import pem
from broker.registry.entries import check_credential
from broker.registry.yaml_secrets import Secrets
from broker.yaml_file import Section

PASSWORD_KEYS = ("password_hash", "password_file", "password_env")


def read_credential(entry: Section, owner: str, secrets: Secrets) -> Credential:
    """The credential of a mapping; ``owner`` is the name of whoever has it."""
    kind = entry.take("type", str)
    read = _READERS.get(kind)
    if read is None:
        raise entry.fail("type", f"is {kind!r}; it must be one of: {', '.join(_READERS)}")
    identifier = entry.take_optional("id", str)
    validity = read_validity(entry)
    make = read(entry, secrets)
    entry.finish()
    credential = make(identifier or "unnamed", validity)
    if identifier is None:
        credential = make(f"{owner}/{kind}-{_digest(credential)}", validity)
    return entry.build("id", partial(_checked, credential))


def read_password(entry: Section, owner: str, secrets: Secrets) -> Password | None:
    """The password that stands in an entry itself, or None."""
    if "password" not in entry and not any(key in entry for key in PASSWORD_KEYS):
        for key in PASSWORD_KEYS:
            entry.take_optional(key, str)
        return None
    make = _password(entry, secrets)
    made = make("unnamed", Validity())
    return make(f"{owner}/password-{_digest(made)}", Validity())


def read_validity(entry: Section) -> Validity:
    """``not_before`` and ``not_after``, either of which may be missing."""
    bounds = {key: entry.take_time(key) for key in ("not_before", "not_after")}
    for key, moment in bounds.items():
        if moment is not None and moment.microsecond:
            raise entry.fail(key, f"is {moment.isoformat()}; it must be in whole seconds")
    seconds = {key: None if at is None else at.timestamp() for key, at in bounds.items()}
    return entry.build("not_after", lambda: Validity(**seconds))


def credential_values(credential: Credential) -> dict[str, Any]:
    """The mapping that is read as this credential."""
    values: dict[str, Any] = {"id": credential.id}
    match credential:
        case Password():
            values |= {"type": "password", "password_hash": credential.hash.encoded}
            if credential.others:
                values["other_hashes"] = {each.format: each.encoded for each in credential.others}
        case ScramSecret():
            values |= {
                "type": "scram",
                "iterations": credential.iterations,
                "salt": _base64(credential.salt),
                "stored_key": _base64(credential.stored_key),
                "server_key": _base64(credential.server_key),
            }
        case PublicKey():
            values |= {
                "type": "public_key",
                "algorithm": credential.algorithm.value,
                "pem": credential.pem,
            }
        case Certificate():
            values |= {"type": "certificate", "fingerprint": credential.fingerprint.hex()}
    return values | validity_values(credential.validity)


def validity_values(validity: Validity) -> dict[str, str]:
    """Its bounds as text, those that there are."""
    bounds = {"not_before": validity.not_before, "not_after": validity.not_after}
    return {key: _time(seconds) for key, seconds in bounds.items() if seconds is not None}


_PLAIN = re.compile(r"[A-Za-z0-9$=,+/]*")

_Make = Callable[[str, Validity], Credential]


def _password(entry: Section, secrets: Secrets) -> Callable[[str, Validity], Password]:
    if "password" in entry:
        raise entry.fail(
            "password",
            f"a clear password is not taken here; give one of {', '.join(PASSWORD_KEYS)}",
        )
    given = {key: entry.take_optional(key, str) for key in PASSWORD_KEYS}
    chosen = [(key, value) for key, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise entry.fail(
            "password_hash", f"give exactly one of {', '.join(PASSWORD_KEYS)}, not {len(chosen)}"
        )
    [(key, value)] = chosen
    given_others = entry.section("other_hashes")
    if key == "password_hash":
        stored = entry.build(key, lambda: PasswordHash(encoded=value))
        others = tuple(_other(given_others, name) for name in given_others.names())
    else:
        if given_others.names():
            raise entry.fail("other_hashes", f"are made of {key}; give them beside password_hash")
        if key == "password_env":
            clear = secrets.variable(entry, key, value)
        else:
            clear = secrets.text(entry, key, value).removesuffix("\n")
        stored, others = secrets.hash_of(entry, key, clear), secrets.others_of(clear)
    return lambda identifier, validity: Password(
        id=identifier, validity=validity, hash=stored, others=others
    )


def _other(section: Section, name: str) -> OtherHash:
    encoded = section.take(name, str)
    return section.build(name, lambda: OtherHash(format=name, encoded=encoded))


def _scram(entry: Section, secrets: Secrets) -> _Make:
    iterations = entry.take("iterations", int)
    salt, stored_key, server_key = (
        entry.build(key, partial(_from_base64, entry.take(key, str)))
        for key in ("salt", "stored_key", "server_key")
    )
    return lambda identifier, validity: ScramSecret(
        id=identifier,
        validity=validity,
        salt=salt,
        iterations=iterations,
        stored_key=stored_key,
        server_key=server_key,
    )


def _public_key(entry: Section, secrets: Secrets) -> _Make:
    name = entry.take("algorithm", str)
    known = {algorithm.value: algorithm for algorithm in KeyAlgorithm}
    if name not in known:
        raise entry.fail("algorithm", f"is {name!r}; it must be one of: {', '.join(known)}")
    text = secrets.inline_or_file(entry, "pem", partial(pem.check_public_key, known[name]))
    return lambda identifier, validity: PublicKey(
        id=identifier, validity=validity, algorithm=known[name], pem=text
    )


def _certificate(entry: Section, secrets: Secrets) -> _Make:
    file = entry.take_optional("certificate_file", str)
    if file is not None:
        text = secrets.text(entry, "certificate_file", file)
        digest = entry.build("certificate_file", partial(pem.fingerprint, text))
    else:
        written = entry.take("fingerprint", str)
        digest = entry.build("fingerprint", lambda: bytes.fromhex(written.replace(":", "")))
    make = partial(Certificate, fingerprint=digest)
    entry.build("fingerprint", partial(make, id="unnamed"))
    return lambda identifier, validity: make(id=identifier, validity=validity)


_READERS: dict[str, Callable[[Section, Secrets], _Make]] = {
    "password": _password,
    "scram": _scram,
    "public_key": _public_key,
    "certificate": _certificate,
}


def _checked(credential: Credential) -> Credential:
    check_credential(credential)
    return credential


def _digest(credential: Credential) -> str:
    """Twelve hexadecimal digits of what the credential is, whenever it holds, and wherever else."""
    if isinstance(credential, Password) and _PLAIN.fullmatch(credential.hash.encoded):
        # Most of them; as below, in a third of the time.
        text = f'{{"password_hash": "{credential.hash.encoded}", "type": "password"}}'
        return hashlib.sha256(text.encode()).hexdigest()[:12]
    values = credential_values(credential)
    for key in ("id", "not_before", "not_after", "other_hashes"):
        values.pop(key, None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as problem:
        raise ValueError("is not base64") from problem
