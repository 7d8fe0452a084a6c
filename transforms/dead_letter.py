"""Dead letters: what could not be taken, with its reason, stage, origin and raw bytes.

`RejectedToPubSub` makes messages for the dead-letter topic, `RejectedToRows` rows for the table
`dead_letters`; writing them is left to the sink that follows.

Guarantee
  One message or row for each Rejected, one that its sink can take whatever is in it.
Unit of parallelism
  An element. No shuffle.
Types
  In: `schemas.messages.Rejected`. Out: PubsubMessage, or `schemas.tables.DEAD_LETTERS` rows.
Errors
  None: a message that is refused must never stop its neighbours. Raw bytes beyond 9 MB go to the
  blob folder (`gs://…` or a local one) under a name made of their hash, so that a repeat writes
  the same file; where there is no folder, or it can't be written for 30 s, the first 4 KiB are
  kept, and the message says so and why.
Metrics
  Namespace `dead_letters`: rejected, blobs, truncated.

A message's data are the raw bytes, untouched. Its attributes:

    deadLetterStage, deadLetterReason, deadLetterOrigin, deadLetterTime
    deadLetterTruncated   how many bytes the original has, where data is not all of them
    deadLetterBlob        where all of them are
    deadLetterBlobError   why they are nowhere
    deadLetterDropped     names of the original's attributes that found no room
    …                     the original's attributes

A value longer than the 1,024 bytes that Pub/Sub takes goes on in `name.2`, `name.3` and so on;
`rejected_from_message` puts it together again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import Metrics

from mqtt.client.backoff import Backoff
from schemas.messages import MAXIMUM_ATTRIBUTE_VALUE_BYTES, Rejected
from schemas.times import format_time, parse_time
from transforms.errors import DestinationRefused
from transforms.pubsubio.limits import MAXIMUM_ATTRIBUTES, refusal

# A request of 10 MB must hold it with its attributes; so must a row.
MAXIMUM_INLINE_BYTES = 9_000_000
PREVIEW_BYTES = 4_096
BLOB_RETRY_SECONDS = 30.0

_PREFIX = "deadLetter"
_NAMESPACE = "dead_letters"


class Stored(NamedTuple):
    """Where raw bytes went: inline, into a blob, or nowhere for a reason."""

    inline: bytes
    blob: str | None = None
    error: str | None = None


class RejectedToPubSub(beam.PTransform):
    """Turns Rejected into messages for the dead-letter topic; see the module.

    Args:
      blob_folder: `gs://bucket/folder` or a local folder; None keeps a preview of what is too
        large.
    """

    def __init__(self, *, blob_folder: str | None = None) -> None:
        super().__init__()
        self._blob_folder = blob_folder

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Make the messages."""
        make = beam.ParDo(_Store(self._blob_folder, dead_letter_message))
        return pcoll | "MakeMessages" >> make.with_output_types(PubsubMessage)


class RejectedToRows(beam.PTransform):
    """Turns Rejected into rows of the table `dead_letters`; see the module.

    Args:
      blob_folder: as for `RejectedToPubSub`.
    """

    def __init__(self, *, blob_folder: str | None = None) -> None:
        super().__init__()
        self._blob_folder = blob_folder

    def expand(self, pcoll: beam.PCollection) -> beam.PCollection:
        """Make the rows."""
        make = beam.ParDo(_Store(self._blob_folder, dead_letter_row))
        return pcoll | "MakeRows" >> make.with_output_types(dict[str, Any])


class _Store(beam.DoFn):
    """Puts large bytes away and makes what goes on from the rest."""

    def __init__(self, blob_folder: str | None, make: Callable[[Rejected, Stored], object]) -> None:
        self._blob_folder = blob_folder
        self._make = make
        self._rejected = Metrics.counter(_NAMESPACE, "rejected")
        self._blobs = Metrics.counter(_NAMESPACE, "blobs")
        self._truncated = Metrics.counter(_NAMESPACE, "truncated")

    def process(self, element: Rejected) -> Iterator[object]:
        stored = store(element.raw, self._blob_folder)
        self._rejected.inc()
        if stored.blob:
            self._blobs.inc()
        elif stored.error:
            self._truncated.inc()
        yield self._make(element, stored)


def store(
    raw: bytes, blob_folder: str | None, *, retry_seconds: float = BLOB_RETRY_SECONDS
) -> Stored:
    """Decide where raw bytes go, and write them there if that is a blob."""
    if len(raw) <= MAXIMUM_INLINE_BYTES:
        return Stored(raw)
    preview = raw[:PREVIEW_BYTES]
    if blob_folder is None:
        return Stored(preview, error="no blob folder is set")
    path = FileSystems.join(blob_folder, f"{blake2b(raw, digest_size=16).hexdigest()}.bin")
    backoff = Backoff(initial_seconds=0.1, maximum_seconds=2.0)
    deadline = time.monotonic() + retry_seconds
    while True:
        try:
            _write(blob_folder, path, raw)
        except Exception as error:  # noqa: BLE001  # each file system has its own; told below
            if time.monotonic() >= deadline:
                return Stored(preview, error=f"{path}: {type(error).__name__}: {error}")
            time.sleep(backoff.next_pause_seconds())
        else:
            return Stored(preview, blob=path)


