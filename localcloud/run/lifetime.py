"""When a run may begin and when it is to end: one in a folder, and Ctrl-C."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunFailed(Exception):
    """The run could not start, or broke; the message is for the person at the keyboard."""


class Interrupts:
    """Counts requests to stop; a context manager that listens for them."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP while the context is open."""
        before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> bool:
        """Whether the run is to stop."""
        return self.count > 0

    def hurry(self) -> bool:
        """Whether it is to stop without waiting for anything."""
        return self.count > 1

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a state folder; raises RunFailed where another run holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            raise RunFailed(
                f"a local cloud runs in this folder already (process {held.read().strip()}): "
                "stop it first, or start another one in another folder"
            ) from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield
