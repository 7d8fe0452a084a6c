"""The processes that these tests run on."""

import pytest

from localcloud.flink.jars import FlinkUnavailable, cached_jars, check_java
from tests.harness.fixtures import bigquery, cloud, own_broker, processes, pubsub, warehouse_cloud

__all__ = ["bigquery", "cloud", "own_broker", "processes", "pubsub", "warehouse_cloud"]


@pytest.fixture(scope="session", autouse=True)
def _flink() -> None:
    try:
        check_java()
    except FlinkUnavailable as error:
        pytest.skip(str(error))
    if not cached_jars().is_dir():
        pytest.skip("Flink's jars are not there: `make test-flink` fetches them by Maven")
