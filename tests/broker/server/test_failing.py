"""Errors of the broker's own, in the log and for those who have no part in them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from mqtt5 import ConnectPacket, PingReqPacket, PingRespPacket

from broker.core.actions import Authenticate
from broker.server.logins import Logins
from tests.broker.server.conftest import Running, eventually
from tests.broker.server.raw_client import raw


def _fail(*_: Any) -> None:
    raise RuntimeError("nobody foresaw it")


def test_many_are_logged_in_one_line_with_a_traceback(
    broker: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with raw(broker) as other:
        other.login(broker, "d1", "d1")
        handlers: Any = broker.server.core._receiving._handlers
        handlers[PingReqPacket] = _fail
        for _ in range(5):
            with raw(broker) as client:
                client.login(broker, "d2", "d2")
                client.send(PingReqPacket())
                client.next()
                assert client.ends()
        told = [each for each in caplog.records if each.exc_info]
        assert len(told) == 1
        assert told[0].levelno == logging.ERROR
        assert told[0].getMessage().startswith("d2: ended by an error of the broker's own")
        handlers[PingReqPacket] = broker.server.core._ping
        other.send(PingReqPacket())
        assert isinstance(other.next(), PingRespPacket)


@pytest.mark.parametrize("step", ["authenticate", "_decide"])
def test_a_login_that_fails_is_the_only_one_that_does(
    broker: Running, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rightly: Callable[..., None] = getattr(Logins, step)

    def fail_d1(self: Logins, request: Authenticate, *more: Any) -> None:
        if request.client_id == "d1":
            _fail()
        rightly(self, request, *more)

    monkeypatch.setattr(Logins, step, fail_d1)
    with raw(broker) as first, raw(broker) as second:
        first.send(ConnectPacket("d1", username="d1", password=b"x"))
        second.login(broker, "d2", "d2")
        assert first.ends()


def test_a_deadline_that_fails_keeps_no_other_from_its_time(broker: Running) -> None:
    done: list[float] = []

    async def set_two() -> None:
        shell = broker.server._shell
        now = shell.loop.time()
        shell.core._timers.at(now, _fail)
        shell.core._timers.at(now + 0.01, done.append)
        shell.heed()

    broker.call(set_two())
    eventually(lambda: done)
