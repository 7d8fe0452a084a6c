"""Everything that a pipeline needs, looked at at once: no failure hides another.

Each need is examined in a thread of its own. What has not answered in time is told as unknown and
left behind: its thread is a daemon, and ends with its own call. A look that ends by an error nobody
foresaw is told as unknown, with the error's type and words: it says nothing of the other needs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from pipelines.preflight.access import Access
from pipelines.preflight.api import first_line
from pipelines.preflight.bigquery import examine_table
from pipelines.preflight.broker import examine_broker
from pipelines.preflight.job import examine_job
from pipelines.preflight.needs import (
    Broker,
    File,
    Folder,
    Job,
    LaunchFolder,
    Need,
    Secret,
    Specification,
    Subnetwork,
    Subscription,
    Table,
    Topic,
)
from pipelines.preflight.pubsub import examine_subscription, examine_topic
from pipelines.preflight.secret_manager import examine_secret
from pipelines.preflight.specification import examine_specification
from pipelines.preflight.storage import examine_file, examine_folder, examine_launch_folder
from pipelines.preflight.subnetwork import examine_subnetwork
from schemas.finding import Finding, untold

_SHARE = 0.7
"""Of the time for all, that one need is given: so what is away is told in its own words."""

Progress = Callable[[int, int], None]
"""Told after each need how many of how many have been examined."""


def examine(
    needs: Sequence[Need],
    access: Access,
    *,
    seconds: float,
    in_network: bool,
    progress: Progress = lambda done, of: None,
) -> list[Finding]:
    """Returns what was found of each need, in their order, and first who could ask.

    Args:
      needs: looked at once each, whatever their number here.
      access: who asks.
      seconds: how long all of it may take.
      in_network: whether this machine is where the workers will be.
    """
    wanted = tuple(dict.fromkeys(needs))
    answers: queue.Queue[tuple[int, Finding | BaseException | None]] = queue.Queue()
    found: list[list[Finding]] = [[] for _ in wanted]
    unfinished = set(range(len(wanted)))
    for number, need in enumerate(wanted):
        threading.Thread(
            target=_examine_into,
            args=(answers, number, _findings(need, access, _SHARE * seconds, in_network)),
            name=f"preflight-{need.resource}",
            daemon=True,
        ).start()
    deadline = time.monotonic() + seconds
    while unfinished:
        try:
            number, answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Exception):
            words = f"an unforeseen {type(answer).__name__}: {first_line(answer)}"
            found[number].append(untold(wanted[number].resource, "is looked at to its end", words))
            answer = None
        if answer is None:
            unfinished.remove(number)
            progress(len(wanted) - len(unfinished), len(wanted))
        else:
            found[number].append(answer)
    for number in unfinished:
        resource = wanted[number].resource
        found[number].append(untold(resource, "answers", f"it did not within {seconds:g} s"))
    return [*access.findings(), *(finding for each in found for finding in each)]


def _examine_into(
    answers: queue.Queue[tuple[int, Finding | BaseException | None]],
    number: int,
    findings: Iterator[Finding],
) -> None:
    try:
        for finding in findings:
            answers.put((number, finding))
    except BaseException as error:  # noqa: BLE001  # told, or raised, by whoever waits for it
        answers.put((number, error))
    else:
        answers.put((number, None))


def _findings(need: Need, access: Access, seconds: float, in_network: bool) -> Iterator[Finding]:
    match need:
        case Broker():
            return examine_broker(need, access, seconds=seconds, in_network=in_network)
        case Topic():
            return examine_topic(need, access, seconds=seconds)
        case Subscription():
            return examine_subscription(need, access, seconds=seconds)
        case Table():
            return examine_table(need, access, seconds=seconds)
        case Folder():
            return examine_folder(need, access, seconds=seconds)
        case File():
            return examine_file(need, access, seconds=seconds)
        case Specification():
            return examine_specification(need, access, seconds=seconds)
        case LaunchFolder():
            return examine_launch_folder(need, access, seconds=seconds)
        case Subnetwork():
            return examine_subnetwork(need, access, seconds=seconds)
        case Secret():
            return examine_secret(need, access, seconds=seconds)
        case Job():
            return examine_job(need, access, seconds=seconds)
