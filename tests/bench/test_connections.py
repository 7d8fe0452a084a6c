"""Connections of every kind are made and measured."""

from __future__ import annotations

import re
import subprocess
import sys


def test_each_kind_of_connection_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.connections", "--count", "100"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = re.findall(
        r"^(.+): (-?[0-9.]+) KiB each, ([0-9]+) connected a second$", done.stdout, re.M
    )
    assert [kind for kind, _, _ in found] == ["tcp", "tls", "tls with a certificate"]
    # The bound for TLS, which 10,000 of them must keep; few of them measure coarsely.
    assert all(float(each) < 80 for _, each, _ in found)
