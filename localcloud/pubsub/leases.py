"""Leases: which messages are out, with whom, and until when.

Ack ids are consecutive numbers, so the deadline of a whole chunk is one heap entry holding a range.
A lease that is acknowledged leaves nothing behind but its place in that range; one that is extended
is only marked, and armed again when the old deadline comes. Both make the common case (acknowledged
long before the deadline) free of heap work.
"""

import heapq
from collections.abc import Collection, Iterable

from localcloud.pubsub.delivery import Delivery, Flow
from localcloud.pubsub.errors import InvalidArgument


class AckIds:
    """The next ack id, shared by all subscriptions so that an id means one lease only.

    It starts at a time of day rather than 0: an acknowledgement that outlived a restart must not
    hit a new message.
    """

    __slots__ = ("next",)

    def __init__(self, first: int) -> None:
        self.next = first


class Leases:
    """The outstanding deliveries of one subscription, by ack id."""

    def __init__(self, ack_ids: AckIds) -> None:
        self._ack_ids = ack_ids
        self._out: dict[str, Delivery] = {}
        # (deadline, first ack id, one past the last, or the ids where they are no range)
        self._deadlines: list[tuple[float, int, int, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._out)

    def outstanding(self) -> Iterable[Delivery]:
        """All deliveries that are out."""
        return self._out.values()

    def grant(self, deliveries: list[Delivery], *, expires: float, flow: Flow) -> None:
        """Lease `deliveries` to `flow` until `expires` (monotonic seconds), under new ack ids."""
        if not deliveries:
            return
        out = self._out
        first = number = self._ack_ids.next
        size = 0
        for delivery in deliveries:
            delivery.ack_id = ack_id = str(number)
            delivery.expires = expires
            delivery.flow = flow
            size += len(delivery.message[0])
            out[ack_id] = delivery
            number += 1
        self._ack_ids.next = number
        flow.messages += len(deliveries)
        flow.bytes += size
        heapq.heappush(self._deadlines, (expires, first, number, ()))

    def end(self, ack_ids: Iterable[str]) -> list[Delivery]:
        """End the leases of `ack_ids` and return their deliveries; ended leases are skipped."""
        out = self._out
        ended = []
        for ack_id in ack_ids:
            delivery = out.pop(ack_id, None)
            if delivery is None:
                continue
            flow = delivery.flow
            if flow is not None:
                flow.messages -= 1
                flow.bytes -= len(delivery.message[0])
            ended.append(delivery)
        return ended

    def extend(self, ack_ids: Iterable[str], *, expires: float) -> None:
        """Move the deadline of `ack_ids` to `expires`; ids of ended leases are skipped."""
        sooner = []
        for ack_id in ack_ids:
            delivery = self._out.get(ack_id)
            if delivery is None:
                continue
            if expires < delivery.expires:
                sooner.append(ack_id)
            delivery.expires = expires
        self._arm(sooner, expires)

    def expired(self, now: float) -> list[Delivery]:
        """End the leases whose deadline has come and return their deliveries, oldest ids first."""
        deadlines = self._deadlines
        due: list[str] = []
        extended: dict[float, list[str]] = {}
        while deadlines and deadlines[0][0] <= now:
            _, first, last, ids = heapq.heappop(deadlines)
            if not self._out:
                continue
            for ack_id in ids or map(str, range(first, last)):
                delivery = self._out.get(ack_id)
                if delivery is None:
                    continue
                if delivery.expires <= now:
                    due.append(ack_id)
                else:
                    extended.setdefault(delivery.expires, []).append(ack_id)
        for expires, still_out in extended.items():
            self._arm(still_out, expires)
        due.sort(key=int)
        return self.end(due)

    def clear(self) -> None:
        """End every lease."""
        self.end(list(self._out))
        self._deadlines.clear()

    def _arm(self, ack_ids: list[str], expires: float) -> None:
        if ack_ids:
            first = int(ack_ids[0])
            heapq.heappush(self._deadlines, (expires, first, first, tuple(ack_ids)))


def check_ack_ids(ack_ids: Collection[str], *, field: str) -> None:
    """Raises InvalidArgument for an id that no server of this kind ever gave out."""
    if not all(map(str.isdecimal, ack_ids)):
        malformed = next(ack_id for ack_id in ack_ids if not ack_id.isdecimal())
        raise InvalidArgument(f"{field}: Invalid ack id (ack_id={malformed[:80]})")
