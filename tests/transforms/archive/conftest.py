from __future__ import annotations

from tests.transforms.pubsubio.conftest import channel, place, service

__all__ = ["channel", "place", "service"]
