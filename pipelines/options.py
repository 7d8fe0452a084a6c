"""Options of the pipelines: declared once, checked whole before anything starts.

A pipeline's options are a frozen dataclass whose fields are made by :func:`option`; the command
line, its ``--help`` and whatever else describes them (a template's metadata) come from there.
What is not ours is Beam's; what is neither is refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions

from mqtt.client import BrokerAddress
from mqtt.codec import ProtocolVersion
from mqtt.topics import TopicFilter
from pipelines.forms import Kind, Reader, reads
from schemas.codec import Codec
from schemas.errors import SchemaSettingError
from schemas.layout import LAYOUTS, layout_named
from schemas.messages import DeviceRegistry
from transforms.mqttio import BrokerSettings
from transforms.mqttio.subscriptions import check_client_id, check_filters
from transforms.secrets import SecretRef

OptionsT = TypeVar("OptionsT")

_RESOURCE = "[a-zA-Z][a-zA-Z0-9._~+%-]{2,254}"
_PROJECT = "[a-z][a-z0-9.:-]{2,62}"
_TABLE = rf"({_PROJECT})[:.]([A-Za-z0-9_]+)\.([A-Za-z0-9_$-]+)"
_REGISTRY = rf"projects/({_PROJECT})/locations/([a-z0-9-]+)/registries/([^/]+)"
_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_ADDRESS = rf"((mqtts?|tcp|ssl)://{_HOST}/?|wss?://{_HOST}(/[^ ,?#@]*)?)"
_LEVELS = r"([+]|[^+#/,]*)"
_FILTER = rf"(({_LEVELS}/)+([+#]|[^+#/,]*)|[+#]|[^+#/,]+)"


class OptionError(ValueError):
    """An option is unknown, missing, wrong, or contradicts another; the message names it."""


def option(
    help: str,
    *,
    parse: Callable[[str], Any] = str,
    example: str,
    default: Any = MISSING,
) -> Any:
    """Declares an option: what it is, how its text is read, an example that passes.

    ``parse`` raises ValueError with what would be right. Without ``default`` it is required.
    """
    return field(default=default, metadata={"help": help, "parse": parse, "example": example})


def parse_options(
    kind: type[OptionsT], argv: Sequence[str], *, program: str, about: str
) -> tuple[OptionsT, PipelineOptions]:
    """Reads ``argv`` into ``kind`` and Beam's options.

    Raises:
      OptionError: names the option and says what would be right.
      SystemExit: after ``--help``.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    ours, rest = _split(fields, argv)
    if "help" in ours:
        sys.stdout.write(_help(fields, program, about))
        raise SystemExit(0)
    _refuse_unknown(rest, list(fields))
    values = {}
    for name, item in fields.items():
        if name not in ours:
            if item.default is MISSING:
                raise OptionError(
                    f"--{name} is missing: {_first_sentence(item)},"
                    f" as in --{name}={item.metadata['example']}"
                )
            continue
        try:
            values[name] = item.metadata["parse"](ours[name])
        except (ValueError, SchemaSettingError) as error:
            raise OptionError(
                f"--{name}: {error}; an example is --{name}={item.metadata['example']}"
            ) from error
    try:
        result = kind(**values)
    except OptionError:
        raise
    except ValueError as error:
        raise OptionError(str(error)) from error
    return result, PipelineOptions(rest)


def shown_default(item: dataclasses.Field[Any]) -> str | None:
    """Returns an option's default as it would be typed; None if it has none, or an empty one."""
    default = item.default
    if default is MISSING or default in (None, "", ()):
        return None
    if isinstance(default, ProtocolVersion):
        return "3.1.1" if default is ProtocolVersion.V311 else "5"
    if isinstance(default, bool):
        return str(default).lower()
    return str(getattr(default, "name", f"{default:g}" if isinstance(default, float) else default))


@reads(Kind.BOOLEAN, pattern="true|false")
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

    @reads(Kind.NUMBER, pattern=f"{sign}{first}{rest}")
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Reader[float]:
    """Returns a reader of seconds from ``low`` to ``high``."""

    @reads(Kind.NUMBER, pattern=rf"{'-?' if low < 0 else ''}[0-9]+(\.[0-9]+)?")
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"must be {low:g} to {high:g} seconds, got {text!r}")
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


