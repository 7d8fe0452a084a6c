"""Fixtures of the tests with real processes; imported by the conftest of each of their folders.

A folder whose tests all run pipelines imports everything in ``__all__``, Prism's check included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipelines.prism import cached_path
from tests.harness.brokers import Broker, start_own
from tests.harness.cloud import Cloud, start_bigquery, start_pubsub
from tests.harness.processes import Processes

__all__ = [
    "_prism",
    "bigquery",
    "cloud",
    "own_broker",
    "processes",
    "pubsub",
    "warehouse_cloud",
]

DEVICES = tuple(f"d{number}" for number in range(1, 11))


@pytest.fixture(scope="session", autouse=True)
def _prism() -> None:
    if not cached_path().is_file():
        pytest.skip("Beam's Prism is not there: `python -m localcloud.prism` fetches it")


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts processes that end with the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture(scope="session")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Pub/Sub for all tests; each has topics of its own."""
    with Processes(tmp_path_factory.mktemp("pubsub")) as started:
        yield start_pubsub(started)


@pytest.fixture(scope="session")
def bigquery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses (REST, gRPC) of one BigQuery for all tests; each has its own dataset."""
    process = start_bigquery(tmp_path_factory.mktemp("bigquery"))
    yield process.rest, process.grpc
    process.stop()


@pytest.fixture
def cloud(processes: Processes, pubsub: str) -> Cloud:
    """Pub/Sub with topics of this test's own."""
    made = Cloud(processes=processes, pubsub=pubsub)
    made.create()
    return made


@pytest.fixture
def warehouse_cloud(processes: Processes, pubsub: str, bigquery: tuple[str, str]) -> Cloud:
    """Pub/Sub and BigQuery, with topics and tables of this test's own."""
    rest, grpc = bigquery
    made = Cloud(processes=processes, pubsub=pubsub, bigquery=rest, bigquery_storage=grpc)
    made.create()
    return made


@pytest.fixture
def own_broker(processes: Processes, tmp_path: Path) -> Broker:
    """Our own broker, with the devices ``DEVICES`` and a user for each pipeline."""
    return start_own(processes, tmp_path, devices=DEVICES)


StartBroker = Callable[[Processes, Path], Broker]


def own_with_devices(
    processes: Processes, folder: Path, devices: Sequence[str] = DEVICES
) -> Broker:
    """``start_own`` as the other brokers are started."""
    return start_own(processes, folder, devices=devices)
