"""What of docs/broker.md comes from the code: every key of the configuration, metric and figure.

Between ``<!-- broker: NAME -->`` and ``<!-- end -->`` stands what ``python -m docs.generate``
writes: settings from the dataclasses that the file is read into (fields, defaults, the
``Attributes`` of their docstrings), metrics and topics from what makes them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from broker import config
from broker.config import BrokerConfig, EventsConfig, HealthConfig, Listener, StoreConfig
from broker.core import limits
from broker.core.broker import Broker
from broker.core.limits import LIVE, Limits, QueueLimits
from broker.server.measuring import Durations
from broker.server.metrics import Metrics
from broker.server.reloading import LIVE_SETTINGS
from broker.server.system_topics import SystemTopics

PAGE = Path(__file__).parent / "broker.md"

EXAMPLE = """\
listeners:
  - {type: tcp, host: 127.0.0.1, port: 1883}
  - {type: tls, host: 0.0.0.0, port: 8883, certificate_file: server.pem, key_file: server.key}
  - {type: wss, host: 0.0.0.0, port: 8084, path: /mqtt, allowed_origins: ["https://app.example"],
     certificate_file: server.pem, key_file: server.key}
registry: {file: registry.yaml}
store: {file: broker.db, synchronous: full, commit_delay_ms: 0}
administration: {socket: broker.sock}
health: {host: 127.0.0.1, port: 8080}
limits:
  connections: 20000
  service_queue: {messages: 1000000, bytes: 1073741824}
  server_keep_alive_seconds: 300
log: {level: info, format: json}
shutdown_seconds: 5
system_topics_seconds: 10
"""
"""The configuration that the page shows, and where most examples of single keys are from."""

_MORE_EXAMPLES = {
    "registry.url": "sqlite:///registry.db",
    "events.topic": "$SYS/events/%name",
    "events.keep_days": 30.0,
    "tokens.audiences": ["my-project"],
    "scram.decoy_key_file": "decoys.key",
    "listeners[].client_certificates": "optional",
    "listeners[].proxy_protocol.from": ["10.0.0.0/8"],
    "listeners[].proxy_protocol.common_name": "{name}",
    "listeners[].anonymous": "guest",
    "listeners[].anonymous_beyond_loopback": True,
    "listeners[].ignore_credentials": True,
    "limits.refused_filters": ["#"],
    "limits.assign_lasting_client_ids": False,
    "limits.service_messages_per_second": 10_000,
    "limits.service_bytes_per_second": 10_485_760,
    "limits.memory_bytes": 1_073_741_824,
    "limits.response_information": "responses/%client",
    "limits.reveal_reasons": False,
}

_SECTIONS: dict[str, type] = {
    "": BrokerConfig,
    "listeners[].": Listener,
    "store.": StoreConfig,
    "health.": HealthConfig,
    "events.": EventsConfig,
    "limits.": Limits,
}
_SECTION_FIELDS = {"listeners", "store", "health", "events", "limits"}

_KEYS = {
    "registry_file": "registry.file",
    "registry_url": "registry.url",
    "token_audiences": "tokens.audiences",
    "scram_decoy_key_file": "scram.decoy_key_file",
    "administration_socket": "administration.socket",
    "log_level": "log.level",
    "log_format": "log.format",
    "proxies": "proxy_protocol.from",
    "proxy_common_name": "proxy_protocol.common_name",
}
"""Where the file has another name for a field."""

_TYPES = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "`true` or `false`",
    "Path": "path",
    "URL": "URL",
    "QueueLimits": "mapping",
    "tuple[str, ...]": "list of texts",
    "tuple[Network, ...]": "list of networks",
}

_MARKED = re.compile(r"(<!-- broker: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key of the file. ``live``: whether SIGHUP changes it. Texts are Markdown."""

    key: str
    kind: str
    default: str
    meaning: str
    example: str
    live: bool


