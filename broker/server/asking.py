"""Asks a running broker by its administration socket; see ``broker.server.administration``."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from broker.errors import AdministrationError

SECONDS = 30.0
"""How long an answer's next line may take."""


def is_answered(path: Path) -> bool:
    """Whether a broker listens at the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def ask(
    path: Path, request: str, *, seconds: float | None = SECONDS, **arguments: Any
) -> Iterator[dict[str, Any]]:
    """Gives the rows of the answer, and as the last value what ``done`` has.

    Raises:
      AdministrationError: no broker listens at ``path``, it refuses, or it goes away.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"request": request, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "error" in answer:
                        raise AdministrationError(answer["error"])
                    if "done" in answer:
                        yield answer["done"]
                        return
                    yield from answer["rows"]
        except OSError as error:
            raise AdministrationError(
                f"no broker answers at {path} ({error.strerror or error}); is it running, with"
                " `administration: {socket: …}` in its configuration, and are you its user?"
            ) from error
    raise AdministrationError(f"the broker at {path} went away before it had answered")
