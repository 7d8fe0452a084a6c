"""MQTT.js in a Node process; installed on demand, as its lock file says, into build/mqttjs."""

from __future__ import annotations

import fcntl
import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.broker.interop.driver import Arrived, Endpoint, Last

SOURCE = Path(__file__).parent / "mqttjs"
TARGET = Path(__file__).parents[3] / "build" / "mqttjs"
_FILES = ("package.json", "package-lock.json", "client.mjs")


def installed() -> Path:
    """Returns the folder with the client; skips the test where it can't be installed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not installed")
    TARGET.mkdir(parents=True, exist_ok=True)
    with (TARGET.parent / "mqttjs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stale = _text(TARGET / "installed") != _text(SOURCE / "package-lock.json")
        for name in _FILES:
            shutil.copy(SOURCE / name, TARGET / name)
        if stale:
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command, cwd=TARGET, capture_output=True, text=True, timeout=100, check=False
            )
            if done.returncode:
                pytest.skip(f"MQTT.js could not be installed: {done.stderr.strip()[-200:]}")
            shutil.copy(SOURCE / "package-lock.json", TARGET / "installed")
    return TARGET


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


class MqttJs:
    """Talks to client.mjs by lines of JSON."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "client.mjs"],
            cwd=installed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._arrived: list[Arrived] = []
        self._five = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def connect(self, endpoint: Endpoint, *, clean: bool, will: Last | None) -> bool | None:
        scheme = endpoint.transport.value
        url = f"{ {'tcp': 'mqtt', 'tls': 'mqtts'}.get(scheme, scheme) }://127.0.0.1:{endpoint.port}"
        self._five = endpoint.version == 5
        answer = self._ask(
            "connect",
            url=f"{url}/mqtt" if endpoint.has_websocket else url,
            ca=None if endpoint.ca is None else str(endpoint.ca),
            version=endpoint.version,
            clientId=endpoint.client_id,
            username=endpoint.username,
            password=endpoint.password,
            clean=clean,
            will=None
            if will is None
            else {
                "topic": will.topic,
                "payload": will.payload.decode(),
                "qos": will.qos,
                "retain": will.retain,
            },
        )
        present: bool = answer["present"]
        return present

    def subscribe(self, topic: str, qos: int) -> None:
        assert self._ask("subscribe", topic=topic, qos=qos)["granted"] == [qos]

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, **properties: Any
    ) -> None:
        named = {
            "userProperties": dict(properties.get("user_properties", [])),
            "contentType": properties.get("content_type"),
        }
        self._ask(
            "publish",
            topic=topic,
            payload=payload.decode(),
            qos=qos,
            retain=retain,
            properties=named if properties else {},
        )

    def received(self) -> list[Arrived]:
        return list(self._arrived)

    def disconnect(self) -> None:
        self._ask("disconnect")

    def vanish(self) -> None:
        self._ask("vanish")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, request: str, **more: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"request": request, **more}) + "\n")
        self._process.stdin.flush()
        said = self._answers.get(timeout=20)
        assert "error" not in said, said
        answer: dict[str, Any] = said["answer"]
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            message = said.get("message")
            if message is None:
                self._answers.put(said)
                continue
            properties = message["properties"] or {}
            users = properties.get("userProperties", {})
            self._arrived.append(
                Arrived(
                    topic=message["topic"],
                    payload=message["payload"].encode(),
                    qos=message["qos"],
                    retain=message["retain"],
                    user_properties=list(users.items()) if self._five else None,
                    content_type=properties.get("contentType"),
                )
            )
