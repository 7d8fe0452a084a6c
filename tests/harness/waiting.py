"""Waiting for a condition with a deadline, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object],
    *,
    seconds: float,
    what: str | Callable[[], str],
    poll_seconds: float = 0.01,
) -> float:
    """Waits until the condition holds; returns how long that took.

    ``what`` says what was waited for; as a function it is asked when the time is over.
    """
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        if waited > seconds:
            words = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {words}")
        time.sleep(poll_seconds)
    return time.monotonic() - started