@reads(Kind.TEXT, pattern=rf"{_ADDRESS}(, *{_ADDRESS})*")
def addresses(text: str) -> tuple[BrokerAddress, ...]:
    """Reads broker addresses, separated by commas."""
    return tuple(BrokerAddress.parse(item.strip()) for item in text.split(","))


@reads(Kind.TEXT, pattern=rf"{_FILTER}(,{_FILTER})*")
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


@reads(Kind.TEXT, pattern="[A-Za-z0-9_.-]+")
def schema_id(text: str) -> str:
    """Reads the id of a schema that comes with the package."""
    Codec.packaged(default_schema_id=text)
    return text


@reads(Kind.TEXT, pattern=_REGISTRY)
def iot_core_registry(text: str) -> DeviceRegistry:
    """Reads projects/P/locations/L/registries/R."""
    match = re.fullmatch(_REGISTRY, text)
    if match is None:
        raise ValueError(f"must be projects/PROJECT/locations/LOCATION/registries/ID, got {text!r}")
    project_id, location, registry_id = match.groups()
    return DeviceRegistry(project_id=project_id, location=location, registry_id=registry_id)


def _resource(kind: str, form: Kind) -> Reader[str]:
    pattern = f"projects/{_PROJECT}/{kind}s/{_RESOURCE}"

    @reads(form, pattern=pattern)
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(
                f"must be projects/PROJECT/{kind}s/{kind.upper()}, each name of 3 characters or"
                f" more that begins with a letter, got {text!r}"
            )
        return text

    return parse


pubsub_topic = _resource("topic", Kind.TOPIC)
pubsub_subscription = _resource("subscription", Kind.SUBSCRIPTION)


@reads(Kind.TABLE, pattern=_TABLE)
def bigquery_table(text: str) -> str:
    """Reads PROJECT:DATASET.TABLE or PROJECT.DATASET.TABLE; gives the latter."""
    match = re.fullmatch(_TABLE, text)
    if match is None:
        raise ValueError(f"must be PROJECT:DATASET.TABLE, got {text!r}")
    return ".".join(match.groups())


@reads(Kind.FOLDER)
def folder(text: str) -> str:
    """Reads a folder, gs:// or local."""
    return text


@reads(Kind.FILE)
def file(text: str) -> str:
    """Reads a file, gs:// or local."""
    return text


client_id = reads(Kind.TEXT, pattern=r"[^/+#$ ]+")(check_client_id)
secret = reads(Kind.SECRET)(SecretRef.parse)
layout = reads(Kind.WORD, words=tuple(LAYOUTS))(layout_named)


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """How to reach the MQTT brokers; the same for every pipeline that does."""

    broker: tuple[BrokerAddress, ...] = option(
        "Broker address, or several separated by commas that are tried in turn: mqtt:// or tcp://"
        " (plain), mqtts:// or ssl:// (TLS), ws:// or wss:// (WebSocket; its path is /mqtt unless"
        " the address has one).",
        parse=addresses,
        example="mqtts://broker.example.com:8883",
    )
    client_id: str = option(
        "Prefix of the MQTT client identifiers: the same at every start, and of this pipeline"
        " alone. The broker keeps the pipeline's messages under it.",
        parse=client_id,
        example="telemetry-eu",
    )
    protocol: ProtocolVersion = option(
        "MQTT version, 5 or 3.1.1.", parse=protocol, example="5", default=ProtocolVersion.V5
    )
    username: str | None = option("MQTT user name.", example="pipeline", default=None)
    password: SecretRef | None = option(
        "Reference to the password or token: projects/P/secrets/S/versions/V, file:PATH or"
        " env:NAME. Never the password itself.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-password/versions/latest",
        default=None,
    )
    ca: SecretRef | None = option(
        "Reference to the CA certificate (PEM) that the broker's certificate is checked against;"
        " without it the system's authorities.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-ca",
        default=None,
    )
    client_certificate: SecretRef | None = option(
        "Reference to a client certificate (PEM); needs client_key.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-certificate",
        default=None,
    )
    client_key: SecretRef | None = option(
        "Reference to the client certificate's key (PEM).",
        parse=secret,
        example="projects/my-project/secrets/mqtt-key",
        default=None,
    )
    keep_alive_seconds: int = option(
        "Longest silence on the connection.", parse=integer(1, 65_535), example="30", default=30
    )
    start_timeout_seconds: float = option(
        "How long brokers, topics and tables are waited for at the start before it fails.",
        parse=seconds(1, 3_600),
        example="60",
        default=60.0,
    )

    def broker_settings(self) -> BrokerSettings:
        """Returns the connection settings. Raises OptionError where options contradict."""
        try:
            return BrokerSettings(
                addresses=self.broker,
                protocol=self.protocol,
                username=self.username,
                password=self.password,
                ca=self.ca,
                certificate=self.client_certificate,
                key=self.client_key,
                keep_alive_seconds=self.keep_alive_seconds,
                start_timeout_seconds=self.start_timeout_seconds,
            )
        except ValueError as error:
            raise OptionError(str(error)) from error

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            missing = "client_key" if self.client_key is None else "client_certificate"
            raise OptionError(f"--{missing} is missing: a certificate and its key go together")
        v311 = self.protocol is ProtocolVersion.V311
        if v311 and self.password is not None and self.username is None:
            raise OptionError(
                "--username is missing: MQTT 3.1.1 takes a password only with a user name"
            )
        if (self.ca or self.client_certificate) and not any(item.tls for item in self.broker):
            raise OptionError(
                "--ca and --client_certificate are of use only with TLS: give --broker=mqtts://… or wss://…"
            )


