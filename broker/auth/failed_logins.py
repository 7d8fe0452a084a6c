"""How often a login may fail before the next one is refused without a look.

Counted for an address with a name, and for an address. Never for a name alone: whoever knows a
device's name could then keep the device out from anywhere. So a guesser has so many guesses at a
name for each address that he has, and can lock out nobody but those behind the same address.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from broker.auth.site import site_of

_KEPT = 100_000
"""Addresses and pairs that are remembered; the one that failed longest ago is let go of first."""


class FailedLogins:
    """Leaky buckets: each failure fills one by 1, and it runs empty in ``seconds``.

    ``per_name`` and ``per_address``: how much they hold. Times are those of one clock.
    """

    def __init__(self, *, per_name: int, per_address: int, seconds: float) -> None:
        self._names = _Buckets(per_name, seconds)
        self._addresses = _Buckets(per_address, seconds)

    def allows_name(self, address: str, name: str, now: float) -> bool:
        """Whether a login under that name may be tried from that address."""
        return self._names.has_room(_pair(address, name), now)

    def allows_address(self, address: str, now: float) -> bool:
        """Whether a guess at what was never proved before may be tried from that address."""
        return self._addresses.has_room(site_of(address), now)

    def failed(self, address: str, name: str, now: float, *, is_guess: bool = True) -> None:
        """Nothing was proved. Where it can't have been a guess, others are not to suffer for it."""
        self._names.fill(_pair(address, name), now)
        if is_guess:
            self._addresses.fill(site_of(address), now)


class _Buckets:
    def __init__(self, capacity: int, seconds: float) -> None:
        self._capacity = capacity
        self._per_second = capacity / seconds
        self._levels: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def has_room(self, key: bytes, now: float) -> bool:
        return self._level(key, now) <= self._capacity - 1

    def fill(self, key: bytes, now: float) -> None:
        self._levels[key] = (self._level(key, now) + 1, now)
        self._levels.move_to_end(key)
        if len(self._levels) > _KEPT:
            self._levels.popitem(last=False)

    def _level(self, key: bytes, now: float) -> float:
        level, then = self._levels.get(key, (0.0, now))
        return max(0.0, level - (now - then) * self._per_second)


def _pair(address: str, name: str) -> bytes:
    # A name may have 65,535 bytes, and whoever sends it chooses it.
    return site_of(address) + hashlib.sha256(name.encode()).digest()
