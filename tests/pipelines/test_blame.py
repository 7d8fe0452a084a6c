"""An error at the start names the options that it is about."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import pytest

from mqtt.errors import (
    BrokerNotProved,
    BrokerUnreachable,
    CertificateRejected,
    ClientBroken,
    ConnectionRefused,
    CredentialMissing,
    SessionTakenOver,
    SubscriptionRefused,
)
from pipelines.blame import advice
from pipelines.options import parse_options
from pipelines.telemetry import TelemetryOptions
from pipelines.warehouse import WarehouseOptions
from transforms.errors import DestinationMissing
from transforms.secrets import SecretError, SecretRef

PASSWORD = SecretRef("file:/p")


@dataclass(frozen=True, kw_only=True)
class Options:
    broker: str = "b"
    username: str = "u"
    password: SecretRef = PASSWORD
    ca: SecretRef | None = None
    client_certificate: SecretRef | None = None
    client_key: SecretRef | None = None
    client_id: str = "c"
    topics: tuple[str, ...] = ()
    output_topic: str = "projects/p/topics/telemetry"
    output_table: str = "p:d.t"
    shards: int = 1


def refused(code: int) -> ConnectionRefused:
    return ConnectionRefused("b refused u", reason_code=code)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(0x86), "; look at --username and --password"),
        (refused(0x87), "; look at --username, --password and --client_id"),
        (refused(0x85), "; look at --client_id"),
        (refused(0x97), ""),
        # It has no such option.
        (refused(0x84), ""),
        (
            CertificateRejected("x"),
            "; look at --ca, --client_certificate, --client_key and --broker",
        ),
        (CredentialMissing("x"), "; look at --password"),
        (BrokerNotProved("x"), "; look at --broker, --username and --password"),
        (SubscriptionRefused("x", topic_filter="a", reason_code=0x87), "; look at --topics"),
        (BrokerUnreachable("x"), "; look at --broker"),
        (SessionTakenOver("x"), "; look at --client_id"),
        (ClientBroken("x"), ""),
        (SecretError("secret file:/p: no such file"), "; look at --password"),
        (DestinationMissing("projects/p/topics/telemetry is gone"), "; look at --output_topic"),
        (DestinationMissing("projects/p/topics/telemetry-dead-letters is gone"), ""),
        (DestinationMissing("BigQuery table p.d.t is gone"), "; look at --output_table"),
        (DestinationMissing("BigQuery table p.d.t.x or xp.d.t is gone"), ""),
    ],
)
def test_an_error_names_the_options_that_it_is_about(error: Exception, words: str) -> None:
    assert advice(error, Options()) == words


def test_a_default_is_about_the_option_that_it_stands_for() -> None:
    topic, subscription = (
        "projects/some-project/topics/telemetry",
        "projects/some-project/subscriptions/read",
    )
    telemetry = of(
        TelemetryOptions, "--broker=mqtt://b", "--client_id=c", f"--output_topic={topic}"
    )
    missing = DestinationMissing(f"{topic}-dead-letters is gone")
    assert advice(missing, telemetry) == "; look at --dead_letter_topic"
    warehouse = of(
        WarehouseOptions, f"--input_subscription={subscription}", "--output_table=some-project:dd.t"
    )
    missing = DestinationMissing("BigQuery table some-project.dd.dead_letters is gone")
    assert advice(missing, warehouse) == "; look at --dead_letter_table"


def of(kind: type, *arguments: str) -> object:
    return parse_options(kind, arguments, program="p", about="")[0]


def test_before_the_options_are_read_none_is_named() -> None:
    assert advice(BrokerUnreachable("x"), None) == ""


def test_a_certificate_that_is_not_trusted_is_about_the_ca_and_the_host() -> None:
    error = CertificateRejected("x")
    error.__cause__ = ssl.SSLCertVerificationError(1, "x")
    assert advice(error, Options()) == "; look at --ca and --broker"