def settings() -> Iterator[Setting]:
    """Gives every key. Raises KeyError where a docstring or an example is missing."""
    examples = dict(_flat(yaml.safe_load(EXAMPLE), ""))
    for path, kind in _SECTIONS.items():
        meanings = _attributes(kind)
        for item in dataclasses.fields(kind):
            if kind is BrokerConfig and item.name in _SECTION_FIELDS:
                continue
            key = path + _KEYS.get(item.name, item.name)
            default = _default(item)
            example = examples.get(key, _MORE_EXAMPLES.get(key))
            if example is None and kind is Limits:
                example = _plain(default)
            if example is None:
                raise KeyError(f"docs/broker_page.py has no example for {key}")
            live = item.name in (LIVE if kind is Limits else LIVE_SETTINGS)
            yield Setting(
                key=key,
                kind=_kind(str(item.type)),
                default=_shown(default),
                meaning=meanings[item.name],
                example=f"`{key.rsplit('.', 1)[-1]}: {_flow(example)}`",
                live=live,
            )


def rendered(page: str) -> str:
    """Returns the page with what comes from the code. Raises KeyError for a wrong name."""
    makers = {
        "example": lambda: f"```yaml\n{EXAMPLE}```",
        "settings": _settings_table,
        "metrics": _metrics_table,
        "topics": _topics_table,
    }
    return _MARKED.sub(lambda found: f"{found[1]}\n{makers[found[2]]()}\n\n{found[3]}", page)


def generated() -> list[tuple[Path, str]]:
    """Returns the page's file and what it should say."""
    return [(PAGE, rendered(PAGE.read_text(encoding="utf-8")))]


def _settings_table() -> str:
    rows = ["| key | type | default | | example | SIGHUP |", "|---|---|---|---|---|---|"]
    for each in settings():
        cells = (f"`{each.key}`", each.kind, each.default, each.meaning, each.example)
        rows.append(f"| {' | '.join(map(_cell, cells))} | {'yes' if each.live else ''} |")
    return "\n".join(rows)


def _metrics_table() -> str:
    shell: Any = SimpleNamespace(
        core=Broker(limits=Limits(), new_token=str),
        traffic=[],
        commit_durations=Durations(),
        lag=SimpleNamespace(durations=Durations()),
    )
    rows = ["| metric | type | |", "|---|---|---|"]
    metrics = Metrics(shell, is_registry_readable=lambda: True)
    for family in sorted(metrics.collect(), key=lambda family: family.name):
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(rows)


def _topics_table() -> str:
    loop = asyncio.new_event_loop()
    shell: Any = SimpleNamespace(core=Broker(limits=Limits(), new_token=str), traffic=[], loop=loop)
    topics = SystemTopics(shell).values()
    loop.close()
    return "\n".join(f"- `{topic}`" for topic in topics)


def _attributes(kind: type) -> dict[str, str]:
    """What a docstring's ``Attributes`` say of each name."""
    text = inspect.getdoc(kind) or ""
    _, _, block = text.partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for entry in re.split(r"\n  (?=\S)", "\n" + block.split("\n\n")[0].rstrip()):
        names, _, words = entry.strip().partition(": ")
        for name in names.split(", "):
            meanings[name] = _in_yaml(words)
    return meanings


def _in_yaml(words: str) -> str:
    """A docstring's words, with the names that values have in the file."""
    return re.sub(r"\bNone\b", "`null`", " ".join(words.replace("``", "`").split()))


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _kind(annotation: str) -> str:
    name = annotation.removesuffix(" | None")
    if name in _TYPES:
        return _TYPES[name]
    choices = getattr(config, name, None) or getattr(limits, name)
    return ", ".join(f"`{each.value}`" for each in choices)


def _shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    return f"`{_flow(_plain(default))}`"


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, QueueLimits):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value of the example by its key, the last of a list's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}{key}", inner
            yield from _flat(inner, f"{path}{key}.")
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, f"{path.removesuffix('.')}[].")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
