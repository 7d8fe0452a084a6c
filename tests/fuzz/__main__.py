"""``python -m tests.fuzz TARGET SECONDS``: looks for inputs that no test has thought of.

Atheris follows the coverage of ``mqtt`` and ``broker.core`` and keeps what reaches new code in the
working folder ``build/fuzz/TARGET``, beside the corpus that is kept in git. A crash ends the run
with status 1 (libFuzzer's own is 77) and leaves its input in ``build/fuzz``: mend it, and add the
input to ``tests/fuzz/corpus/TARGET`` under a name that says what it is, which every test run reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
WORK = Path("build") / "fuzz"

_LARGEST_INPUT_BYTES = 2_000


def main(target: str, seconds: int) -> int:
    """Runs one target in a process of its own, for libFuzzer ends it by itself."""
    found = WORK / target
    found.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.process",
        target,
        f"-max_total_time={seconds}",
        f"-max_len={_LARGEST_INPUT_BYTES}",
        f"-artifact_prefix={WORK}/{target}-",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=0",
        "-verbosity=0",
        str(found),
        str(CORPUS / target),
    ]
    done = subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0"})
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
