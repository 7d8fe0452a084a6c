"""Connection settings that may travel: picklable, with references in place of secrets."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mqtt.client import BrokerAddress, ConnectionSettings, SecretReader, TlsFiles, TokenSigner
from mqtt.client.tokens import LONGEST_LIFETIME_SECONDS
from mqtt.codec import ProtocolVersion
from transforms.secrets import SecretRef


class Login(enum.Enum):
    """What is made of the secret: sent, proved by SCRAM-SHA-256, or a token signed with it."""

    PASSWORD = "password"  # noqa: S105  # not one
    SCRAM = "scram"
    TOKEN = "token"  # noqa: S105  # not one


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """How to reach the brokers.

    Attributes:
      addresses: one or several; tried in turn.
      protocol: MQTT 5.0 or 3.1.1.
      username: None for none.
      password: reference to a password or token, or to the private key that signs tokens.
      login: what is done with it. SCRAM needs a username and MQTT 5.0.
      scram_again_seconds: see ConnectionSettings.
      token_audience: what tokens say that they are for (``aud``).
      ca: reference to the CA certificate (PEM) that the broker's is checked against; None: the
        system's authorities.
      certificate, key: references to a client certificate (PEM) and its key; both or neither.
      keep_alive_seconds: see ConnectionSettings.
      connect_timeout_seconds: for one attempt.
      start_timeout_seconds: a connection that was not ready once within it fails the pipeline.
    """

    addresses: tuple[BrokerAddress, ...]
    protocol: ProtocolVersion = ProtocolVersion.V5
    username: str | None = None
    password: SecretRef | None = None
    login: Login = Login.PASSWORD
    scram_again_seconds: float | None = None
    token_audience: str | None = None
    ca: SecretRef | None = None
    certificate: SecretRef | None = None
    key: SecretRef | None = None
    keep_alive_seconds: int = 30
    connect_timeout_seconds: float = 10.0
    start_timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ValueError("addresses: at least one broker address is needed")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: give both or neither")
        if self.login is not Login.PASSWORD and self.password is None:
            raise ValueError(f"login {self.login.value} needs a password")
        v311 = self.protocol is ProtocolVersion.V311
        if self.login is Login.SCRAM and (self.username is None or v311):
            raise ValueError("login scram needs a username, and MQTT 5.0")
        if self.login is not Login.SCRAM and self.scram_again_seconds is not None:
            raise ValueError("scram_again_seconds needs login scram")
        if (self.login is Login.TOKEN) != (self.token_audience is not None):
            raise ValueError("login token and token_audience: give both or neither")
        uses_tls = any(address.tls for address in self.addresses)
        if not uses_tls and (self.ca or self.certificate):
            raise ValueError(
                f"ca and certificate are of use only with mqtts://, not with {self.addresses[0]}"
            )

    def connection(
        self,
        client_id: str,
        *,
        session_expiry_seconds: int = 0,
        receive_maximum: int = 65_535,
        clean_start: bool = False,
    ) -> ConnectionSettings:
        """Returns the settings of one connection. Raises SecretError for a certificate file."""
        return ConnectionSettings(
            addresses=self.addresses,
            client_id=client_id,
            protocol=self.protocol,
            username=self.username,
            password=self._password(),
            scram=self.login is Login.SCRAM,
            scram_again_seconds=self.scram_again_seconds,
            tls=TlsFiles(
                ca_file=self.ca.as_file() if self.ca else None,
                certificate_file=self.certificate.as_file() if self.certificate else None,
                key_file=self.key.as_file() if self.key else None,
            ),
            clean_start=clean_start,
            session_expiry_seconds=session_expiry_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
            receive_maximum=receive_maximum,
            connect_timeout_seconds=self.connect_timeout_seconds,
        )

    def _password(self) -> SecretReader | None:
        if self.password is None or self.token_audience is None:
            return None if self.password is None else self.password.read
        # Each connection ends with its token, and what is unacknowledged then comes again.
        return TokenSigner(
            self.password.read,
            audience=self.token_audience,
            lifetime_seconds=LONGEST_LIFETIME_SECONDS,
        )
