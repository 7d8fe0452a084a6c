"""A core with a clock that is turned by hand, and the servers that the conformance suite drives."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.pubsub import LocalPubSub
from localcloud.pubsub.publisher import Publisher
from localcloud.pubsub.state import State
from localcloud.pubsub.subscriber import Subscriber
from tests.localcloud.pubsub.service import Service, deviation_of
from tests.localcloud.pubsub.turned_clock import Core, TurnedClock

EMULATOR_START_SECONDS = 30.0


@pytest.fixture(name="core")
def _core() -> Core:
    clock = TurnedClock()
    state = State(clock)
    return Core(clock=clock, state=state, publisher=Publisher(state), subscriber=Subscriber(state))


@pytest.fixture(scope="session")
def local_endpoint() -> Iterator[str]:
    with LocalPubSub() as pubsub:
        yield pubsub.endpoint


@pytest.fixture(scope="session")
def emulator_endpoint() -> Iterator[str]:
    """Google's emulator: the one named by the environment, else one started from the SDK."""
    named = os.environ.get("PUBSUB_CONFORMANCE_ENDPOINT")
    if named:
        yield named
        return
    script = _emulator_script()
    if script is None or shutil.which("java") is None:
        pytest.skip(
            "Google's Pub/Sub emulator is not installed: neither PUBSUB_CONFORMANCE_ENDPOINT nor "
            "the Cloud SDK's cloud-pubsub-emulator with Java"
        )
    # It does not say which port it got when asked for any, so one is chosen for it.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [str(script), "--host=127.0.0.1", f"--port={port}"], stdout=log, stderr=log
        )
        try:
            _wait_until_serving(process, port, log.fileno())
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(name="service", params=["local", "emulator"])
def _service(request: pytest.FixtureRequest) -> Iterator[Service]:
    reason = deviation_of(request.function)
    if request.param == "emulator" and reason is not None:
        pytest.skip(f"Google's emulator deviates from the service: {reason}")
    endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    service = Service(endpoint=endpoint, project=f"p-{uuid.uuid4().hex[:12]}")
    yield service
    service.close()


def _emulator_script() -> Path | None:
    name = "cloud-pubsub-emulator"
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    platform = Path(gcloud).resolve().parent.parent / "platform"
    script = platform / "pubsub-emulator" / "bin" / name
    return script if script.exists() else None


def _wait_until_serving(process: subprocess.Popen[bytes], port: int, log: int) -> None:
    deadline = time.monotonic() + EMULATOR_START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the emulator did not start: {os.pread(log, 65_536, 0).decode()}")
