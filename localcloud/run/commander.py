"""The run's own commands: one every few seconds to some device, as `mqttbeam send` sends them."""

import json
import threading
from collections.abc import Sequence
from random import Random

import grpc

from localcloud.commanding import make_command, send
from localcloud.subscriber import PubSub

INTERVAL_SECONDS = 3.0


class Commander:
    """A thread that sends commands until it is closed.

    An error of its own is kept in `error`, for the runner to raise.
    """

    def __init__(self, endpoint: str, devices: Sequence[str], *, seed: int) -> None:
        self.error: Exception | None = None
        self._pubsub = PubSub(endpoint)
        self._devices = devices
        self._random = Random(seed)  # noqa: S311 - a demonstration
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commander", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send no more."""
        self._closing.set()
        self._thread.join()
        self._pubsub.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                interval = self._random.choice((1, 5, 10, 60))
                data = json.dumps({"interval_seconds": interval}).encode()
                device = self._random.choice(self._devices)
                send(self._pubsub, make_command(device, "report", data))
                self._closing.wait(INTERVAL_SECONDS)
        except grpc.RpcError as error:
            self.error = error
