"""One long-lived AppendRows stream to a table's default stream, shared by a process.

    submit(rows) ──► queue ──► AppendRows ══► BigQuery
         │                                       │
         └── Future ◄── reader thread ◄══════════┘   answers come in the order of requests

Rows of the default stream are committed when the answer comes. When the stream breaks, what
is on the way fails with StreamBroken and the next `submit` opens a new one; whether the
lost requests were appended nobody can tell, so who sends them again appends at least once.
"""

import os
import queue
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient
from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (
    BigQueryWriteGrpcTransport,
)
from google.cloud.bigquery_storage_v1.types import (
    AppendRowsRequest,
    AppendRowsResponse,
    ProtoRows,
    ProtoSchema,
)
from google.protobuf import descriptor_pb2

from transforms.errors import DestinationRefused, InvalidSetting

EMULATOR_VARIABLE = "BIGQUERY_STORAGE_EMULATOR_HOST"
_SERVICE = "bigquerystorage.googleapis.com"

# An old project id begins with a domain: example.com:project.
_TABLE_NAME = re.compile(r"((?:[\w-]+\.[\w.-]+:)?[\w-]+)[.:](\w+)\.([\w-]+)")

# gRPC's own pauses between attempts to connect grow to two minutes. Here the sink decides
# when to try again, so the channel must be ready to.
_CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A peer that vanished is noticed; the service closes connections that ping more often.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableName:
    """A table's full name."""

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Read `project.dataset.table` or `project:dataset.table`; raises InvalidSetting."""
        if not (match := _TABLE_NAME.fullmatch(text)):
            raise InvalidSetting(f"table {text!r} is none: expected project.dataset.table")
        return cls(project=match[1], dataset=match[2], table=match[3])

    @property
    def default_stream(self) -> str:
        """The name of the stream that is always there and commits at once."""
        return (
            f"projects/{self.project}/datasets/{self.dataset}/tables/{self.table}/streams/_default"
        )

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"


class StreamBroken(Exception):
    """The stream ended before the answer came; `code` is gRPC's."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


def open_client(credentials: Credentials | None = None) -> BigQueryWriteClient:
    """Connect to BigQuery, or to the emulator BIGQUERY_STORAGE_EMULATOR_HOST names.

    Without `credentials` those of the environment are used. Raises DestinationRefused where there
    are none that can be used.
    """
    if address := os.environ.get(EMULATOR_VARIABLE):
        channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
    else:
        try:
            channel = BigQueryWriteGrpcTransport.create_channel(
                _SERVICE, credentials=credentials, options=_CHANNEL_OPTIONS
            )
        except DefaultCredentialsError as error:
            raise DestinationRefused(
                f"BigQuery: there are no Google credentials here ({error}); run `gcloud auth"
                f" application-default login`, or name a local BigQuery in {EMULATOR_VARIABLE}"
            ) from error
    transport = BigQueryWriteGrpcTransport(channel=channel)
    return BigQueryWriteClient(transport=transport)  # type: ignore[no-untyped-call]  # Google's


class AppendStream:
    """The process's way to one table. Safe for threads; not for pickling."""

    def __init__(
        self,
        client: BigQueryWriteClient,
        table: TableName,
        descriptor: descriptor_pb2.DescriptorProto,
    ) -> None:
        self._client = client
        self._table = table
        self._schema = ProtoSchema(proto_descriptor=descriptor)
        self._lock = threading.Lock()
        self._call: _Call | None = None
        self._opened = 0

    def submit(self, rows: Sequence[bytes]) -> "Future[AppendRowsResponse]":
        """Send the rows in one request; the future fails with StreamBroken only."""
        data = AppendRowsRequest.ProtoData(rows=ProtoRows(serialized_rows=rows))
        request = AppendRowsRequest(write_stream=self._table.default_stream, proto_rows=data)
        with self._lock:
            if self._call is None or self._call.ended:
                # The first request of a stream says what its rows look like.
                data.writer_schema = self._schema
                request.proto_rows = data
                self._call = _Call(self._client, self._table)
                self._opened += 1
            return self._call.send(request)

    def reset(self) -> None:
        """Give up the stream: what is on the way fails, the next request opens another."""
        with self._lock:
            call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def take_opened(self) -> int:
        """Return how many streams were opened since this was last asked."""
        with self._lock:
            opened, self._opened = self._opened, 0
        return opened

    def close(self) -> None:
        """Close the stream and the connection."""
        self.reset()
        self._client.transport.close()  # type: ignore[no-untyped-call]  # Google's


class _Call:
    """One AppendRows call. `send` is called by one thread at a time."""

    def __init__(self, client: BigQueryWriteClient, table: TableName) -> None:
        self.ended = False
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[AppendRowsRequest | None] = queue.SimpleQueue()
        self._waiting: deque[Future[AppendRowsResponse]] = deque()
        self._responses: Any = None  # an iterable of answers that is a grpc.Call too
        self._client = client
        self._table = table
        threading.Thread(target=self._read, name=f"append to {table}", daemon=True).start()

    def send(self, request: AppendRowsRequest) -> "Future[AppendRowsResponse]":
        future: Future[AppendRowsResponse] = Future()
        with self._lock:
            if self.ended:
                future.set_exception(
                    StreamBroken(grpc.StatusCode.UNAVAILABLE, "the stream has ended")
                )
            else:
                self._waiting.append(future)
                self._requests.put(request)
        return future

    def cancel(self) -> None:
        self._end(StreamBroken(grpc.StatusCode.CANCELLED, "the stream was given up"))
        if self._responses is not None:
            self._responses.cancel()

    def _outgoing(self) -> Iterator[AppendRowsRequest]:
        return iter(self._requests.get, None)

    def _read(self) -> None:
        """Hand each answer to the request it is for, until the stream ends."""
        try:
            # The bare method: the client's own retries would start the stream again with the
            # requests that are left, and wait for ever for the answers to the others.
            append_rows: Any = self._client.transport.append_rows  # wrongly typed as unary
            self._responses = append_rows(
                self._outgoing(),
                metadata=(("x-goog-request-params", f"write_stream={self._table.default_stream}"),),
            )
            for response in self._responses:
                with self._lock:
                    future = self._waiting.popleft() if self._waiting else None
                if future is not None:
                    future.set_result(response)
            broken = StreamBroken(grpc.StatusCode.UNAVAILABLE, "the service closed the stream")
        except grpc.RpcError as error:
            # What a stream raises is its call too.
            broken = StreamBroken(error.code(), error.details() or "")
        except Exception as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            broken = StreamBroken(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
        self._end(broken)

    def _end(self, broken: StreamBroken) -> None:
        with self._lock:
            self.ended = True
            waiting = list(self._waiting)
            self._waiting.clear()
        self._requests.put(None)
        for future in waiting:
            future.set_exception(broken)
