"""A bundle of one of our reads, by Beam's own tracker, for what no runner here does to it."""

from __future__ import annotations

import base64
from typing import Any

import apache_beam as beam
from apache_beam.io.unbounded_source import _PROVIDER, UnboundedSource
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.runners.sdf_utils import RestrictionTrackerView, ThreadsafeRestrictionTracker

from transforms.inbox import ReadInbox

RELEASED = {
    "mqtt": base64.b64decode(
        "uAFRbHBvT1RGQldTWlRXWEJxZ1lFQUFDeDM0R3NrQUVBQVl3QUtDQUMvWjc0aVlBUU9BQ0FBZENwc29CazAwQm9C"
        "cGsybzBJS2FOTkJvQUEweE1JTHlGSUZHQkNIb1FjMUVvSmVEMWo5RTB4QjJSM0dmdzJ3VnNuUTQ1TXFjS2ZFUFZX"
        "dW1USVpZTmFxRTh6Z2VzalBTT0hDQ0NCeU9CL1lzdWl4SW14L0YzSkZPRkNRY0dxQmdRQT09AQGAAAGLz+VoAAAA"
    ),
    "pubsub": base64.b64decode(
        "zAFRbHBvT1RGQldTWlRXWjJvRTZBQUFENXo0RTRFRUVBQWE4Z0FQM2ZlSW1Ba0RnQWdBSElpbnFHbWdBQVpESm93"
        "bnFEUko2S1kwbW5xQUF6U1B4VUJ6QTloekw2RGRmUE9ESGpZTzdNNEFrU0JjcEtQVTR0RzNqaElrTEVUS0dkbUJo"
        "a0JrMTlhb1drenVVcitBalEzb1I1d3BXNkZwYWIwcXJjNGhQYnF2SnBTQlNMaGNJUUlpeGZHZ0VmaTdraW5DaElU"
        "dFFKMEFBPT0BAYAAAYvP5WgAAAA="
    ),
}
"""What a running job holds of its reads, by Beam 2.77's coder: it outlives every update of the job.

Shard 3 of the client identifier telemetry-eu, and projects/my-project/subscriptions/telemetry.
"""


class Bundle:
    """A bundle of a source's read, as a runner has it in its hands.

    ``rest`` is what another bundle left, as the runner keeps it: encoded.
    """

    def __init__(
        self, read: ReadInbox[Any], source: UnboundedSource, *, rest: bytes | None = None
    ) -> None:
        coder = _PROVIDER.restriction_coder()
        self._encode = coder.encode
        if rest is None:
            (restriction,) = _PROVIDER.split(source, _PROVIDER.initial_restriction(source))
        else:
            restriction = coder.decode(rest)
        self._source = source
        self._read = read
        self._tracker = ThreadsafeRestrictionTracker(_PROVIDER.create_tracker(restriction))
        self._finalizer = beam.DoFn.BundleFinalizerParam()
        read.setup()
        self._elements = read.process(
            source,
            self._finalizer,
            RestrictionTrackerView(self._tracker),
            ManualWatermarkEstimator(None),
        )

    def first(self) -> Any:
        """The first list."""
        return next(self._elements).value

    def drain(self) -> None:
        """Takes back what is not read yet, and asks what of it must still be done: nothing."""
        assert _PROVIDER.truncate(self._source, self._split()) is None

    def checkpoint(self) -> bytes:
        """Takes back what is not read yet, for another bundle."""
        encoded: bytes = self._encode(self._split())
        return encoded

    def _split(self) -> Any:
        primary, residual = self._tracker.try_split(0)
        assert list(self._elements) == []
        assert self._tracker.current_restriction() == primary
        return residual

    def commit(self) -> None:
        """What the bundle did is durable."""
        self._finalizer.finalize_bundle()
        self._read.teardown()
