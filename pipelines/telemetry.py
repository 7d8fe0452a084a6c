"""Telemetry: MQTT topics to a Pub/Sub topic, with the attributes of schemas.messages.Telemetry.

    ReadFromMqtt -> Telemetry -> WriteToPubSub          (one fused stage: no shuffle in between)
                        |              |
                        +--- Rejected -+-> DeadLetters -> dead-letter topic

A device's message is acknowledged to the broker when Pub/Sub has accepted it, or its dead letter.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import apache_beam as beam

from pipelines import subscription
from pipelines.launch import main
from pipelines.options import OptionError, option
from pipelines.preflight import File, Folder, Need, Topic, require, secrets_of
from pipelines.readers import (
    boolean,
    file,
    folder,
    iot_core_registry,
    pubsub_topic,
)
from pipelines.subscription import SubscriptionOptions
from schemas.messages import DeviceRegistry
from transforms.dead_letter import RejectedToPubSub
from transforms.pubsubio import WriteToPubSub, fail_refused
from transforms.telemetry import (
    REJECTED,
    TelemetryToPubSub,
    read_device_numbers,
    refused_to_rejected,
)


@dataclass(frozen=True, kw_only=True)
class TelemetryOptions(SubscriptionOptions):
    """Options of the telemetry pipeline."""

    output_topic: str = option(
        "Pub/Sub topic for telemetry.",
        parse=pubsub_topic,
        example="projects/my-project/topics/telemetry",
    )
    dead_letter_topic: str | None = option(
        "Pub/Sub topic for what can't be taken, with the reason; without it, that of the output"
        " topic's name with -dead-letters behind it.",
        parse=pubsub_topic,
        example="projects/my-project/topics/dead-letters",
        default=None,
    )
    dead_letter_blob_folder: str | None = option(
        "Folder, gs:// or local, for dead letters that are too large for Pub/Sub; without it the"
        " first 4 KiB of such a message are kept.",
        parse=folder,
        example="gs://my-bucket/dead-letters",
        default=None,
    )
    iot_core_registry: DeviceRegistry | None = option(
        "IoT Core registry whose attributes (projectId, deviceRegistryId, deviceRegistryLocation)"
        " are added, for consumers that read them.",
        parse=iot_core_registry,
        example="projects/my-project/locations/europe-west1/registries/my-registry",
        default=None,
    )
    iot_core_device_numbers: str | None = option(
        "File, gs:// or local, of DEVICE,NUMBER lines: IoT Core's numeric ids, for deviceNumId.",
        parse=file,
        example="gs://my-bucket/device-numbers.csv",
        default=None,
    )
    ordered: bool = option(
        "Publish with the device id as ordering key; only with one shard, as several would part"
        " one device's messages.",
        parse=boolean,
        example="true",
        default=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iot_core_device_numbers and not self.iot_core_registry:
            raise OptionError(
                "--iot_core_registry is missing: --iot_core_device_numbers adds to its attributes"
            )
        if not re.fullmatch(pubsub_topic.form.pattern or "", self.dead_letters()):
            raise OptionError(
                "--dead_letter_topic is missing: with -dead-letters behind it --output_topic is"
                " longer than the 255 characters that a topic's name may have"
            )
        if self.dead_letters() == self.output_topic:
            raise OptionError("--dead_letter_topic and --output_topic must be two topics")
        if self.ordered and self.shards > 1:
            raise OptionError(
                "--ordered and --shards contradict: a shared subscription deals one device's"
                " messages to several shards; give --shards=1"
            )

    def dead_letters(self) -> str:
        """The dead-letter topic."""
        return self.dead_letter_topic or f"{self.output_topic}-dead-letters"


def needs(options: TelemetryOptions) -> tuple[Need, ...]:
    """Returns secrets, topics, broker, and the folder and file that were given."""
    folder, numbers = options.dead_letter_blob_folder, options.iot_core_device_numbers
    return (
        *secrets_of(options.broker_settings()),
        Topic(name=options.output_topic),
        Topic(name=options.dead_letters()),
        *subscription.needs(options),
        *((Folder(name=folder, tried=False),) if folder else ()),
        *((File(name=numbers),) if numbers else ()),
    )


def check(options: TelemetryOptions) -> None:
    """Looks for what it needs. Raises what ``require`` raises, and OptionError."""
    if options.iot_core_device_numbers:
        try:
            read_device_numbers(options.iot_core_device_numbers)
        except ValueError as error:
            raise OptionError(f"--iot_core_device_numbers: {error}") from error
    require(needs(options), timeout_seconds=options.start_timeout_seconds)
    subscription.tell_costs(options)


def build(pipeline: beam.Pipeline, options: TelemetryOptions) -> beam.PCollection:
    """Wires the pipeline and returns its end."""
    telemetry = subscription.read(pipeline, options) | "Telemetry" >> beam.ParDo(
        TelemetryToPubSub(
            options.layout,
            ordered=options.ordered,
            registry=options.iot_core_registry,
            device_numbers=options.iot_core_device_numbers,
        )
    ).with_outputs(REJECTED, main="telemetry")
    refused = (
        telemetry.telemetry
        | "WriteToPubSub" >> WriteToPubSub(options.output_topic, ordered=options.ordered)
        | "Refused" >> beam.Map(refused_to_rejected, options.output_topic)
    )
    # Each branch has a sink of its own: flattened, they would leave the read's fused stage.
    for name, rejected in (("Rejected", telemetry[REJECTED]), ("Refused", refused)):
        tail = (
            rejected
            | f"{name}ToDeadLetter" >> RejectedToPubSub(blob_folder=options.dead_letter_blob_folder)
            | f"Write{name}" >> WriteToPubSub(options.dead_letters())
            | f"Fail{name}" >> beam.Map(fail_refused)
        )
    return tail


if __name__ == "__main__":
    # Pickled by reference, so from the module's own name and not from __main__.
    from pipelines import telemetry

    sys.exit(
        main(
            telemetry.TelemetryOptions,
            telemetry.build,
            telemetry.check,
            name="telemetry",
            about=telemetry.__doc__ or "",
            shards=lambda options: options.shards_before or options.shards,
        )
    )
