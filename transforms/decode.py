"""`DecodeTelemetry`, `DecodeMqtt`: messages of telemetry to rows of the table `telemetry`.

The first takes what comes from Pub/Sub with the attributes of `schemas.messages.Telemetry`, the
second what comes from MQTT, by its topic and user properties. Both give the same row, but for the
columns that only Pub/Sub knows of.

Guarantee
  Each message becomes one row or one Rejected. Nothing is looked up, so a repeat gives the same
  row but for `processed_time`.
Unit of parallelism
  An element. No shuffle.
Ordering
  Rows come in the order of messages.
Types
  In: PubsubMessage, or lists of them; MessageList[MqttMessage]. Out: `rows`,
  `transforms.bigquery.TableRow` for `schemas.tables.TELEMETRY`; `rejected`,
  `schemas.messages.Rejected`, stage `decode`.
Errors
  A message without its attributes, a topic outside the layout, an empty payload, bytes that are
  no record of their schema: all are rejected, with the reason and the bytes.
Metrics
  Namespace `decode`: decoded, rejected, not_deduplicable.

Which rows are copies of one message: where the device gave a message id, as a user property or
in the payload, that is its id. Else the id is the content's hash, and it names one message only
if the payload holds a time of its own; without one two equal readings can't be told from a
redelivery, and the row says `deduplicable = false`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from schemas.codec import Codec, Decoded
from schemas.errors import InvalidMessage
from schemas.layout import Layout
from schemas.messages import Rejected, Telemetry
from transforms.bigquery import TableRow
from transforms.lists import MessageList
from transforms.mqttio import MqttMessage

ROWS = "rows"
REJECTED = "rejected"
STAGE = "decode"

_Input = PubsubMessage | list[PubsubMessage] | MessageList
_Decoder = Callable[[Any, Codec, datetime], TableRow | Rejected]


class DecodedTelemetry(NamedTuple):
    """The two outputs: TableRow, and Rejected."""

    rows: beam.PCollection
    rejected: beam.PCollection


class DecodeTelemetry(beam.PTransform):
    """Decodes what comes from Pub/Sub; see the module for guarantee, types and errors.

    Args:
      origin: where the messages come from, as the dead letters name it: a subscription.
      default_schema_id: the schema of messages that name none; without one their payload may be
        any JSON object.

    Input: PCollection of PubsubMessage, or of lists of them.
    Output: DecodedTelemetry.
    """

    def __init__(self, *, origin: str, default_schema_id: str | None = None) -> None:
        super().__init__()
        self._dofn = _Decode(partial(_of_pubsub, origin=origin), default_schema_id, _utc_now)

    @beam.typehints.no_annotations  # Beam warns of hints that are no PCollection
    def expand(self, pcoll: beam.PCollection) -> DecodedTelemetry:
        """Decode in the stage that reads."""
        return _decoded(pcoll, self._dofn)


class DecodeMqtt(beam.PTransform):
    """Decodes what comes from MQTT; see the module for guarantee, types and errors.

    Args:
      layout: which topic means what.
      default_schema_id: as for `DecodeTelemetry`.

    Input: PCollection of MqttMessage, or of MessageList[MqttMessage].
    Output: DecodedTelemetry: `rows` and `rejected`.
    """

    def __init__(self, *, layout: Layout, default_schema_id: str | None = None) -> None:
        super().__init__()
        self._dofn = _Decode(partial(_of_mqtt, layout=layout), default_schema_id, _utc_now)

    @beam.typehints.no_annotations  # Beam warns of hints that are no PCollection
    def expand(self, pcoll: beam.PCollection) -> DecodedTelemetry:
        """Decode in the stage that reads."""
        return _decoded(pcoll, self._dofn)


class _Decode(beam.DoFn):
    """Decodes messages, one at a time."""

    def __init__(
        self,
        decode: _Decoder,
        default_schema_id: str | None,
        clock: Callable[[], datetime],
    ) -> None:
        Codec.packaged(default_schema_id=default_schema_id)  # an unknown one is refused now
        self._decode = decode
        self._default_schema_id = default_schema_id
        self._clock = clock
        self._decoded = Metrics.counter(STAGE, "decoded")
        self._rejected = Metrics.counter(STAGE, "rejected")
        self._not_deduplicable = Metrics.counter(STAGE, "not_deduplicable")

    def setup(self) -> None:
        self._codec = Codec.packaged(default_schema_id=self._default_schema_id)

    def process(self, element: Any) -> Iterator[Any]:
        messages: Iterable[Any] = element if isinstance(element, list) else (element,)
        for message in messages:
            made = self._decode(message, self._codec, self._clock())
            if isinstance(made, Rejected):
                self._rejected.inc()
                yield beam.pvalue.TaggedOutput(REJECTED, made)
                continue
            self._decoded.inc()
            if not made.values["deduplicable"]:
                self._not_deduplicable.inc()
            yield made


def _decoded(pcoll: beam.PCollection, dofn: _Decode) -> DecodedTelemetry:
    # To Beam's check of types a list subclass is no list.
    decode = beam.ParDo(dofn).with_input_types(_Input)
    outputs = pcoll | "Decode" >> decode.with_outputs(REJECTED, main=ROWS)
    return DecodedTelemetry(outputs[ROWS], outputs[REJECTED])


def _of_pubsub(
    message: PubsubMessage, codec: Codec, now: datetime, *, origin: str
) -> TableRow | Rejected:
    return row_or_rejected(message, codec, origin=origin, now=now)


def _of_mqtt(
    message: MqttMessage, codec: Codec, now: datetime, *, layout: Layout
) -> TableRow | Rejected:
    attributes: Mapping[str, str] = dict(message.user_properties)
    try:
        telemetry = Telemetry.from_mqtt(
            message.topic,
            message.payload,
            received_time=message.received_time,
            user_properties=message.user_properties,
            content_type=message.content_type,
            layout=layout,
        )
        attributes = telemetry.attributes()
        decoded = codec.decode(
            message.payload, schema_id=telemetry.schema_id, content_type=telemetry.content_type
        )
    except InvalidMessage as error:
        return Rejected(
            stage=STAGE,
            reason=str(error),
            origin=message.topic,
            raw=message.payload,
            attributes=attributes,
            time=now,
        )
    values = row_of(
        telemetry, decoded, pubsub_message_id=None, published_time=None, processed_time=now
    )
    return TableRow(values=values, raw=message.payload, attributes=attributes)


def row_or_rejected(
    message: PubsubMessage, codec: Codec, *, origin: str, now: datetime
) -> TableRow | Rejected:
    """Decode a message; what can't be is rejected with the reason."""
    raw, attributes = message.data or b"", message.attributes or {}
    try:
        telemetry = Telemetry.from_pubsub(raw, attributes)
        decoded = codec.decode(
            raw, schema_id=telemetry.schema_id, content_type=telemetry.content_type
        )
    except InvalidMessage as error:
        return Rejected(
            stage=STAGE,
            reason=str(error),
            origin=origin,
            raw=raw,
            attributes=attributes,
            time=now,
        )
    values = row_of(
        telemetry,
        decoded,
        pubsub_message_id=message.message_id,
        published_time=message.publish_time,
        processed_time=now,
    )
    return TableRow(values=values, raw=raw, attributes=attributes)


def row_of(
    telemetry: Telemetry,
    decoded: Decoded,
    *,
    pubsub_message_id: str | None,
    published_time: datetime | None,
    processed_time: datetime,
) -> Mapping[str, Any]:
    """Return the row of the table `telemetry` for a message; None where it has no value."""
    from_device = telemetry.message_id_from == "device" or decoded.message_id is not None
    own_id = decoded.message_id if telemetry.message_id_from == "content" else None
    if published_time is not None and published_time.tzinfo is None:
        published_time = published_time.replace(tzinfo=UTC)  # Beam hands on naive UTC times
    return {
        "message_id": own_id or telemetry.message_id,
        "message_id_from": "device" if from_device else "content",
        "deduplicable": from_device or decoded.is_distinct,
        "device_id": telemetry.device_id,
        "stream": telemetry.stream or None,
        "topic": telemetry.topic,
        "schema_id": decoded.schema_id,
        "content_type": telemetry.content_type,
        "event_time": telemetry.event_time or decoded.timestamp,
        "received_time": telemetry.received_time,
        "published_time": published_time,
        "processed_time": processed_time,
        "pubsub_message_id": pubsub_message_id,
        "payload": decoded.json,
    }


def _utc_now() -> datetime:
    return datetime.now(UTC)
