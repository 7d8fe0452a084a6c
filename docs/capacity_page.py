"""The tables of docs/capacity.md, made by the program that the page is about.

Between ``<!-- capacity: NAME -->`` and ``<!-- end -->`` stands a table of `templates.capacity`;
``python -m docs.generate`` writes it anew, from the figures that bench/RESULTS.md has then.
"""

import re
from pathlib import Path

from templates.capacity import measured_from
from templates.capacity.tables import page_table

PAGE = Path(__file__).parent / "capacity.md"
RESULTS = Path(__file__).parent.parent / "bench" / "RESULTS.md"

_MARKED = re.compile(r"(<!-- capacity: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(page: str, results: str) -> str:
    """Returns the page with its tables as they are now. Raises KeyError for a wrong name."""
    measured = measured_from(results)
    return _MARKED.sub(
        lambda found: f"{found[1]}\n{page_table(found[2], measured)}\n{found[3]}", page
    )


def generated() -> list[tuple[Path, str]]:
    """Returns the page's file and what it should say."""
    page, results = PAGE.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8")
    return [(PAGE, rendered(page, results))]
