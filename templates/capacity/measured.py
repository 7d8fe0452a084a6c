"""What our pipelines were measured to do: figures of bench/RESULTS.md, and one beside it."""

import re
from dataclasses import dataclass

from templates.capacity.errors import InvalidAssumption, UnreadableResults
from templates.capacity.fleet import POSITIVE, assumed, check_fields, required

WAREHOUSE_CPU_SECONDS = 0.33
"""Python and Prism for 10,000 rows: `python -m bench.warehouse --rows 90000`, on 2026-11-23, on two
cores of an AMD EPYC (0.29 with 30,000 rows)."""

_PEER = "mqttbeam"
_NUMBER = re.compile(r"[\d,]+(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One pipeline process each, with Prism, on two cores; CPU seconds are for 10,000 messages.

    Raises InvalidAssumption.
    """

    telemetry_messages_per_second: float = required(
        POSITIVE, "telemetry, messages a second of one shard", "bench/RESULTS.md, Telemetry"
    )
    telemetry_cpu_seconds: float = required(
        POSITIVE, "telemetry, CPU seconds for 10,000", "bench/RESULTS.md, Telemetry"
    )
    commands_messages_per_second: float = required(
        POSITIVE, "commands, a second of one process", "bench/RESULTS.md, Commands"
    )
    commands_cpu_seconds: float = required(
        POSITIVE, "commands, CPU seconds for 10,000", "bench/RESULTS.md, Commands"
    )
    warehouse_cpu_seconds: float = assumed(
        WAREHOUSE_CPU_SECONDS,
        POSITIVE,
        "warehouse, CPU seconds for 10,000 rows",
        "`python -m bench.warehouse --rows 90000`",
    )

    def __post_init__(self) -> None:
        check_fields(self)


def measured_from(results: str, *, page: str = "bench/RESULTS.md") -> Measured:
    """Read the medians out of the text of a page that the bench wrote, which errors name.

    Raises UnreadableResults.
    """
    telemetry, commands = _row(results, "telemetry", page), _row(results, "commands", page)
    try:
        return Measured(
            telemetry_messages_per_second=telemetry[0],
            telemetry_cpu_seconds=telemetry[1],
            commands_messages_per_second=commands[0],
            commands_cpu_seconds=commands[1],
        )
    except InvalidAssumption as error:
        raise UnreadableResults(f"{page}: {error}: run `make bench`") from error


def _row(results: str, section: str, page: str) -> tuple[float, float]:
    """The rate and the CPU seconds of our own row in a section's first table."""
    found = re.search(rf"<!-- {section} -->(.*?)<!-- /{section} -->", results, re.DOTALL)
    if found is None:
        raise UnreadableResults(
            f"{page} has no section {section!r}: run `make bench`, which writes such a page"
        )
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in found[1].splitlines()
        if line.startswith("|")
    ]
    heads = rows[0] if rows else []
    ours = next((row for row in rows if row[0] == _PEER), None)
    values = []
    for head in ("messages a second", "CPU s per 10,000"):
        text = ours[heads.index(head)] if ours is not None and head in heads else ""
        number = _NUMBER.match(text)
        if number is None:
            raise UnreadableResults(
                f"{page}, section {section!r}: no {head!r} of {_PEER}: "
                f"run `python -m bench {section} --write`"
            )
        values.append(float(number[0].replace(",", "")))
    return values[0], values[1]
