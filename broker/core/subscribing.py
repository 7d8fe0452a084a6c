"""SUBSCRIBE and UNSUBSCRIBE: syntax, rights, retained messages, share groups."""

from __future__ import annotations

from collections.abc import Sequence

import mqtt5
from mqtt5 import (
    RetainHandling,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    UnsubAckPacket,
    UnsubAckReasonCode,
    UnsubscribePacket,
)

from broker.auth.principal import Principal
from broker.core.actions import Notice
from broker.core.budget import Budget
from broker.core.catching_up import CatchingUp
from broker.core.connection import Connection
from broker.core.delivery import Delivery
from broker.core.journal import Journal
from broker.core.limits import Limits
from broker.core.memory import subscription_bytes
from broker.core.reasons import encode_with_reason, fits
from broker.core.session import Session
from broker.core.sharing import ShareGroup
from broker.core.subscriptions import Subscription, Subscriptions
from mqtt.codec import encode
from mqtt.errors import MalformedPacket, ProtocolError, TopicError
from mqtt.topics import TopicFilter

_TOPIC_FILTER_INVALID = 0x8F
_PACKET_TOO_LARGE = 0x95
_RATE_TOO_HIGH = 0x96
_NOT_ALLOWED = frozenset(
    (int(SubAckReasonCode.NOT_AUTHORIZED), int(SubAckReasonCode.UNSPECIFIED_ERROR))
)
"""With reasons and without, see ``Limits.reveal_reasons``."""
_LOGGED_FILTERS = 10
_PACKETS_AT_ONCE = 10
"""With as many topic filters as they may have: what is read at once is handled at once."""


