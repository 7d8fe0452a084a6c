"""The telemetry pipeline on a Flink cluster of processes of its own, with some shards."""

from __future__ import annotations

import sys

from bench.brokers import CLIENT_ID_PREFIX, USER
from bench.peers.peer import Direction, Peer
from bench.services import TELEMETRY_FILTER, TELEMETRY_TOPIC, Endpoints, topic_path
from localcloud.flink.jars import FlinkUnavailable, check_java, ensure_jars

SHARDS = (1, 2, 4)


class OnFlink(Peer):
    """``python -m localcloud.flink -- python -m pipelines.telemetry``, the cluster included.

    Its start takes the better part of a minute, of which nothing is measured.
    """

    def __init__(self, shards: int) -> None:
        super().__init__(Direction.TELEMETRY)
        self.name = f"Flink, {shards} shard{'s' if shards > 1 else ''}"
        self._shards = shards

    def unavailable(self) -> str | None:
        """Java and Maven's jars are needed."""
        try:
            check_java()
            ensure_jars()
        except FlinkUnavailable as error:
            return str(error)
        return None

    def command(self, endpoints: Endpoints) -> list[str]:
        """The command line of the cluster, and behind it the pipeline's."""
        return [
            *(sys.executable, "-m", "localcloud.flink"),
            *("--folder", str(endpoints.folder / "flink"), "--"),
            *(sys.executable, "-m", "pipelines.telemetry"),
            f"--broker=mqtt://127.0.0.1:{endpoints.broker_port}",
            f"--client_id={CLIENT_ID_PREFIX}flink",
            f"--username={USER}",
            "--password=env:BENCH_PASSWORD",
            f"--topics={TELEMETRY_FILTER}",
            f"--output_topic={topic_path(TELEMETRY_TOPIC)}",
            f"--shards={self._shards}",
        ]
