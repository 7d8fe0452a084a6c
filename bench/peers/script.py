"""The plain scripts of ``bench/scripts``."""

from __future__ import annotations

import sys

from bench.peers.peer import Peer
from bench.services import (
    COMMANDS_SUBSCRIPTION,
    TELEMETRY_TOPIC,
    Endpoints,
    subscription_path,
    topic_path,
)


class Script(Peer):
    """About forty lines with paho and Google's client; see ``bench/scripts``."""

    name = "script"

    def unavailable(self) -> str | None:
        """Never: it needs what the harness needs."""
        return None

    def command(self, endpoints: Endpoints) -> list[str]:
        """The script for the direction."""
        return [sys.executable, "-m", f"bench.scripts.{self.direction.value}"]

    def environment(self, endpoints: Endpoints) -> dict[str, str]:
        """The places, which the scripts read from the environment."""
        return {
            **super().environment(endpoints),
            "BENCH_TOPIC": topic_path(TELEMETRY_TOPIC),
            "BENCH_SUBSCRIPTION": subscription_path(COMMANDS_SUBSCRIPTION),
        }
