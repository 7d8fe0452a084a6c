"""A small BigQueryWrite service over gRPC that refuses what it is told to refuse.

The emulator takes every row; what the real service answers to bad ones is answered here, in the
form that its documentation gives.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import grpc
from google.cloud.bigquery_storage_v1.types import (
    AppendRowsRequest,
    AppendRowsResponse,
    RowError,
)
from google.rpc import status_pb2

Answer = Callable[[list[bytes]], AppendRowsResponse]


class WriteService(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in stubs only
    """Keeps the rows of requests that `answer` does not refuse."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.rows: list[bytes] = []
        self.requests = 0
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[AppendRowsRequest, AppendRowsResponse]":
        return grpc.stream_stream_rpc_method_handler(
            self._append,
            request_deserializer=AppendRowsRequest.deserialize,
            response_serializer=AppendRowsResponse.serialize,
        )

    def _append(
        self, requests: Iterator[AppendRowsRequest], context: grpc.ServicerContext
    ) -> Iterator[AppendRowsResponse]:
        described = False
        for request in requests:
            # The service reads the rows by the schema of the stream's first request.
            described = described or bool(request.proto_rows.writer_schema.proto_descriptor.field)
            assert described
            rows = list(request.proto_rows.rows.serialized_rows)
            with self._lock:
                self.requests += 1
                response = self._answer(rows)
                if not response.error.code:
                    self.rows.extend(rows)
            yield response


class Abort(Exception):
    """Raised by an answer: the call ends with UNKNOWN, as where a server breaks."""


def appended(rows: list[bytes]) -> AppendRowsResponse:
    return AppendRowsResponse(append_result=AppendRowsResponse.AppendResult())


def failed(code: grpc.StatusCode, message: str = "no") -> AppendRowsResponse:
    return AppendRowsResponse(error=status_pb2.Status(code=code.value[0], message=message))


def row_errors(errors: dict[int, str]) -> AppendRowsResponse:
    return AppendRowsResponse(
        error=status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0]),
        row_errors=[RowError(index=index, message=text) for index, text in errors.items()],
    )
