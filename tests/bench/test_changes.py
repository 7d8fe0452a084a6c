"""How soon a change is in effect is measured."""

from __future__ import annotations

import re
import subprocess
import sys


def test_the_time_and_what_others_waited_are_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.changes", "--count", "100", "--rounds", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.fullmatch(
        r"100 devices: the last right ended after [\d.]+ s, the median after [\d.]+ s;"
        r" others waited \d+ ms at most\n",
        done.stdout,
    ), done.stdout