def _write(folder: str, path: str, raw: bytes) -> None:
    # Object stores have no folders to make.
    if FileSystems.get_scheme(folder) is None and not FileSystems.exists(folder):
        FileSystems.mkdirs(folder)
    with FileSystems.create(path, mime_type="application/octet-stream") as file:
        file.write(raw)


def dead_letter_message(rejected: Rejected, stored: Stored) -> PubsubMessage:
    """Return the message for the dead-letter topic."""
    attributes = {
        **_pieces(f"{_PREFIX}Stage", rejected.stage),
        **_pieces(f"{_PREFIX}Reason", rejected.reason[:4000]),
        **_pieces(f"{_PREFIX}Origin", rejected.origin),
        f"{_PREFIX}Time": format_time(rejected.time),
    }
    if len(stored.inline) < len(rejected.raw):
        attributes[f"{_PREFIX}Truncated"] = str(len(rejected.raw))
    if stored.blob is not None:
        attributes |= _pieces(f"{_PREFIX}Blob", stored.blob)
    if stored.error is not None:
        attributes |= _pieces(f"{_PREFIX}BlobError", stored.error[:1000])
    dropped = []
    for name, value in rejected.attributes.items():
        pieces = _pieces(name, value)
        room = MAXIMUM_ATTRIBUTES - 1 - len(attributes)  # one is for the names of the dropped
        taken = pieces.keys() & attributes.keys()
        if taken or len(pieces) > room or refusal(b"", pieces) is not None:
            dropped.append(name)
        else:
            attributes |= pieces
    if dropped:
        names = _valid(", ".join(dropped))
        attributes[f"{_PREFIX}Dropped"] = _cut(names, MAXIMUM_ATTRIBUTE_VALUE_BYTES)
    return PubsubMessage(data=stored.inline, attributes=attributes)


def dead_letter_row(rejected: Rejected, stored: Stored) -> dict[str, Any]:
    """Return the row for the table `dead_letters`."""
    attributes = {_valid(name): _valid(value) for name, value in rejected.attributes.items()}
    if stored.error is not None:
        attributes[f"{_PREFIX}BlobError"] = _valid(stored.error)
    return {
        "stage": _valid(rejected.stage),
        "reason": _valid(rejected.reason),
        "origin": _valid(rejected.origin),
        "rejected_time": rejected.time,
        "attributes": json.dumps(attributes, ensure_ascii=False),
        "raw": stored.inline,
        "raw_bytes": len(rejected.raw),
        "blob": stored.blob,
    }


def rejected_from_message(data: bytes, attributes: Mapping[str, str]) -> Rejected:
    """Read what `dead_letter_message` made; bytes in a blob are read from it.

    Raises ValueError for a message that is no dead letter.
    """
    whole = _joined(attributes)
    for name in ("Stage", "Reason", "Time"):
        if f"{_PREFIX}{name}" not in whole:
            raise ValueError(f"attribute {_PREFIX}{name} is missing: this is no dead letter")
    if blob := whole.get(f"{_PREFIX}Blob"):
        with FileSystems.open(blob) as file:
            data = file.read()
    return Rejected(
        stage=whole[f"{_PREFIX}Stage"],
        reason=whole[f"{_PREFIX}Reason"],
        origin=whole.get(f"{_PREFIX}Origin", ""),
        time=parse_time(whole[f"{_PREFIX}Time"]),
        raw=data,
        attributes={name: value for name, value in whole.items() if not name.startswith(_PREFIX)},
    )


def _pieces(name: str, value: str) -> dict[str, str]:
    """Return a value under its name, and what does not fit under `name.2` and so on."""
    value = _valid(value)
    if len(value) <= MAXIMUM_ATTRIBUTE_VALUE_BYTES // 4:
        return {name: value}
    pieces: dict[str, str] = {}
    while True:
        piece = _cut(value, MAXIMUM_ATTRIBUTE_VALUE_BYTES)
        pieces[f"{name}.{len(pieces) + 1}" if pieces else name] = piece
        value = value[len(piece) :]
        if not value:
            return pieces


def _joined(attributes: Mapping[str, str]) -> dict[str, str]:
    whole = dict(attributes)
    for name, piece in attributes.items():
        number = 2
        # Only a full piece goes on; its last character may have had no room.
        while len(piece.encode()) > MAXIMUM_ATTRIBUTE_VALUE_BYTES - 4:
            following = whole.pop(f"{name}.{number}", None)
            if following is None:
                break
            whole[name] += following
            piece, number = following, number + 1
    return whole


def _cut(text: str, maximum_bytes: int) -> str:
    """Return as much of the text as so many bytes of UTF-8 hold, no character halved."""
    return text.encode()[:maximum_bytes].decode(errors="ignore")


def _valid(text: str) -> str:
    """Return text that UTF-8 can hold: what it can't is written out."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def fail_unwritten(rejected: Rejected) -> None:
    """End the bundle for a dead letter that its own sink refused: nothing else holds it.

    Raises:
      DestinationRefused: always.
    """
    raise DestinationRefused(
        f"a dead letter was refused by {rejected.origin}: {rejected.reason}; its message is not"
        " acknowledged and comes again"
    )
