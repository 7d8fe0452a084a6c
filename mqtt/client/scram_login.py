"""SCRAM-SHA-256 at CONNECT (MQTT 5.0, section 4.12) or later (4.12.1): the password stays here, and
the broker too must show that it knows it.
"""

from __future__ import annotations

import secrets

from mqtt5 import AuthPacket, AuthReasonCode, ConnAckPacket

from mqtt.errors import BrokerNotProved, ScramError
from mqtt.scram import METHOD, ScramClient

_NONCE_BYTES = 18


class ScramLogin:
    """One exchange; ``name`` and ``password`` are prepared as RFC 5802 asks.

    Raises:
      ValueError: the name or the password can't be used with SCRAM.
    """

    method = METHOD

    def __init__(self, name: str, password: bytes) -> None:
        try:
            text = password.decode()
        except UnicodeDecodeError as error:
            raise ValueError("the password is no UTF-8 text, which SCRAM needs") from error
        self._client = ScramClient(name, text, nonce=secrets.token_urlsafe(_NONCE_BYTES))

    def first(self) -> bytes:
        """The Authentication Data of CONNECT."""
        return self._client.first()

    def again(self) -> AuthPacket:
        """What begins the exchange on a connection that stands [MQTT-4.12.1-1]."""
        return AuthPacket(
            reason_code=AuthReasonCode.RE_AUTHENTICATE,
            authentication_method=METHOD,
            authentication_data=self.first(),
        )

    def answer(self, packet: AuthPacket) -> AuthPacket:
        """What answers the broker's AUTH [MQTT-4.12.0-3]. Raises BrokerNotProved."""
        if packet.reason_code is not AuthReasonCode.CONTINUE_AUTHENTICATION:
            raise BrokerNotProved("its AUTH does not go on with the exchange")
        try:
            proof = self._client.answer(_data(packet))
        except ScramError as error:
            raise BrokerNotProved(str(error)) from error
        return AuthPacket(
            reason_code=AuthReasonCode.CONTINUE_AUTHENTICATION,
            authentication_method=METHOD,
            authentication_data=proof,
        )

    def check(self, answer: ConnAckPacket | AuthPacket) -> None:
        """Whether the broker has proved itself with its last word. Raises BrokerNotProved."""
        try:
            self._client.verify(_data(answer))
        except ScramError as error:
            raise BrokerNotProved(str(error)) from error


def _data(packet: AuthPacket | ConnAckPacket) -> bytes:
    if packet.authentication_method != METHOD:
        # [MQTT-4.12.0-5]
        raise BrokerNotProved(f"its {type(packet).__name__} is not of {METHOD}")
    return packet.authentication_data or b""
