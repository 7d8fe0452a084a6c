"""A local Pub/Sub: the service's gRPC API in one process, in memory.

A pure core (`state`, `topic`, `subscription` and what they stand on) behind a thin asyncio shell
(`server`, `pulling`). Messages live in memory only and end with the process.
"""

from localcloud.pubsub.embedded import LocalPubSub
from localcloud.pubsub.server import PubSubServer

__all__ = ["LocalPubSub", "PubSubServer"]