class Subscribing:
    """Keeps sessions' subscriptions."""

    def __init__(
        self,
        *,
        limits: Limits,
        subscriptions: Subscriptions,
        delivery: Delivery,
        catching_up: CatchingUp,
        journal: Journal,
        budget: Budget,
    ) -> None:
        self.limits = limits
        self._subscriptions = subscriptions
        self._delivery = delivery
        self._catching_up = catching_up
        self._journal = journal
        self._budget = budget

    def subscribe(self, connection: Connection, packet: SubscribePacket, now: float) -> None:
        """Handles SUBSCRIBE. Raises ProtocolError."""
        if packet.packet_id == 0:
            # [MQTT-2.2.1-3]
            raise MalformedPacket("SUBSCRIBE with packet identifier 0")
        if not packet.topic_filters:
            # [MQTT-3.8.3-2]
            raise ProtocolError("SUBSCRIBE without a topic filter")
        wanted = [(_parse(item.pattern), item) for item in packet.topic_filters]
        for topic_filter, item in wanted:
            if topic_filter.share is not None and item.no_local:
                # [MQTT-3.8.3-4]
                raise ProtocolError(f"shared subscription {item.pattern!r} with No Local")
        session = connection.session
        assert session is not None
        self._count(connection, len(wanted), now)
        known = [str(topic_filter) in session.subscriptions for topic_filter, _ in wanted]
        codes = [
            self._subscribe(connection, session, topic_filter, item, packet.subscription_id)
            for topic_filter, item in wanted
        ]
        # [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.8.4-6]: one code a filter, in their order.
        self._answer(connection, packet, codes)
        self._tell_refused(connection, wanted, codes)
        for (topic_filter, item), code, existed in zip(wanted, codes, known, strict=True):
            if int(code) < 0x80 and _wants_retained(topic_filter, item, existed):
                self._catching_up.begin(session.subscriptions[str(topic_filter)])
        self._catching_up.go_on(now)
        # A new member may be what a share group waited for.
        self._delivery.pump(session, now)

    def unsubscribe(self, connection: Connection, packet: UnsubscribePacket, now: float) -> None:
        """Handles UNSUBSCRIBE; what is on its way is still delivered [MQTT-3.10.4-3]."""
        if packet.packet_id == 0:
            raise MalformedPacket("UNSUBSCRIBE with packet identifier 0")
        if not packet.patterns:
            # [MQTT-3.10.3-2]
            raise ProtocolError("UNSUBSCRIBE without a topic filter")
        session = connection.session
        assert session is not None
        self._count(connection, len(packet.patterns), now)
        codes = []
        for topic_filter in [_parse(pattern) for pattern in packet.patterns]:
            if self._forget_asleep(session, str(topic_filter)):
                codes.append(UnsubAckReasonCode.SUCCESS)
                continue
            if str(topic_filter) not in session.subscriptions:
                codes.append(UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED)
                continue
            subscription, group = self._remove(session, str(topic_filter))
            if group is not None:
                self._left(session, group, subscription, now)
            codes.append(UnsubAckReasonCode.SUCCESS)
        # [MQTT-3.10.4-4], [MQTT-3.10.4-5]
        self._send(connection, encode(UnsubAckPacket(packet.packet_id, codes), connection.protocol))

    def add(self, subscription: Subscription) -> ShareGroup | None:
        """Adds or replaces a session's subscription. Returns the share group of a shared one."""
        text = str(subscription.topic_filter)
        session = subscription.session
        if text not in session.subscriptions:
            self._budget.charge(subscription_bytes(text))
        return self._enter(session, text, subscription)

    def suit(self, session: Session, principal: Principal, now: float) -> None:
        """Subscriptions that the session's owner may not have fall asleep: they get nothing.

        Should it ever have the right again they are there as before: a client that finds its
        session has no reason to subscribe anew, and would be deaf after somebody's mistake.
        """
        for text, subscription in list(session.subscriptions.items()):
            if principal.may_subscribe(subscription.topic_filter):
                continue
            del session.subscriptions[text]
            session.groups.pop(text, None)
            session.asleep[text] = subscription
            group = self._subscriptions.remove(subscription)
            if group is not None:
                self._left(session, group, subscription, now)
            self._tell(session, f"subscription to {text!r} sleeps: not allowed any more")
        for text, subscription in list(session.asleep.items()):
            if principal.may_subscribe(subscription.topic_filter):
                del session.asleep[text]
                self._enter(session, text, subscription)
                self._tell(session, f"subscription to {text!r} holds again: allowed", sleeps=False)

    def end(self, session: Session, now: float) -> None:
        """The session ends: its subscriptions go, its shared messages go to other members."""
        self._catching_up.forget(session)
        for text, subscription in session.subscriptions.items():
            self._budget.charge(-subscription_bytes(text))
            group = self._subscriptions.remove(subscription)
            if group is not None and group.members:
                self._delivery.member_left(group)
            elif group is not None:
                self._delivery.abandon(group)
        for text in list(session.asleep):
            self._budget.charge(-subscription_bytes(text))
        session.subscriptions.clear()
        session.asleep.clear()
        session.groups.clear()
        self._delivery.hand_on(session, now)

    def _count(self, connection: Connection, filters: int, now: float) -> None:
        """A packet has so many. Raises ProtocolError for more than any session can use."""
        if connection.filters_at != now:
            connection.filters_at, connection.filters = now, 0
        connection.filters += filters
        if connection.filters > _PACKETS_AT_ONCE * self.limits.filters_of_a_packet:
            raise ProtocolError(
                f"{connection.filters} topic filters at once", reason_code=_RATE_TOO_HIGH
            )
        if connection.pace is not None:
            connection.pace.spend(filters - 1, 0, now)

    def _answer(
        self, connection: Connection, packet: SubscribePacket, codes: list[SubAckReasonCode]
    ) -> None:
        refused = [
            f"{item.pattern!r}: {self._why(int(code))}"
            for item, code in zip(packet.topic_filters, codes, strict=True)
            if int(code) >= 0x80
        ]
        if refused:
            data = encode_with_reason(
                connection,
                lambda text: SubAckPacket(packet.packet_id, codes, reason_str=text),
                "; ".join(refused),
                limits=self.limits,
            )
        else:
            data = encode(SubAckPacket(packet.packet_id, codes), connection.protocol)
        self._send(connection, data)

    def _tell_refused(
        self,
        connection: Connection,
        wanted: Sequence[tuple[TopicFilter, object]],
        codes: Sequence[SubAckReasonCode],
    ) -> None:
        """One line for a packet, however many filters it has."""
        refused = [
            repr(str(topic_filter))
            for (topic_filter, _), code in zip(wanted, codes, strict=True)
            if int(code) in _NOT_ALLOWED
        ]
        if not refused:
            return
        words = ", ".join(refused[:_LOGGED_FILTERS])
        if len(refused) > _LOGGED_FILTERS:
            words += f" and {len(refused) - _LOGGED_FILTERS} others"
        self._delivery.turn.notice(
            connection,
            f"SUBSCRIBE to {words} refused: not allowed",
            event="subscribe_refused",
            reason="not allowed",
            warning=True,
        )

    def _send(self, connection: Connection, data: bytes) -> None:
        if not fits(connection, data):
            # [MQTT-3.1.2-24]: an answer that can't be given, and must be.
            raise ProtocolError(
                f"the answer takes {len(data)} bytes, more than the client's Maximum Packet Size",
                reason_code=_PACKET_TOO_LARGE,
            )
        self._delivery.turn.send(connection, data)

    def _why(self, code: int) -> str:
        if code == SubAckReasonCode.TOPIC_FILTER_INVALID:
            return f"more than {self.limits.topic_levels} levels"
        if code == SubAckReasonCode.QUOTA_EXCEEDED:
            if self._budget.memory_is_full:
                return "the server's memory is at its limit"
            return f"more than {self.limits.subscriptions_per_session} subscriptions"
        return "not allowed"

    def _subscribe(
        self,
        connection: Connection,
        session: Session,
        topic_filter: TopicFilter,
        item: mqtt5.TopicFilter,
        identifier: int | None,
    ) -> SubAckReasonCode:
        principal = connection.principal
        assert principal is not None
        text = str(topic_filter)
        is_refused = "/".join(topic_filter.levels) in self.limits.refused_filters
        if is_refused or not principal.may_subscribe(topic_filter):
            # It knows now that it has none.
            self._forget_asleep(session, text)
            if self.limits.reveal_reasons:
                return SubAckReasonCode.NOT_AUTHORIZED
            return SubAckReasonCode.UNSPECIFIED_ERROR
        if len(topic_filter.levels) > self.limits.topic_levels:
            return SubAckReasonCode.TOPIC_FILTER_INVALID
        if text not in session.subscriptions and (
            len(session.subscriptions) + len(session.asleep)
            >= self.limits.subscriptions_per_session
            or self._budget.memory_is_full
        ):
            return SubAckReasonCode.QUOTA_EXCEEDED
        subscription = Subscription(
            session=session,
            topic_filter=topic_filter,
            qos=int(item.max_qos),
            no_local=item.no_local,
            retain_as_published=item.retain_as_published,
            identifier=identifier,
        )
        self._forget_asleep(session, text)
        self.add(subscription)
        self._journal.subscribed(session, text)
        return SubAckReasonCode(int(item.max_qos))

    def _left(
        self, session: Session, group: ShareGroup, subscription: Subscription, now: float
    ) -> None:
        if group.members:
            self._delivery.member_left(group)
        else:
            self._delivery.keep_for(session, group, subscription, now)

    def _enter(self, session: Session, text: str, subscription: Subscription) -> ShareGroup | None:
        session.subscriptions[text] = subscription
        group = self._subscriptions.add(subscription)
        if group is not None:
            session.groups[text] = group
        return group

    def _forget_asleep(self, session: Session, text: str) -> bool:
        """Whether there was one."""
        if session.asleep.pop(text, None) is None:
            return False
        self._budget.charge(-subscription_bytes(text))
        self._journal.unsubscribed(session, text)
        return True

    def _tell(self, session: Session, text: str, *, sleeps: bool = True) -> None:
        notice = Notice(
            client_id=session.client_id,
            text=text,
            event="subscription_sleeps" if sleeps else "subscription_holds",
            reason="not allowed any more" if sleeps else "allowed again",
            warning=sleeps,
        )
        self._delivery.turn.notices.append(notice)

    def _remove(self, session: Session, text: str) -> tuple[Subscription, ShareGroup | None]:
        subscription = session.subscriptions.pop(text)
        session.groups.pop(text, None)
        self._budget.charge(-subscription_bytes(text))
        self._journal.unsubscribed(session, text)
        return subscription, self._subscriptions.remove(subscription)


def _wants_retained(topic_filter: TopicFilter, item: mqtt5.TopicFilter, existed: bool) -> bool:
    if topic_filter.share is not None or item.retain_handling == RetainHandling.SEND_NEVER:
        # [MQTT-3.3.1-11]; and a shared subscription gets none (4.8.2).
        return False
    # [MQTT-3.3.1-10]
    return not existed or item.retain_handling != RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS


def _parse(pattern: str) -> TopicFilter:
    try:
        return TopicFilter.parse(pattern)
    except TopicError as error:
        # [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.8.2-1], [MQTT-4.8.2-2]
        raise ProtocolError(str(error), reason_code=_TOPIC_FILTER_INVALID) from error
