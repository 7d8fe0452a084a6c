"""Events on their way into a database: none is lost in silence, and nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

import pytest

from broker.core.counters import Counters
from broker.errors import RegistryError
from broker.registry.events import ClientEvent, EventKind
from broker.server.recorder import Recorder
from tests.broker.server.conftest import eventually


class Rows:
    """Takes events, unless it is away."""

    def __init__(self) -> None:
        self.here = threading.Event()
        self.here.set()
        self.error: Exception = RegistryError("away")
        self.at: list[float] = []
        self.seen: dict[str, float] = {}
        self.batches = 0
        self.forgotten_before: list[float] = []

    def record(self, events: Sequence[ClientEvent], seen: Mapping[str, float]) -> None:
        if not self.here.is_set():
            raise self.error
        self.batches += 1
        self.at += [event.at for event in events]
        self.seen |= seen

    def forget_events(self, before: float) -> int:
        self.forgotten_before.append(before)
        return 0


def event(at: float) -> ClientEvent:
    return ClientEvent(
        kind=EventKind.CONNECTED,
        name="d1",
        client_id="d1",
        at=at,
        reason="",
        peer="",
        protocol="5.0",
    )


def test_events_are_written_in_their_order_and_many_at_once() -> None:
    rows = Rows()
    recorder = Recorder(rows, Counters(), keep_seconds=100)
    for at in range(5_000):
        recorder.add(event(at))
    recorder.seen({"d1": 7.0})
    recorder.stop(10)
    assert rows.at == list(range(5_000))
    assert rows.seen == {"d1": 7.0}
    assert rows.batches < 20
    assert rows.forgotten_before[0] == pytest.approx(time.time() - 100, abs=10)


def test_a_database_that_is_away_gets_them_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.server.recorder._RETRY_SECONDS", 0.05)
    rows, counters = Rows(), Counters()
    rows.here.clear()
    recorder = Recorder(rows, counters, keep_seconds=100, capacity=3)
    recorder.seen({"d1": 1.0})
    for at in range(5):
        recorder.add(event(at))
    eventually(lambda: "can't be recorded now: away" in caplog.text)
    assert counters.events_not_recorded == 2
    rows.here.set()
    eventually(lambda: "2 connects and disconnects were not recorded: too many" in caplog.text)
    assert rows.at == [0, 1, 2]
    assert rows.seen == {"d1": 1.0}
    recorder.add(event(9))
    recorder.stop(10)
    assert rows.at == [0, 1, 2, 9]
    assert caplog.text.count("can't be recorded now") == 1


def test_a_write_that_fails_for_whatever_reason_is_not_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.server.recorder._RETRY_SECONDS", 0.05)
    rows = Rows()
    rows.error = OverflowError("date value out of range")
    rows.here.clear()
    recorder = Recorder(rows, Counters(), keep_seconds=100)
    recorder.seen({"d1": 1.0})
    recorder.add(event(1))
    eventually(lambda: "can't be recorded now: date value out of range" in caplog.text)
    assert "in record" in caplog.text, "its place is told"
    rows.here.set()
    eventually(lambda: rows.at == [1])
    recorder.stop(10)
    assert rows.seen == {"d1": 1.0}


def test_what_could_not_be_recorded_at_the_end_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows()
    rows.here.clear()
    recorder = Recorder(rows, Counters(), keep_seconds=100)
    recorder.add(event(1))
    recorder.stop(10)
    assert "1 connects and disconnects were not recorded" in caplog.text
