"""Proving again, on a connection that stands, who we are (MQTT 5.0, section 4.12.1).

The password is read anew each time. So a connection goes over to a rotated one before the one that
it began with ends, and nothing has to be sent again; and what answers under the broker's name must
show again that it knows the password. Only a client may begin this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from mqtt5 import AuthPacket, AuthReasonCode

from mqtt.client.scram_login import ScramLogin
from mqtt.errors import BrokerNotProved, ConnectionLost, CredentialMissing, ProtocolError

_LOGGER = logging.getLogger(__name__)


class ProvingAgain:
    """What one connection does of it; times are monotonic seconds.

    Args:
      login: makes an exchange, with the password as it is now.
      every_seconds: from the end of one exchange to the begin of the next.
      answer_seconds: how long the broker may take for each of its answers.
      now: when the connection was made.
    """

    def __init__(
        self,
        login: Callable[[], ScramLogin],
        *,
        every_seconds: float,
        answer_seconds: float,
        now: float,
    ) -> None:
        self._login = login
        self._every_seconds = every_seconds
        self._answer_seconds = answer_seconds
        self._due = now + every_seconds
        self._exchange: ScramLogin | None = None

    def tick(self, now: float) -> AuthPacket | None:
        """What is to be sent now, if something is. Raises ConnectionLost: there was no answer."""
        if now < self._due:
            return None
        if self._exchange is not None:
            raise ConnectionLost(
                f"the broker did not answer within {self._answer_seconds:g} s when we proved again"
                " who we are"
            )
        try:
            self._exchange = self._login()
        except CredentialMissing as error:
            # The connection stands by what was proved before; a broker that disagrees will end it.
            _LOGGER.warning("not proved again who we are: %s", error)
            self._due = now + self._every_seconds
            return None
        self._due = now + self._answer_seconds
        return self._exchange.again()

    def received(self, packet: AuthPacket, now: float) -> AuthPacket | None:
        """What answers the broker's AUTH.

        Raises:
          BrokerNotProved: it does not know the password.
          ProtocolError: nothing of the kind was asked for.
        """
        if self._exchange is None:
            raise ProtocolError("AUTH that nothing was asked by")
        try:
            if packet.reason_code is not AuthReasonCode.SUCCESS:
                self._due = now + self._answer_seconds
                return self._exchange.answer(packet)
            self._exchange.check(packet)
        except BrokerNotProved as error:
            raise BrokerNotProved(
                f"the broker did not prove by SCRAM, when it was asked again, that it knows the"
                f" password: {error}; is it the right broker?"
            ) from error
        self._exchange = None
        self._due = now + self._every_seconds
        return None
