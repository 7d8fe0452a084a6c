"""The options of every pipeline that speaks MQTT: the brokers, and the layout of their topics."""

from __future__ import annotations

from dataclasses import dataclass

from mqtt.client import BrokerAddress
from mqtt.codec import ProtocolVersion
from pipelines.options import OptionError, option
from pipelines.readers import (
    addresses,
    choice,
    client_id,
    integer,
    layout,
    protocol,
    seconds,
    secret,
)
from schemas.layout import layout_named
from transforms.mqttio import BrokerSettings, Login
from transforms.secrets import SecretRef


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """How to reach the MQTT brokers; the same for every pipeline that does."""

    broker: tuple[BrokerAddress, ...] = option(
        "Broker address, or several separated by commas that are tried in turn: mqtt:// or tcp://"
        " (plain), mqtts:// or ssl:// (TLS), ws:// or wss:// (WebSocket; its path is /mqtt unless"
        " the address has one).",
        parse=addresses,
        example="mqtts://broker.example.com:8883",
    )
    client_id: str = option(
        "Prefix of the MQTT client identifiers: the same at every start, and of this pipeline"
        " alone. The broker keeps the pipeline's messages under it.",
        parse=client_id,
        example="telemetry-eu",
    )
    protocol: ProtocolVersion = option(
        "MQTT version, 5 or 3.1.1.", parse=protocol, example="5", default=ProtocolVersion.V5
    )
    username: str | None = option("MQTT user name.", example="pipeline", default=None)
    password: SecretRef | None = option(
        "Reference to the password or token, or with --login=token to the private key:"
        " projects/P/secrets/S/versions/V, file:PATH or env:NAME. Never the password itself.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-password/versions/latest",
        default=None,
    )
    login: Login = option(
        "What is made of the password: it is sent (password); it is proved by SCRAM-SHA-256, and"
        " the broker must prove the same (scram, MQTT 5 only); or it is a private key (PEM, RSA or"
        " P-256) that signs a JSON Web Token for each connection (token).",
        parse=choice(**{item.value: item for item in Login}),
        example="scram",
        default=Login.PASSWORD,
    )
    scram_again_seconds: float | None = option(
        "How often a connection proves by SCRAM again who it is (MQTT 5 re-authentication), with"
        " the password as it is then: a rotated one takes the place of the one before without a"
        " reconnect, if it is read before that ends. Without it never; needs --login=scram.",
        parse=seconds(1, 86_400),
        example="3600",
        default=None,
    )
    token_audience: str | None = option(
        "Whom tokens are for (aud); needs --login=token.", example="my-project", default=None
    )
    ca: SecretRef | None = option(
        "Reference to the CA certificate (PEM) that the broker's certificate is checked against;"
        " without it the system's authorities.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-ca",
        default=None,
    )
    client_certificate: SecretRef | None = option(
        "Reference to a client certificate (PEM); needs client_key.",
        parse=secret,
        example="projects/my-project/secrets/mqtt-certificate",
        default=None,
    )
    client_key: SecretRef | None = option(
        "Reference to the client certificate's key (PEM).",
        parse=secret,
        example="projects/my-project/secrets/mqtt-key",
        default=None,
    )
    keep_alive_seconds: int = option(
        "Longest silence on the connection.", parse=integer(1, 65_535), example="30", default=30
    )
    start_timeout_seconds: float = option(
        "How long brokers, topics and tables are waited for at the start before it fails.",
        parse=seconds(1, 3_600),
        example="60",
        default=60.0,
    )

    def broker_settings(self) -> BrokerSettings:
        """Returns the connection settings. Raises OptionError where options contradict."""
        try:
            return BrokerSettings(
                addresses=self.broker,
                protocol=self.protocol,
                username=self.username,
                password=self.password,
                login=self.login,
                scram_again_seconds=self.scram_again_seconds,
                token_audience=self.token_audience,
                ca=self.ca,
                certificate=self.client_certificate,
                key=self.client_key,
                keep_alive_seconds=self.keep_alive_seconds,
                start_timeout_seconds=self.start_timeout_seconds,
            )
        except ValueError as error:
            raise OptionError(str(error)) from error

    def __post_init__(self) -> None:
        if (self.client_certificate is None) != (self.client_key is None):
            missing = "client_key" if self.client_key is None else "client_certificate"
            raise OptionError(f"--{missing} is missing: a certificate and its key go together")
        v311 = self.protocol is ProtocolVersion.V311
        if v311 and self.password is not None and self.username is None:
            raise OptionError(
                "--username is missing: MQTT 3.1.1 takes a password only with a user name"
            )
        if self.login is not Login.PASSWORD and self.password is None:
            raise OptionError(f"--password is missing: --login={self.login.value} needs one")
        if self.login is Login.SCRAM and self.username is None:
            raise OptionError("--username is missing: --login=scram needs one")
        if self.login is Login.SCRAM and v311:
            raise OptionError("--login=scram is of MQTT 5 only: give --protocol=5")
        if self.scram_again_seconds is not None and self.login is not Login.SCRAM:
            raise OptionError("--login=scram is missing: --scram_again_seconds is of it alone")
        if (self.login is Login.TOKEN) != (self.token_audience is not None):
            missing = "login=token" if self.token_audience is not None else "token_audience"
            raise OptionError(f"--{missing} is missing: tokens and whom they are for go together")
        if (self.ca or self.client_certificate) and not any(item.tls for item in self.broker):
            raise OptionError(
                "--ca and --client_certificate are of use only with TLS: give --broker=mqtts://… or wss://…"
            )


layout_option = option(
    "Topic layout: default (devices/DEVICE/telemetry/…) or iot-core (/devices/DEVICE/events/…).",
    parse=layout,
    example="default",
    default=layout_named("default"),
)
