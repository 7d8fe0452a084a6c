"""Which options an error at the start is about, so that who reads it knows what to change.

The packages below know no options: their errors name the broker, the user, the topic. Which option
that came from is known here: by the kind of the error, or because an option's value stands in it.
"""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import Iterator

from mqtt.errors import (
    BrokerNotProved,
    BrokerUnreachable,
    CertificateRejected,
    ConnectionRefused,
    CredentialMissing,
    SessionTakenOver,
    SubscriptionRefused,
)
from transforms.errors import TransformError
from transforms.secrets import SecretRef

# By CONNACK's reason code (MQTT 5.0, 3.2.2.2); the others are the broker's own affairs.
_OF_REFUSALS = {
    0x84: ("protocol",),
    0x85: ("client_id",),
    0x86: ("username", "password"),
    0x87: ("username", "password", "client_id"),
    0x8C: ("login", "username", "password"),
    0x9B: ("broker",),
    0x9C: ("broker",),
    0x9D: ("broker",),
}

_OF_DEAD_LETTERS = ("dead_letter_topic", "dead_letter_table")


def advice(error: Exception, options: object) -> str:
    """Returns what stands behind the error's own words, with the options that it is about.

    ``options`` is the pipeline's dataclass, None before they are read; only what is a field of it
    is named.
    """
    if options is None:
        return ""
    known = {field.name for field in dataclasses.fields(options)}  # type: ignore[arg-type]  # a dataclass
    names = [f"--{name}" for name in _options_of(error, options) if name in known]
    if not names:
        return ""
    *all_but_last, last = names
    return f"; look at {', '.join(all_but_last)}{' and ' if all_but_last else ''}{last}"


def _options_of(error: Exception, options: object) -> tuple[str, ...]:
    match error:
        case ConnectionRefused():
            return _OF_REFUSALS.get(error.reason_code, ())
        case CertificateRejected() if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return ("ca", "broker")
        case CertificateRejected():
            return ("ca", "client_certificate", "client_key", "broker")
        case CredentialMissing():
            return ("password",)
        case BrokerNotProved():
            return ("broker", "username", "password")
        case SubscriptionRefused():
            return ("topics",)
        case BrokerUnreachable():
            return ("broker",)
        case SessionTakenOver():
            return ("client_id",)
        case TransformError():
            return tuple(_named_in(str(error), options))
    return ()


def _named_in(message: str, options: object) -> Iterator[str]:
    """Options whose whole value stands in a message: a topic, a table, a folder, a reference.

    Where dead letters go is made of the output's name, unless its option says so.
    """
    for field in dataclasses.fields(options):  # type: ignore[arg-type]  # a dataclass
        value = getattr(options, field.name)
        if value is None and field.name in _OF_DEAD_LETTERS:
            value = options.dead_letters()  # type: ignore[attr-defined]  # goes with the option
        text = value.reference if isinstance(value, SecretRef) else value
        if not isinstance(text, str) or not text:
            continue
        # A table is written with a colon and with a dot.
        pattern = re.escape(text).replace(":", "[:.]", 1)
        if re.search(rf"(?<![\w./:-]){pattern}(?![\w/-]|\.\w)", message):
            yield field.name
