"""A stand-in for Google's Terraform provider: it knows what resources there are, and no cloud.

Terraform asks it for the names and types of arguments (google.json, those of version 6.50 in the
form of ``terraform providers schema -json``), and for a plan: what is asked for, with what Google
would fill in either made up or left unknown, as it is before the first apply. It speaks Terraform's
plugin protocol 5 on loopback; a Terraform that finds it in TF_REATTACH_PROVIDERS downloads nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import grpc
import msgpack

HERE = Path(__file__).parent
SCHEMAS: dict[str, Any] = json.loads((HERE / "google.json").read_text("utf-8"))

# Terraform's own mark of a value that is known after the apply.
_UNKNOWN = msgpack.ExtType(0, b"\0")
_LIST = 2

_MADE_UP = {
    "google_pubsub_topic": {"id": "projects/{project}/topics/{name}"},
    "google_pubsub_subscription": {"id": "projects/{project}/subscriptions/{name}"},
    "google_service_account": {
        "email": "{account_id}@{project}.iam.gserviceaccount.com",
        "member": "serviceAccount:{account_id}@{project}.iam.gserviceaccount.com",
        "name": "projects/{project}/serviceAccounts/{account_id}@{project}.iam.gserviceaccount.com",
    },
    "google_project_service_identity": {"member": "serviceAccount:agent-of-{service}"},
    "google_project_iam_custom_role": {"name": "projects/{project}/roles/{role_id}"},
    "google_compute_address": {"address": "192.0.2.1"},
}


class StandIn:
    """Serves both of Google's providers while it is entered.

    Args:
      protocol: the messages, generated from tfplugin5.proto.
      unknown: whether what Google would fill in is left unknown.
    """

    def __init__(self, protocol: ModuleType, *, unknown: bool) -> None:
        self._protocol = protocol
        self._unknown = unknown
        self._servers: list[grpc.Server] = []
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.environment["TF_REATTACH_PROVIDERS"] = json.dumps(
            {
                name: {
                    "Protocol": "grpc",
                    "ProtocolVersion": 5,
                    "Pid": os.getpid(),
                    "Test": True,
                    "Addr": {"Network": "tcp", "String": f"127.0.0.1:{self._serve(schema)}"},
                }
                for name, schema in SCHEMAS.items()
            }
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.stop(None).wait()

    def _serve(self, schema: dict[str, Any]) -> int:
        protocol = self._protocol
        known = protocol.GetSchemaResponse()
        known.provider.block.CopyFrom(self._block(schema["provider"]["block"]))
        for name, each in schema["resource_schemas"].items():
            known.resource_schemas[name].block.CopyFrom(self._block(each["block"]))
        for name, each in schema["data_source_schemas"].items():
            known.data_source_schemas[name].block.CopyFrom(self._block(each["block"]))

        def plan(request: Any) -> Any:
            value = _read(request.proposed_new_state)
            block = schema["resource_schemas"][request.type_name]["block"]
            return protocol.PlanResponse(
                planned_state=self._filled(value, request.type_name, block)
            )

        def read_data(request: Any) -> Any:
            block = schema["data_source_schemas"][request.type_name]["block"]
            value = _read(request.config)
            return protocol.ReadDataResponse(state=self._filled(value, request.type_name, block))

        answers: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "GetSchema": (protocol.Empty, lambda _: known),
            "PrepareProviderConfig": (
                protocol.PrepareRequest,
                lambda request: protocol.PrepareResponse(prepared_config=request.config),
            ),
            "ValidateResourceTypeConfig": (protocol.ValidateRequest, self._nothing_wrong),
            "ValidateDataSourceConfig": (protocol.ValidateRequest, self._nothing_wrong),
            "Configure": (protocol.Empty, self._nothing_wrong),
            "PlanResourceChange": (protocol.PlanRequest, plan),
            "ReadDataSource": (protocol.ReadDataRequest, read_data),
            "Stop": (protocol.Empty, lambda _: protocol.Empty()),
        }
        server = grpc.server(futures.ThreadPoolExecutor(8))
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                lambda request, context, answer=answer: answer(request),
                request_deserializer=kind.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (kind, answer) in answers.items()
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("tfplugin5.Provider", methods),)
        )
        port: int = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self._servers.append(server)
        return port

    def _nothing_wrong(self, _: Any) -> Any:
        return self._protocol.ValidateResponse()

    def _block(self, block: dict[str, Any]) -> Any:
        result = self._protocol.Schema.Block()
        for name, attribute in block.get("attributes", {}).items():
            result.attributes.add(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                required=attribute.get("required", False),
                optional=attribute.get("optional", False),
                computed=attribute.get("computed", False),
            )
        for name, nested in block.get("block_types", {}).items():
            result.block_types.add(
                type_name=name,
                nesting=_LIST,
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
                block=self._block(nested["block"]),
            )
        return result

    def _filled(self, value: Any, kind: str, block: dict[str, Any]) -> Any:
        if value is not None:
            made_up = _MADE_UP.get(kind, {})
            for name, attribute in block["attributes"].items():
                if attribute.get("computed") and value.get(name) is None:
                    text = made_up.get(name, f"{kind}.{name}").format_map(value)
                    value[name] = _UNKNOWN if self._unknown else text
        return self._protocol.DynamicValue(msgpack=msgpack.packb(value))


def _read(value: Any) -> Any:
    return msgpack.unpackb(value.msgpack, raw=False)
