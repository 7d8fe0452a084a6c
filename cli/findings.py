"""What a look at a template's needs has found, on a terminal."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipelines.preflight import Finding, Need


def looked(
    needs: Sequence["Need"], *, service_account: str | None, seconds: float, in_network: bool
) -> tuple[str, list["Finding"]]:
    """Look at everything, telling a terminal how far it is."""
    from templates.preflight import look

    for library in ("google.auth", "urllib3"):
        # What they warn of is a finding here, told once and with what mends it.
        logging.getLogger(library).setLevel(logging.ERROR)
    terminal = sys.stderr.isatty()

    def progress(done: int, of: int) -> None:
        if terminal:
            typer.echo(f"\r\033[Klooked at {done} of {of}", err=True, nl=False)

    try:
        progress(0, len(needs))
        return look(
            needs,
            service_account=service_account,
            environment=os.environ,
            seconds=seconds,
            in_network=in_network,
            progress=progress,
        )
    finally:
        if terminal:
            typer.echo("\r\033[K", err=True, nl=False)


def lines(findings: Sequence["Finding"], *, everything: bool) -> Iterator[str]:
    """Give the findings for a terminal, with their count; without `everything` what is not ok."""
    for finding in findings:
        if finding.outcome == "ok" and not everything:
            continue
        outcome = finding.outcome.upper() if finding.outcome == "failed" else finding.outcome
        yield f"{outcome:8} {finding.resource}: {finding.asked}"
        if finding.words:
            yield f"         {finding.words}"
        if finding.command:
            yield f"         $ {finding.command}"
    counted = Counter(str(finding.outcome) for finding in findings)
    names = ("ok", "failed", "warning", "unknown")
    yield ", ".join(f"{counted[name]} {name}" for name in names if counted[name])
