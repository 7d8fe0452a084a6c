"""The system calls of a process and all its threads, in the order in which they began and ended.

strace stops a thread where such a call begins and where it ends, and lets it go on when that is
written down. So what one thread does because another's call has returned stands behind that
return in the trace.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.waiting import wait_until

LONGEST_BYTES = 1 << 20
"""What is shown of what a call writes."""

_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_ENDED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_TARGET = re.compile(r"\d+<(.*?)>(?:,|$)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that has returned.

    Attributes:
      target: the path of its file, or the two ends of its connection, as ``TCP:[FROM->TO]``.
      data: what it was given to write.
      began, ended: the places of both in the trace; of any two the lesser was first.
    """

    name: str
    target: str
    data: bytes
    result: int
    began: int
    ended: int


class Tracer:
    """Traces one process that is started with ``wrapper`` before its command.

    Skips the test where that can't be done.
    """

    def __init__(self, trace: Path, *, calls: Sequence[str]) -> None:
        strace = shutil.which("strace")
        if strace is None:
            pytest.skip("strace is not installed: apt-get install strace")
        self._trace = trace
        # -D: the process is our own child, with the id that we know, and strace its descendant.
        self.wrapper = [
            *(strace, "-D", "-f", "--seccomp-bpf", "-yy", "-xx", f"--string-limit={LONGEST_BYTES}"),
            *("-e", f"trace={','.join(calls)}", "-e", "signal=none", "-o", str(trace)),
        ]
        tried = subprocess.run(
            [strace, "-D", "-f", "-o", "/dev/null", "true"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if tried.returncode or tried.stderr:
            pytest.skip(f"processes can't be traced here: {tried.stderr.strip()}")

    def calls(self, pid: int) -> list[Call]:
        """All calls of the process, which has ended, in the order in which they returned."""
        # An id is filled up with spaces, as far as the widest of a thread is wide.
        end = re.compile(rf"{pid} +\+\+\+ exited")
        wait_until(
            lambda: any(map(end.match, self._lines())),
            seconds=30,
            what=f"the end of {self._trace}",
        )
        return read_trace(self._lines())

    def _lines(self) -> list[str]:
        return self._trace.read_text().splitlines()


def read_trace(lines: Sequence[str]) -> list[Call]:
    """Reads what strace has written with ``-f -yy -xx``. ValueError: a line is not understood."""
    found: list[Call] = []
    under_way: dict[str, tuple[str, str, int]] = {}
    for at, line in enumerate(lines):
        # An id is filled up with spaces to the width of the widest.
        thread, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.startswith(("+++", "---")):
            continue
        if ended := _ENDED.match(rest):
            name, arguments, began = under_way.pop(thread)
            arguments += ended[2]
            result = ended[3]
        elif begun := _BEGUN.match(rest):
            under_way[thread] = (begun[1], begun[2], at)
            continue
        elif whole := _WHOLE.match(rest):
            name, arguments, result = whole.groups()
            began = at
        elif rest.endswith("= ?"):
            # The process has ended within it.
            under_way.pop(thread, None)
            continue
        else:
            raise ValueError(f"line {at + 1} of the trace: {line[:200]}")
        target = _TARGET.match(arguments)
        found.append(
            Call(
                name=name,
                target="" if target is None else _plain(target[1]),
                data=b"".join(_bytes(each) for each in _STRING.findall(arguments)),
                result=int(result),
                began=began,
                ended=at,
            )
        )
    return found


def _plain(target: str) -> str:
    return _bytes(target).decode() if target.startswith("\\x") else target


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))
