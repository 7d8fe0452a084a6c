"""Terraform with a provider that stands in for Google's, and the plan of the whole site."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from grpc_tools import protoc

from tests.deploy import terraform
from tests.deploy.provider import HERE, StandIn
from tests.deploy.terraform import Plan, Terraform, site_plan


@pytest.fixture(scope="session")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The messages of Terraform's plugin protocol."""
    if not terraform.found():
        pytest.skip("there is no terraform here; what needs none of it was tested without")
    folder = tmp_path_factory.mktemp("protocol")
    assert protoc.main(["", f"-I{HERE}", f"--python_out={folder}", "tfplugin5.proto"]) == 0
    spec = importlib.util.spec_from_file_location("tfplugin5_pb2", folder / "tfplugin5_pb2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tfplugin5_pb2"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def before(protocol: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform before the first apply: what Google fills in is unknown."""
    with StandIn(protocol, unknown=True) as provider:
        data = tmp_path_factory.mktemp("before")
        yield Terraform(environment=provider.environment, data=data)


@pytest.fixture(scope="session")
def after(protocol: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform that knows what Google would fill in."""
    with StandIn(protocol, unknown=False) as provider:
        yield Terraform(environment=provider.environment, data=tmp_path_factory.mktemp("after"))


@pytest.fixture(scope="session")
def site(after: Terraform) -> Plan:
    """The whole site with all of its jobs."""
    return site_plan(
        after,
        "-var=launch=true",
        "-var=direct=true",
        '-var=releases={telemetry="1.0",warehouse="1.0",commands="1.0",direct="1.0"}',
    )
