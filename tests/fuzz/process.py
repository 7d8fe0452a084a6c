"""The process that Atheris fuzzes a target in: ``python -m tests.fuzz.process TARGET FLAGS…``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["mqtt", "broker.core"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Takes libFuzzer's flags behind the target's name; ends when libFuzzer says so."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
