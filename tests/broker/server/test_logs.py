"""What the log says of clients, as text and as JSON, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from broker.config import LogFormat, LogLevel
from broker.registry.registry_url import registry_url
from broker.registry.sql import SqlRegistry
from broker.server import logs
from tests.broker.server.conftest import Running, eventually


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What goes to standard error once ``configure`` was called."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def configure(stream: io.StringIO, level: LogLevel, form: LogFormat) -> None:
    logs.configure(level, form)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    # pytest has its own ideas of what standard error is.
    handler.setStream(stream)


def login(running: Running, name: str, password: str, client_id: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.username_pw_set(name, password)
    client.connect("127.0.0.1", running.port)
    client.loop_start()
    return client


def told(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_what_makes_the_tables_of_a_registry_says_nothing(log: io.StringIO, tmp_path: Path) -> None:
    configure(log, LogLevel.INFO, LogFormat.TEXT)
    SqlRegistry(registry_url("sqlite:///r.db", folder=tmp_path)).close()
    assert log.getvalue() == ""


def test_a_line_of_json_says_who_where_what_and_why(
    start: Callable[..., Running], log: io.StringIO
) -> None:
    configure(log, LogLevel.DEBUG, LogFormat.JSON)
    running = start()
    client = login(running, "all", running.passwords["all"], "all-1")
    eventually(lambda: told(log, "connected"))
    (line,) = told(log, "connected")
    assert set(line) == {
        *("time", "level", "logger", "event", "client_id", "peer", "listener", "message")
    }
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["peer"])
    assert (line["client_id"], line["level"]) == ("all-1", "info")
    assert line["listener"] == "tcp 127.0.0.1:0"
    assert line["time"].endswith("Z")
    client.disconnect()
    eventually(lambda: told(log, "disconnected"))
    assert told(log, "disconnected")[0]["reason"] == "normal_disconnection"
    client.loop_stop()


def test_a_connection_without_a_connect_has_an_address_and_no_identifier(
    start: Callable[..., Running], log: io.StringIO
) -> None:
    configure(log, LogLevel.DEBUG, LogFormat.JSON)
    with socket.create_connection(("127.0.0.1", start().port)) as client:
        client.sendall(b"\xc0\x00")
        eventually(lambda: told(log, "closed_before_connack"))
        (line,) = told(log, "closed_before_connack")
        assert line["peer"] == f"127.0.0.1:{client.getsockname()[1]}"
    assert "client_id" not in line


def test_no_password_is_ever_told(start: Callable[..., Running], log: io.StringIO) -> None:
    configure(log, LogLevel.DEBUG, LogFormat.JSON)
    running = start()
    client = login(running, "all", "a-secret-of-mine", "all-1")
    eventually(lambda: told(log, "connect_refused"))
    assert told(log, "connect_refused")[0]["level"] == "warning"
    client.loop_stop()
    right = login(running, "all", running.passwords["all"], "all-1")
    eventually(lambda: told(log, "connected"))
    right.disconnect()
    right.loop_stop()
    assert "a-secret-of-mine" not in log.getvalue()
    assert running.passwords["all"] not in log.getvalue()


def test_a_client_can_not_write_a_line_of_its_own(
    start: Callable[..., Running], log: io.StringIO
) -> None:
    configure(log, LogLevel.INFO, LogFormat.TEXT)
    running = start()
    client = login(running, "all", running.passwords["all"], "all-1\n2026 ERROR broker: \x1b[31m")
    eventually(lambda: "connected from" in log.getvalue())
    client.disconnect()
    client.loop_stop()
    (line,) = [line for line in log.getvalue().splitlines() if "connected from" in line]
    assert "INFO broker all-1\\n2026 ERROR broker: \\x1b[31m: connected from 127.0.0.1:" in line


def test_an_exception_is_one_line_of_json(log: io.StringIO) -> None:
    configure(log, LogLevel.INFO, LogFormat.JSON)
    try:
        raise ValueError("wrong")
    except ValueError:
        logging.getLogger("broker").exception("it went wrong")
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["message"]) == ("log", "it went wrong")
    assert line["error"].endswith("ValueError: wrong")


def test_what_is_below_the_level_is_left_out(log: io.StringIO) -> None:
    configure(log, LogLevel.WARNING, LogFormat.TEXT)
    logging.getLogger("broker").info("small talk")
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    "command", [("broker.server",), ("cli", "broker", "serve")], ids=["module", "command line"]
)
def test_what_ends_the_broker_is_a_line_of_the_log_s_form(
    tmp_path: Path, command: Sequence[str]
) -> None:
    path = tmp_path / "broker.yaml"

    def ends_with(form: str) -> str:
        path.write_text(
            f"listeners: [{{port: 0}}]\nregistry: {{file: none.yaml}}\nlog: {{format: {form}}}\n"
        )
        module, *words = command
        done = subprocess.run(
            [sys.executable, "-m", module, *words, "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        return done.stderr.splitlines()[-1]

    words = ends_with("text").removeprefix("error: ")
    assert "none.yaml" in words
    line = json.loads(ends_with("json"))
    assert (line["level"], line["event"], line["message"]) == ("critical", "broker_failed", words)
