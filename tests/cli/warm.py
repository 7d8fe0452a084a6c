"""The program in a process that has imported it, and forks for each command.

What a command does it does in a process of its own, like any other; what it doesn't do again is to
import Beam and SQLAlchemy, which takes a second and a half. Reads requests and writes exit
statuses, one JSON value a line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any, NoReturn

_IMPORTED = (
    *("cli.main", "cli.commands", "cli.plan", "cli.templates", "cli.doctor", "cli.create"),
    *("templates.promises", "templates.launching", "templates.preflight", "templates.sending"),
    *("broker.registry.sql", "broker.store", "broker.server.asking", "broker.server.checking"),
    *("broker.server.serve", "localcloud.commanding", "localcloud.subscriber", "localcloud.pubsub"),
    *("alembic.command", "sqlalchemy.dialects.sqlite", "pydantic.type_adapter", "rich.console"),
)


def serve() -> None:
    """Runs commands until standard input ends."""
    for name in _IMPORTED:
        importlib.import_module(name)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> NoReturn:
    status = 1
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        for number, name in enumerate((os.devnull, request["out"], request["err"])):
            flags = os.O_RDWR | (os.O_CREAT if number else 0)
            os.dup2(os.open(name, flags, 0o600), number)
        # Kept, as the interpreter keeps its own: whoever puts others in their place closes nothing.
        kept = (os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1))
        sys.stdin, sys.stdout, sys.stderr = kept
        sys.argv = ["-c", *request["arguments"]]
        importlib.import_module("cli.main").main()
        status = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  # told as the interpreter tells what nobody caught
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
