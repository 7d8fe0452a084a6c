"""How the texts of options are read: each reader raises ValueError with what would be right."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from mqtt.client import BrokerAddress
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter
from pipelines.forms import Kind, Reader, reads
from schemas.codec import Codec
from schemas.layout import LAYOUTS, layout_named
from schemas.messages import DeviceRegistry
from schemas.times import parse_time
from transforms.mqttio.subscriptions import check_client_id, check_filters
from transforms.secrets import SecretRef

_RESOURCE = "[a-zA-Z][a-zA-Z0-9._~+%-]{2,254}"
_PROJECT = "[a-z][a-z0-9.:-]{2,62}"
_TABLE = rf"({_PROJECT})[:.]([A-Za-z0-9_]+)\.([A-Za-z0-9_$-]+)"
_REGISTRY = rf"projects/({_PROJECT})/locations/([a-z0-9-]+)/registries/([^/]+)"
_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_ADDRESS = rf"((mqtts?|tcp|ssl)://{_HOST}/?|wss?://{_HOST}(/[^ ,?#@]*)?)"
_LEVELS = r"([+]|[^+#/,]*)"
_FILTER = rf"(({_LEVELS}/)+([+#]|[^+#/,]*)|[+#]|[^+#/,]+)"


@reads(Kind.BOOLEAN, pattern="true|false", says="true or false")
def boolean(text: str) -> bool:
    """Reads true or false."""
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, got {text!r}")
    return text == "true"


def integer(low: int, high: int) -> Reader[int]:
    """Returns a reader of whole numbers from ``low`` to ``high``."""
    digits = max(len(str(abs(low))), len(str(abs(high))))
    sign, first = ("-?", "") if low < 0 else ("", "[1-9]" if low > 0 else "")
    rest = f"[0-9]{{{0 if first else 1},{digits - bool(first)}}}"
    said = f"a whole number from {low} to {high}"

    @reads(
        Kind.NUMBER,
        pattern=f"{sign}{first}{rest}",
        says=f"{said} in the digits 0 to 9, without a zero before it",
    )
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(f"must be {said}, got {text!r}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Reader[float]:
    """Returns a reader of seconds from ``low`` to ``high``."""
    said = f"{low:g} to {high:g} seconds"

    @reads(
        Kind.NUMBER,
        pattern=rf"{'-?' if low < 0 else ''}[0-9]+(\.[0-9]+)?",
        says=f"{said} in the digits 0 to 9, such as 30 or 2.5",
    )
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"must be {said}, got {text!r}")
        return value

    return parse


def choice(**choices: Any) -> Reader[Any]:
    """Returns a reader of one of some words."""

    @reads(Kind.WORD, words=tuple(choices))
    def parse(text: str) -> Any:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, got {text!r}")
        return choices[text]

    return parse


@reads(
    Kind.TEXT,
    pattern=rf"{_ADDRESS}(, *{_ADDRESS})*",
    says="SCHEME://HOST[:PORT], several separated by commas: the scheme in small letters, the host"
    " a name of the letters a to z, digits, dots, dashes and underscores, or an IPv6 address in"
    " brackets",
)
def addresses(text: str) -> tuple[BrokerAddress, ...]:
    """Reads broker addresses, separated by commas."""
    return tuple(BrokerAddress.parse(item.strip()) for item in text.split(","))


@reads(
    Kind.TEXT,
    pattern=rf"{_FILTER}(,{_FILTER})*",
    says="topic filters separated by commas, in which + is a whole level and # the last",
)
def topic_filters(text: str) -> tuple[str, ...]:
    """Reads topic filters, separated by commas, that do not overlap."""
    filters = [TopicFilter.parse(item.strip()) for item in text.split(",")]
    check_filters(filters)
    return tuple(map(str, filters))


@reads(Kind.WORD, words=("5", "3.1.1"))
def protocol(text: str) -> ProtocolVersion:
    """Reads a protocol version."""
    versions = {"5": ProtocolVersion.V5, "5.0": ProtocolVersion.V5, "3.1.1": ProtocolVersion.V311}
    if text not in versions:
        raise ValueError(f"must be 5 or 3.1.1, got {text!r}")
    return versions[text]


@reads(
    Kind.TEXT,
    pattern="[A-Za-z0-9_.-]+",
    says="an id of the letters a to z, digits, underscores, dots and dashes",
)
def schema_id(text: str) -> str:
    """Reads the id of a schema that comes with the package."""
    Codec.packaged(default_schema_id=text)
    return text


@reads(Kind.TEXT, pattern=_REGISTRY, says="projects/PROJECT/locations/LOCATION/registries/ID")
def iot_core_registry(text: str) -> DeviceRegistry:
    """Reads projects/P/locations/L/registries/R."""
    match = re.fullmatch(_REGISTRY, text)
    if match is None:
        raise ValueError(f"must be projects/PROJECT/locations/LOCATION/registries/ID, got {text!r}")
    project_id, location, registry_id = match.groups()
    return DeviceRegistry(project_id=project_id, location=location, registry_id=registry_id)


def _resource(kind: str, form: Kind) -> Reader[str]:
    pattern = f"projects/{_PROJECT}/{kind}s/{_RESOURCE}"
    said = (
        f"projects/PROJECT/{kind}s/{kind.upper()}, each name of 3 characters or more that begins"
        " with a letter"
    )

    @reads(form, pattern=pattern, says=said)
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {said}, got {text!r}")
        return text

    return parse


pubsub_topic = _resource("topic", Kind.TOPIC)
pubsub_subscription = _resource("subscription", Kind.SUBSCRIPTION)


@reads(Kind.TABLE, pattern=_TABLE, says="PROJECT:DATASET.TABLE")
def bigquery_table(text: str) -> str:
    """Reads PROJECT:DATASET.TABLE or PROJECT.DATASET.TABLE; gives the latter."""
    match = re.fullmatch(_TABLE, text)
    if match is None:
        raise ValueError(f"must be PROJECT:DATASET.TABLE, got {text!r}")
    return ".".join(match.groups())


@reads(Kind.TEXT)
def moment(text: str) -> datetime:
    """Reads an RFC 3339 time."""
    return parse_time(text)


@reads(Kind.FOLDER)
def folder(text: str) -> str:
    """Reads a folder, gs:// or local."""
    scheme, separator, _ = text.partition("://")
    if not text or (separator and scheme != "gs"):
        raise ValueError(
            "must be gs://BUCKET/FOLDER, or the path of a local folder without a scheme, got"
            f" {text!r}"
        )
    if set(text) & set("*?[]"):
        raise ValueError(
            f"must not hold any of * ? [ ], which are taken for patterns, got {text!r}"
        )
    return text


@reads(Kind.FILE)
def file(text: str) -> str:
    """Reads a file, gs:// or local."""
    return text


client_id = reads(
    Kind.TEXT, pattern=r"[^/+#$ ]+", says="an id without '/', '+', '#', '$' and spaces"
)(check_client_id)
secret = reads(Kind.SECRET)(SecretRef.parse)
layout = reads(Kind.WORD, words=tuple(LAYOUTS))(layout_named)
