"""The broker of a measurement: mosquitto where it is installed, else this project's own."""

from __future__ import annotations

import enum
import shutil
import subprocess
import sys
from pathlib import Path

from bench.processes import BenchError

USER = "bench"
CLIENT_ID_PREFIX = "bench-"
"""Every client of the bench has an id under it: our broker gives an id to one principal alone."""


class BrokerKind(enum.Enum):
    """Which broker. Only our own has versions with a store, whose commits are durable (``stored``:
    synced each, which is the default; ``normal``: synced now and then).
    """

    MOSQUITTO = "mosquitto"
    OWN = "own"
    OWN_NORMAL = "own-normal"
    OWN_STORED = "own-stored"
    AMQTT = "amqtt"


# Unlimited queues, and a window in flight that leaves packet identifiers to spare (65,535 in
# all): with mosquitto's defaults (20 in flight, 1,000 queued) it would drop what it cannot
# deliver at once. QoS 1 to a slow peer is then never lost at the broker.
_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 20000
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_type error
log_type warning
"""
# Debian puts it into sbin, which is not on everybody's PATH.
_MOSQUITTO_PLACES = ("mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")

_OWN = """\
listeners:
  - {{type: tcp, host: 127.0.0.1, port: {port}}}
registry: {{file: registry.yaml}}
{store}limits:
  receive_maximum: 20000
  service_queue: {{messages: 10000000, bytes: 8589934592}}
log: {{level: warning}}
"""
_STORES = {
    BrokerKind.OWN: "",
    BrokerKind.OWN_NORMAL: "store: {file: broker.db, synchronous: normal}\n",
    BrokerKind.OWN_STORED: "store: {file: broker.db}\n",
}
_AMQTT = """\
listeners:
  default: {{type: tcp, bind: "127.0.0.1:{port}", max_connections: 20000}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}
"""
_OWN_REGISTRY = """\
version: 1
roles:
  bench:
    publish: {allow: ["devices/#"]}
    subscribe: {allow: ["devices/#"]}
services:
  bench:
    role: bench
    client_id_prefix: bench-
    password_env: BENCH_PASSWORD
"""


def default_broker() -> BrokerKind:
    """mosquitto where it is installed, else our own."""
    return BrokerKind.MOSQUITTO if find_mosquitto() else BrokerKind.OWN


def command(kind: BrokerKind, port: int, folder: Path) -> list[str]:
    """The command line that serves MQTT on 127.0.0.1:``port``; its files go to ``folder``.

    mosquitto and amqtt take any user name and password; our own takes ``USER`` with the password
    that stands in BENCH_PASSWORD.

    Raises:
      BenchError: mosquitto is wanted and not installed.
    """
    if kind is BrokerKind.AMQTT:
        config = folder / "amqtt.yaml"
        config.write_text(_AMQTT.format(port=port))
        return [str(Path(sys.executable).parent / "amqtt"), "-c", str(config)]
    if kind is not BrokerKind.MOSQUITTO:
        config = folder / "broker.yaml"
        config.write_text(_OWN.format(port=port, store=_STORES[kind]))
        (folder / "registry.yaml").write_text(_OWN_REGISTRY)
        return [sys.executable, "-m", "broker.server", "--config", str(config)]
    mosquitto = find_mosquitto()
    if mosquitto is None:
        raise BenchError("mosquitto is not installed (apt-get install mosquitto); or --broker own")
    config = folder / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(port=port))
    return [mosquitto, "-c", str(config)]


def describe(kind: BrokerKind) -> str:
    """What the broker says it is, for the report."""
    mosquitto = find_mosquitto()
    if kind is BrokerKind.OWN or mosquitto is None:
        return "this project's own"
    said = subprocess.run([mosquitto, "-h"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0]


def find_mosquitto() -> str | None:
    """The path of mosquitto, or None."""
    return next((found for place in _MOSQUITTO_PLACES if (found := shutil.which(place))), None)
