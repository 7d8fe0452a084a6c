"""Writes what of the pages comes from the code: ``python -m docs.generate [--check]``.

README.md and metadata.json of each template are written whole, as are the tables that Terraform
makes. In docs/pipelines.md, between
``<!-- options: NAME -->`` and ``<!-- end -->`` stands the table of a pipeline's options, made of
the declarations that its command line is made of.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import sys
from pathlib import Path
from typing import Any

from docs import broker_page, capacity_page, conformance_page, terraform_tables
from pipelines.options import shown_default
from templates.readme import generated

PAGE = Path(__file__).parent / "pipelines.md"
PIPELINES = {
    "telemetry": "TelemetryOptions",
    "warehouse": "WarehouseOptions",
    "direct": "DirectOptions",
    "commands": "CommandsOptions",
    "replay": "ReplayOptions",
}

_MARKED = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def options_of(pipeline: str) -> tuple[dataclasses.Field[Any], ...]:
    """Returns a pipeline's options, in the order of its ``--help``. Raises KeyError."""
    kind = getattr(importlib.import_module(f"pipelines.{pipeline}"), PIPELINES[pipeline])
    return dataclasses.fields(kind)


def table(pipeline: str) -> str:
    """Returns the table of a pipeline's options as Markdown."""
    rows = [
        "| option | | default | example |",
        "|---|---|---|---|",
        *map(_row, options_of(pipeline)),
    ]
    return "\n".join(rows) + "\n"


def rendered(page: str) -> str:
    """Returns the page with its tables as the code has them. Raises KeyError for a wrong name."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{table(found[2])}\n{found[3]}", page)


def _row(item: dataclasses.Field[Any]) -> str:
    required = item.default is dataclasses.MISSING
    default = shown_default(item)
    cells = (
        f"`--{item.name}`",
        item.metadata["help"],
        "required" if required else "" if default is None else f"`{default}`",
        f"`{item.metadata['example']}`",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> int:
    """Writes the files, or with ``--check`` says which would change; 1 if any."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    options = parser.parse_args()
    stale = False
    for path, text in [
        (PAGE, rendered(PAGE.read_text(encoding="utf-8"))),
        *generated(),
        *broker_page.generated(),
        *capacity_page.generated(),
        *conformance_page.generated(),
        *terraform_tables.generated(),
    ]:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if not options.check:
            path.write_text(text, encoding="utf-8")
            continue
        stale = True
        name = path.relative_to(PAGE.parent.parent)
        sys.stderr.write(f"{name} is stale: run python -m docs.generate\n")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
