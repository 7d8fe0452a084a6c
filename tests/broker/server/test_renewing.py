"""This project's client and broker together: what proves a client ends, and the client goes on."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.auth.tokens import SKEW_SECONDS
from mqtt.client import (
    BrokerAddress,
    ConnectionSettings,
    Message,
    Publisher,
    Subscriber,
    TokenSigner,
)
from mqtt.scram import ScramKeys
from mqtt.topics import TopicFilter
from tests.broker.auth.directory import CHEAP, public_pem
from tests.broker.server.conftest import Running

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = {"type": "public_key", "algorithm": "ES256", "pem": public_pem(KEY)}


def scram(identifier: str, password: str, **bounds: float) -> dict[str, Any]:
    keys = ScramKeys.of(password, salt=b"0123456789abcdef", iterations=4_096)
    binary = {"salt": keys.salt, "stored_key": keys.stored_key, "server_key": keys.server_key}
    times = {key: datetime.fromtimestamp(int(at), UTC) for key, at in bounds.items()}
    return {
        "id": f"pipe/{identifier}",
        "type": "scram",
        "iterations": keys.iterations,
        **{key: base64.b64encode(value).decode() for key, value in binary.items()},
        **times,
    }


class Site:
    """A broker with a device ``d1`` and a service ``pipe`` that has these credentials."""

    def __init__(self, start: Callable[..., Running], folder: Path, *credentials: Any) -> None:
        self._registry = folder / "renewing.yaml"
        self.write(*credentials)
        broker = start(registry_file=self._registry, token_audiences=("us",))
        self._address = BrokerAddress.parse(broker.server.urls[0])

    def write(self, *credentials: dict[str, Any]) -> None:
        pipe = {
            "role": "telemetry-pipeline",
            "client_id_prefix": "pipe",
            "credentials": list(credentials),
        }
        content = {
            "version": 1,
            "devices": {"d1": {"password_hash": CHEAP.hash("right")}},
            "services": {"pipe": pipe},
        }
        self._registry.write_text(yaml.safe_dump(content))

    def settings(self, client_id: str, **changes: Any) -> ConnectionSettings:
        return ConnectionSettings(
            addresses=(self._address,),
            client_id=client_id,
            session_expiry_seconds=600,
            backoff_initial_seconds=0.05,
            **changes,
        )

    @contextmanager
    def sending(self) -> Iterator[list[int]]:
        """The device publishes all the time, one number after another; gives what was taken."""
        device = self.settings("d1", username="d1", password=lambda: b"right")
        taken: list[int] = []
        ending = threading.Event()

        def publish() -> None:
            while not ending.is_set():
                number = b"%d" % len(taken)
                message = Message("devices/d1/telemetry/x", number)
                assert publisher.publish([message], timeout_seconds=10) == [0]
                taken.append(len(taken))
                # Not more than a device may send in a second.
                ending.wait(0.002)

        with closing(Publisher(device)) as publisher:
            publisher.wait_ready(10)
            thread = threading.Thread(target=publish)
            thread.start()
            try:
                yield taken
            finally:
                ending.set()
                thread.join(10)


def collect(subscriber: Subscriber, got: list[int], *, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not until():
        assert time.monotonic() < deadline, f"{len(got)} messages came"
        batch = subscriber.take(1_000, 0.05)
        if batch is not None:
            got += [int(packet.payload) for packet in batch.packets]
            subscriber.acknowledge([batch])


def test_a_pipeline_whose_token_ends_goes_on_with_a_new_one_and_loses_nothing(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    site = Site(start, tmp_path, PUBLIC)
    # A clock that is behind has its tokens, and so its connections, end sooner: in 2 s here.
    signer = TokenSigner(
        lambda: KEY_PEM,
        audience="us",
        lifetime_seconds=1,
        clock=lambda: time.time() + 1 - SKEW_SECONDS,
    )
    # Tokens that last hours are not taken for connections that another client ends.
    settings = site.settings("pipe", username="unused", password=signer, stable_seconds=0.2)
    got: list[int] = []
    with closing(Subscriber(settings, [TopicFilter("devices/+/telemetry/#")])) as subscriber:
        subscriber.wait_ready(10)
        with site.sending() as taken:
            collect(subscriber, got, until=lambda: subscriber.counters["connects"] >= 3)
        collect(subscriber, got, until=lambda: set(got) >= set(taken))
        assert len(taken) > 100
        assert sorted(set(got)) == taken


@pytest.mark.parametrize("again", [0.2, None])
def test_who_proves_again_outlives_the_password_that_it_began_with(
    start: Callable[..., Running], tmp_path: Path, again: float | None
) -> None:
    site = Site(start, tmp_path, scram("old", "old"))
    password = [b"old"]
    settings = site.settings(
        "pipe",
        username="pipe",
        password=lambda: password[0],
        scram=True,
        scram_again_seconds=again,
    )
    with closing(Subscriber(settings, [TopicFilter("devices/+/telemetry/#")])) as subscriber:
        subscriber.wait_ready(10)
        now = time.time()
        password[0] = b"new"
        ends = now + 3
        site.write(scram("old", "old", not_after=ends), scram("new", "new", not_before=now))
        got: list[int] = []
        with site.sending() as taken:
            collect(subscriber, got, until=lambda: time.time() > ends + 1)
        collect(subscriber, got, until=lambda: set(got) >= set(taken))
        assert sorted(set(got)) == taken
        assert subscriber.counters["connects"] == (1 if again else 2)
        if again:
            assert got == taken, "nothing came twice"