layout_option = option(
    "Topic layout: default (devices/DEVICE/telemetry/…) or iot-core (/devices/DEVICE/events/…).",
    parse=layout,
    example="default",
    default=layout_named("default"),
)


def _split(fields: dict[str, Any], argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Parts our options from Beam's; ``--name value`` and ``--name=value`` are both taken."""
    ours: dict[str, str] = {}
    rest: list[str] = []
    items = list(argv)
    while items:
        item = items.pop(0)
        if item in ("-h", "--help"):
            ours["help"] = ""
            continue
        name, equals, value = item.removeprefix("--").partition("=")
        if not item.startswith("--") or name not in fields:
            rest.append(item)
            continue
        if not equals:
            if not items or items[0].startswith("--"):
                raise OptionError(
                    f"--{name} has no value; an example is"
                    f" --{name}={fields[name].metadata['example']}"
                )
            value = items.pop(0)
        if name in ours:
            raise OptionError(f"--{name} is given twice")
        ours[name] = value
    return ours, rest


def _refuse_unknown(rest: list[str], ours: list[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    try:
        _, unknown = parser.parse_known_args(rest)
    except (argparse.ArgumentError, SystemExit) as error:
        raise OptionError(str(error)) from error
    if not unknown:
        return
    name = unknown[0].removeprefix("--").partition("=")[0]
    known = ours + [action.dest for action in parser._actions]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "--help lists the options"
    raise OptionError(f"unknown option {unknown[0].partition('=')[0]!r}: {hint}")


def _help(fields: dict[str, Any], program: str, about: str) -> str:
    required = [name for name, item in fields.items() if item.default is MISSING]
    usage = " ".join(f"--{name}={fields[name].metadata['example']}" for name in required)
    lines = [about.strip(), "", "Example:", f"  {program} {usage}", "", "Options:"]
    for name, item in fields.items():
        lines.append(f"  --{name}" + ("  (required)" if name in required else ""))
        text = item.metadata["help"]
        default = shown_default(item)
        if default is not None:
            text += f" Default: {default}."
        lines += textwrap.wrap(text, 92, initial_indent="      ", subsequent_indent="      ")
    lines += ["", "Beam's own options (--runner=…, --project=…) are taken too.", ""]
    return "\n".join(lines)


def _first_sentence(item: Any) -> str:
    text: str = re.split(r"[.:;](?: |$)", item.metadata["help"])[0]
    first = text.partition(" ")[0]
    # Names stay as they are: Pub/Sub, BigQuery, MQTT.
    return text[0].lower() + text[1:] if first[1:].islower() and first.isalpha() else text
