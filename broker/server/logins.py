"""Who is it? What the core asks, answered beside the event loop.

::

    core: Authenticate ─> too many failures? ─> remembered? ─────────────────> core.authenticated
                            │                     └─> a thread, fairly queued ─> core.challenged
                            └───────────────────────────────────────────> core.…_postponed

What a thread or an exchange has proved is of when it began. If the directory has changed since, it
is looked up anew before it is answered: nobody comes in, or has rights again, by what was before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from broker.auth.authenticator import Attempt, Authenticator
from broker.auth.failed_logins import FailedLogins
from broker.auth.identity import Login, Tell
from broker.auth.scram import Challenge, Proved
from broker.core.actions import Authenticate
from broker.core.broker import Broker
from broker.errors import RegistryError
from broker.server.client import ClientProtocol
from broker.server.verifying import Verifying, Work

LOG = logging.getLogger("broker")

_PASSWORD_THREADS = 2
"""Each verification of argon2id at its usual cost takes 64 MiB and a core for some 50 ms."""
_OTHER_THREADS = 2
"""Other proofs take less than a millisecond and a question to the registry, and don't wait."""


class Logins:
    """Answers the core's ``Authenticate``. ``wake``: to be called when the core has decided."""

    def __init__(
        self,
        *,
        core: Broker,
        authenticator: Authenticator,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], None],
    ) -> None:
        self.authenticator = authenticator
        self._core = core
        self._loop = loop
        self._wake = wake
        limits = core.limits
        self._failed = FailedLogins(
            per_name=limits.failed_logins_per_device,
            per_address=limits.failed_logins_per_address,
            seconds=limits.failed_logins_seconds,
        )
        maximum = limits.pending_authentications
        self._passwords = Verifying(loop, threads=_PASSWORD_THREADS, maximum=maximum)
        self._others = Verifying(loop, threads=_OTHER_THREADS, maximum=maximum)

    def authenticate(self, request: Authenticate) -> None:
        """Finds out, now or later."""
        protocol = request.connection.transport
        assert isinstance(protocol, ClientProtocol)
        attempt = protocol.attempt(request)
        address, name, now = attempt.address, attempt.name, self._loop.time()
        if request.method is None:
            if not self._failed.allows_name(address, name, now):
                self._postpone(request, "too many failed logins; come again later")
                return
            known = self.authenticator.remembered(attempt, time.time())
            if known is not None:
                self._answer(request, known)
                return
        if _is_guessable(request, attempt) and not self._failed.allows_address(address, now):
            self._postpone(request, "too many failed logins; come again later")
            return
        protocol.pause_reading()
        # For the log alone: the client learns nothing of it.
        reasons: list[str] = []
        lane = self._passwords if request.method is None and attempt.is_costly else self._others
        verify = self._proof(request, protocol, attempt, reasons.append)
        exchange = None if request.method is None else protocol.exchange
        seen = self.authenticator.seen if exchange is None else exchange.seen
        self._submit(lane, verify, request, protocol, attempt, reasons, seen)

    def stop(self) -> None:
        """Nothing more is verified."""
        self._passwords.stop()
        self._others.stop()

    def _submit(
        self,
        lane: Verifying,
        verify: Callable[[], object],
        request: Authenticate,
        protocol: ClientProtocol,
        attempt: Attempt,
        reasons: list[str],
        seen: int,
    ) -> None:
        lane.submit(
            attempt.address,
            attempt.name,
            Work(
                verify=verify,
                done=lambda done: self._verified(request, protocol, attempt, done, reasons, seen),
                postponed=lambda: self._postpone(request, "too many logins at once"),
            ),
        )

    def _look_again(self, result: Login | Proved, tell: Tell) -> object:
        """What was proved as the directory has it now; in a thread."""
        if isinstance(result, Login):
            return self.authenticator.again(result, time.time(), tell)
        login = self.authenticator.again(result.login, time.time(), tell)
        return None if login is None else replace(result, login=login)

    def _proof(
        self, request: Authenticate, protocol: ClientProtocol, attempt: Attempt, tell: Tell
    ) -> Callable[[], object]:
        """What is to be done in a thread."""
        if request.method is None:
            return lambda: self.authenticator.verify(attempt, time.time(), tell)
        if request.begins or protocol.exchange is None:
            protocol.exchange = self.authenticator.exchange()
        exchange = protocol.exchange
        return lambda: exchange.advance(request.data, time.time(), tell)

    def _verified(
        self,
        request: Authenticate,
        protocol: ClientProtocol,
        attempt: Attempt,
        done: asyncio.Future[Any],
        reasons: list[str],
        seen: int,
    ) -> None:
        if done.cancelled():
            protocol.abort()
            return
        try:
            self._decide(request, protocol, attempt, done.result(), reasons, seen)
        except RegistryError as error:
            LOG.error("%s: login could not be verified: %s", request.connection.peer, error)
            self._postpone(request, "who may connect is not known at the moment")
        except Exception as error:  # noqa: BLE001 - it is told, and others log in all the same
            self._core.failed(request.connection, error, self._loop.time())
            self._wake()
        except BaseException:
            # Such as the panic of a library.
            protocol.abort()
            raise

    def _decide(
        self,
        request: Authenticate,
        protocol: ClientProtocol,
        attempt: Attempt,
        result: object,
        reasons: list[str],
        seen: int,
    ) -> None:
        now = self._loop.time()
        name = attempt.name
        exchange = protocol.exchange
        if request.method is not None and exchange is not None:
            name = exchange.name
            if not self._failed.allows_name(attempt.address, name, now):
                # Its name was not known before.
                protocol.exchange = None
                self._postpone(request, "too many failed logins; come again later")
                return
        if isinstance(result, Login | Proved) and seen != self.authenticator.seen:
            look = partial(self._look_again, result, reasons.append)
            seen = self.authenticator.seen
            self._submit(self._others, look, request, protocol, attempt, reasons, seen)
            return
        if isinstance(result, Challenge):
            self._core.admitting.challenged(request.connection, result.data, now)
            self._wake()
        else:
            protocol.exchange = None
            if result is None:
                guess = _is_guessable(request, attempt)
                self._failed.failed(attempt.address, name, now, is_guess=guess)
            if isinstance(result, Proved):
                self._answer(request, result.login, result.data)
            else:
                assert result is None or isinstance(result, Login)
                self._answer(request, result, why=reasons[0] if reasons else "")
        protocol.resume_reading()

    def _answer(
        self,
        request: Authenticate,
        login: Login | None,
        data: bytes | None = None,
        *,
        why: str = "",
    ) -> None:
        now, until = self._loop.time(), None
        if login is not None and login.until is not None:
            until = now + login.until - time.time()
        self._core.admitting.authenticated(
            request.connection, login, now, until=until, data=data, why=why
        )
        self._wake()

    def _postpone(self, request: Authenticate, reason: str) -> None:
        self._core.admitting.postponed(request.connection, self._loop.time(), reason)
        self._wake()


def _is_guessable(request: Authenticate, attempt: Attempt) -> bool:
    """Whether what is given can be found by trying: a password can, a signature can't."""
    return request.method is not None or attempt.is_costly
