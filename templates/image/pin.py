"""Bring templates/images.lock up to date: ``python -m templates.image.pin`` (`make image-lock`)."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from templates.errors import ImageError
from templates.image.locked import LOCK, UNRESOLVED, read_lock, write_lock
from templates.image.registry import digest_of


def main(argv: Sequence[str] | None = None) -> int:
    """Resolves every tag and writes the file, or says why not and leaves it; gives the status."""
    parser = argparse.ArgumentParser(
        prog="python -m templates.image.pin",
        description="Ask the registries which digests the tags of the lock file stand for.",
    )
    parser.add_argument("lock", nargs="?", type=Path, default=LOCK, help="default: %(default)s")
    path: Path = parser.parse_args(argv).lock
    try:
        before = read_lock(path)
        after = [dataclasses.replace(each, digest=digest_of(each)) for each in before]
    except ImageError as error:
        _say(f"{error}\n{path} is as it was.")
        return 1
    write_lock(after, path)
    for old, new in zip(before, after, strict=True):
        change = "as before" if old == new else f"was {old.digest or UNRESOLVED}"
        _say(f"{new.image}:{new.tag}: {new.digest} ({change})")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # what the command is for


if __name__ == "__main__":
    sys.exit(main())
