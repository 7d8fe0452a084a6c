"""The log on standard error, as text or as one JSON object a line.

In both a line stays a line, whatever a client has put into its identifier. In JSON a line has
``time`` (RFC 3339, UTC), ``level``, ``event`` and ``message``, and where they are known
``client_id``, ``peer``, ``listener``, ``topic``, ``reason`` and ``error`` (a traceback). Passwords
and payloads are in neither: nothing that is logged has them.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from broker.config import LogFormat, LogLevel
from broker.core.actions import Notice
from broker.errors import BrokerError

LOG = logging.getLogger("broker")

LONGEST_CLIENT_ID = 200
LONGEST_TEXT = 1_000

_ABOUT = "about"
_BY_ITSELF = "log"


def configure(level: LogLevel, form: LogFormat) -> None:
    """Sends all of the process's log to standard error, in place of what was set before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form is LogFormat.JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.name)
    # It tells at each start which kind of database it is on.
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))


def tell_end(error: BrokerError) -> None:
    """Says what has ended the broker, as its last line: ``error: …``, or JSON where the log is."""
    if any(isinstance(each.formatter, _Json) for each in logging.getLogger().handlers):
        LOG.critical("%s", error, extra=about("broker_failed", reason=str(error)))
    else:
        sys.stderr.write(f"error: {error}\n")


def about(event: str, **known: str) -> dict[str, dict[str, str]]:
    """The ``extra`` of a line: which event, and whom or what it is about."""
    return {_ABOUT: {"event": event, **known}}


def log_notice(log: logging.Logger, notice: Notice) -> None:
    """Logs what the core has to say of a client."""
    connection = notice.connection
    # Before its CONNECT a connection has an address and no name yet.
    client_id = notice.client_id if connection is None else connection.client_id
    known = {"client_id": client_id[:LONGEST_CLIENT_ID]} if client_id else {}
    if connection is not None:
        known["peer"] = connection.peer
    protocol = None if connection is None else connection.transport
    listener = getattr(protocol, "listener_name", None)
    if listener is not None:
        known["listener"] = listener
    if notice.reason:
        known["reason"] = notice.reason[:LONGEST_TEXT]
    level = logging.WARNING if notice.warning else logging.INFO
    log.log(
        level if notice.error is None else logging.ERROR,
        f"%.{LONGEST_CLIENT_ID}s: %.{LONGEST_TEXT}s",
        notice.client_id,
        notice.text,
        exc_info=notice.error,
        extra=about(notice.event, **known),
    )


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        if not record.message.isprintable():
            # A client must not write lines of its own.
            record.message = "".join(
                each if each.isprintable() else repr(each)[1:-1] for each in record.message
            )
        return super().formatMessage(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **getattr(record, _ABOUT, {"event": _BY_ITSELF}),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
