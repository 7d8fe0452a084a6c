"""The processes that these tests run on."""

from tests.harness.fixtures import (
    _prism,
    bigquery,
    cloud,
    own_broker,
    processes,
    pubsub,
    warehouse_cloud,
)

__all__ = [
    "_prism",
    "bigquery",
    "cloud",
    "own_broker",
    "processes",
    "pubsub",
    "warehouse_cloud",
]
