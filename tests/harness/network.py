"""A network of its own for one process, whose packets can be made to vanish.

A network namespace joined to ours by a pair of virtual cards. While it is cut, both ends send to
a hardware address that nobody has: packets leave and are dropped by the other card, no error
comes back, and TCP goes on as it does when a cable is pulled out somewhere on the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

_NOBODY = "02:00:00:00:00:ff"


class Network:
    """The namespace, with two ways into it; a context manager.

    ``cuttable`` and ``spare`` are addresses in it; only the way to the first is ever cut.
    """

    def __init__(self) -> None:
        number = os.getpid() % 10_000
        self._name = f"mqttbeam{number}"
        self._ways = [
            _Way(self._name, f"mb{side}{number}", f"10.{213 + side}.{number % 250}")
            for side in range(2)
        ]
        self.cuttable, self.spare = (way.inside for way in self._ways)
        self.wrapper = ["ip", "netns", "exec", self._name]

    def __enter__(self) -> Network:
        """Makes it. Skips the test where that is not possible."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("packets can only be made to vanish by root with iproute2 installed")
        try:
            _ip("netns", "add", self._name)
            for way in self._ways:
                way.make()
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"no network namespace of one's own here: {error.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        # The virtual cards go with it.
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", self._name)

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Makes every packet on the first way vanish, for the length of a ``with`` block."""
        self._ways[0].cut()
        try:
            yield
        finally:
            self._ways[0].mend()


class _Way:
    """Two virtual cards, one in the namespace."""

    def __init__(self, namespace: str, name: str, subnet: str) -> None:
        self.inside, self._outside = f"{subnet}.2", f"{subnet}.1"
        self._outer, self._inner = f"{name}o", f"{name}i"
        self._in_there = ["-n", namespace]
        self._namespace = namespace

    def make(self) -> None:
        _ip(
            *("link", "add", self._outer, "type", "veth"),
            *("peer", "name", self._inner, "netns", self._namespace),
        )
        _ip("address", "add", f"{self._outside}/30", "dev", self._outer)
        _ip("link", "set", self._outer, "up")
        _ip(*self._in_there, "address", "add", f"{self.inside}/30", "dev", self._inner)
        _ip(*self._in_there, "link", "set", self._inner, "up")

    def cut(self) -> None:
        nobody = ("lladdr", _NOBODY, "nud", "permanent")
        _ip("neighbour", "replace", self.inside, "dev", self._outer, *nobody)
        _ip(*self._in_there, "neighbour", "replace", self._outside, "dev", self._inner, *nobody)

    def mend(self) -> None:
        # Both ask for the hardware address again.
        _ip("neighbour", "delete", self.inside, "dev", self._outer)
        _ip(*self._in_there, "neighbour", "delete", self._outside, "dev", self._inner)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
