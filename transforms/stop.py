"""The process-wide stop flag: sources of ours that see it report their end.

Killing a local pipeline loses what waits behind a window, and Beam's cancel leaves reads running
on several runners. A source that ends by itself lets bundles finish, acknowledgements go out and
windows flush. It works where the pipeline's process is also the worker (Prism in loopback mode);
elsewhere the runner's own drain does the same.
"""

from __future__ import annotations

import threading

_REQUESTED = threading.Event()


def request_stop() -> None:
    """Asks every source of ours in this process to end."""
    _REQUESTED.set()


def stop_requested() -> bool:
    """Whether sources are to end."""
    return _REQUESTED.is_set()


def wait_for_stop(timeout_seconds: float) -> bool:
    """Waits up to ``timeout_seconds`` and returns whether sources are to end."""
    return _REQUESTED.wait(timeout_seconds)


def reset_stop() -> None:
    """Allows sources to run again in this process, for one pipeline after another."""
    _REQUESTED.clear()
