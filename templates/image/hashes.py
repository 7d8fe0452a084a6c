"""The hash of each archive that pip installed: ``python -m templates.image.hashes``.

The Dockerfile runs it after pip, to keep of pip's reports what the bill of materials needs.
https://pip.pypa.io/en/stable/reference/installation-report/
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def normal(name: str) -> str:
    """Returns a package's name as an index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hashes_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Returns the SHA-256 of each archive in a report of pip's, by ``NAME==VERSION``."""
    found = {}
    for each in report["install"]:
        name = normal(each["metadata"]["name"])
        hashes = each["download_info"]["archive_info"]["hashes"]
        found[f"{name}=={each['metadata']['version']}"] = hashes["sha256"]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the hashes of several reports into one file; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m templates.image.hashes")
    parser.add_argument("report", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    hashes: dict[str, str] = {}
    for report in given.report:
        hashes |= hashes_of(json.loads(report.read_text()))
    given.output.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
