"""The processes that these tests run on."""

from tests.harness.fixtures import cloud, own_broker, processes, pubsub

__all__ = ["cloud", "own_broker", "processes", "pubsub"]
