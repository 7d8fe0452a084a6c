"""Modules and examples without Terraform: every name that is used is there, and of the right kind.

The names and types of Google's resources are those of google.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.modules import Block, Module, named, read, text_of
from tests.deploy.provider import SCHEMAS
from tests.deploy.terraform import EXAMPLES, MODULES, TERRAFORM
from tests.test_docs import ROOT

# The services that Google asks of a project before a resource can be made, by how its type begins;
# the longest that fits. A right on a project is Resource Manager's, and so is the project that
# google_project_service looks at.
SERVICES = {
    "google_artifact_registry_": {"artifactregistry"},
    "google_bigquery_": {"bigquery"},
    "google_compute_": {"compute"},
    # Workers log, and who launches becomes the launcher's account.
    "google_dataflow_": {"dataflow", "iamcredentials", "logging"},
    "google_monitoring_": {"monitoring"},
    "google_project_iam_": {"cloudresourcemanager", "iam"},
    "google_project_service": {"cloudresourcemanager", "serviceusage"},
    "google_pubsub_": {"pubsub"},
    "google_secret_manager_": {"secretmanager"},
    "google_service_account": {"iam"},
    "google_storage_": {"storage"},
}
SITE = TERRAFORM / "examples" / "site"

FOLDER = pytest.mark.parametrize(
    "folder", [*MODULES, *EXAMPLES], ids=lambda path: str(path.relative_to(TERRAFORM))
)


def schema_of(block: Block, kind: str = "resource_schemas") -> dict[str, Any]:
    """Raises KeyError for a resource that there isn't in the provider that it is asked of."""
    beta = "google-beta" in str(block.body.get("provider", ""))
    provider = SCHEMAS["hashicorp/google-beta" if beta else "hashicorp/google"]
    result: dict[str, Any] = provider[kind][block.type]["block"]
    return result


def wrong_in(arguments: dict[str, Any], schema: dict[str, Any], where: str) -> list[str]:
    """What of a block's arguments is unknown, missing, or a literal of another type."""
    attributes, nested = schema.get("attributes", {}), schema.get("block_types", {})
    problems = []
    for name, value in arguments.items():
        if name in nested:
            for each in value if isinstance(value, list) else [value]:
                inner = Block(type=name, name=name, body=each)
                problems += wrong_in(inner.arguments, nested[name]["block"], f"{where}.{name}")
        elif name not in attributes or not {"required", "optional"} & set(attributes[name]):
            problems.append(f"{where}.{name} is no argument")
        elif not _fits(value, attributes[name]["type"]):
            problems.append(f"{where}.{name} is no {attributes[name]['type']}: {value}")
    for name, each in {**attributes, **nested}.items():
        if (each.get("required") or each.get("min_items")) and name not in arguments:
            problems.append(f"{where}.{name} is missing")
    return problems


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, str) and value.startswith("${"):
        return True
    if isinstance(kind, list):
        return isinstance(value, list if kind[0] in ("list", "set") else dict)
    expected = {"string": str, "number": int | float, "bool": bool}[kind]
    if kind == "number" and isinstance(value, bool):
        return False
    return isinstance(value, expected)


def called(module: Module, call: Block) -> Module:
    source = text_of(call.body["source"])
    assert source is not None
    return read((module.folder / source).resolve())


@FOLDER
def test_what_is_referred_to_is_there(folder: Path) -> None:
    module = read(folder)
    calls = {call.name: called(module, call) for call in module.calls}
    resources = {(each.type, each.name): each for each in module.resources}
    data = {(each.type, each.name) for each in module.data}
    missing = []
    for reference in module.references():
        kind, name, *rest = reference
        if kind == "var":
            there = name in module.variables
        elif kind == "local":
            there = name in module.locals
        elif kind == "module":
            there = name in calls and rest[0] in calls[name].outputs
        elif kind == "data":
            there = (name, rest[0]) in data
        else:
            block = resources.get((name, rest[0]))
            there = block is not None and rest[1] in {"", *schema_of(block)["attributes"]}
        if not there:
            missing.append(".".join(reference))
    assert missing == []


@FOLDER
def test_nothing_is_declared_for_nobody(folder: Path) -> None:
    module = read(folder)
    used = {(kind, name) for kind, name, *_ in module.references()}
    declared = {("var", name) for name in module.variables}
    declared |= {("local", name) for name in module.locals}
    assert declared - used == set()
    for name, body in [*module.variables.items(), *module.outputs.items()]:
        if folder in MODULES:
            assert body["description"], name
    for name, body in module.variables.items():
        assert "type" in body, name


@FOLDER
def test_a_module_is_given_what_it_needs_and_nothing_else(folder: Path) -> None:
    module = read(folder)
    for call in module.calls:
        given, wanted = set(call.arguments), called(module, call)
        assert given <= set(wanted.variables), call.name
        assert wanted.required() <= given, call.name
        for name, value in call.arguments.items():
            kind = str(wanted.variables[name]["type"]).strip("${}")
            assert _fits(value, _outline(kind)), f"{call.name}.{name} is no {kind}: {value}"


@FOLDER
def test_resources_have_arguments_that_google_knows(folder: Path) -> None:
    module = read(folder)
    problems = []
    for each in module.resources:
        problems += wrong_in(each.arguments, schema_of(each), f"{each.type}.{each.name}")
    for each in module.data:
        known = schema_of(each, "data_source_schemas")
        problems += wrong_in(each.arguments, known, f"data.{each.type}.{each.name}")
    assert problems == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": '"n"', "topic": '"t"', "ack_deadline": 60}, "s.ack_deadline is no argument"),
        ({"name": '"n"'}, "s.topic is missing"),
        (
            {"name": '"n"', "topic": '"t"', "enable_message_ordering": '"yes"'},
            "s.enable_message_ordering is no bool: \"yes\"",
        ),
        (
            {"name": '"n"', "topic": '"t"', "expiration_policy": [{}]},
            "s.expiration_policy.ttl is missing",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_found(arguments: dict[str, Any], problem: str) -> None:
    block = Block(type="google_pubsub_subscription", name="s", body=arguments)
    assert wrong_in(block.arguments, schema_of(block), "s") == [problem]


def test_every_module_has_an_example_and_the_site_uses_all() -> None:
    uses = {
        example.name: {called(read(example), call).folder for call in read(example).calls}
        for example in EXAMPLES
    }
    for module in MODULES:
        assert module in uses[module.name]
    assert uses["site"] == set(MODULES)


def services_needed(types: Iterable[str]) -> set[str]:
    """The services behind resources. Raises KeyError for a type that nobody has looked up."""
    result: set[str] = set()
    for each in types:
        prefixes = [prefix for prefix in SERVICES if each.startswith(prefix)]
        result |= SERVICES[max(prefixes, key=len, default=each)]
    return result


def test_the_site_enables_what_its_resources_are_made_by() -> None:
    blocks = [each for folder in (SITE, *MODULES) for each in read(folder).resources]
    (enabled,) = (each.body["for_each"] for each in blocks if each.type == "google_project_service")
    there = set(re.findall(r"[\"']([a-z]+)\.googleapis\.com[\"']", str(enabled)))
    assert there == services_needed(each.type for each in blocks)


def test_the_site_makes_nothing_before_its_service_is_enabled() -> None:
    module = read(SITE)
    for block in [*module.calls, *module.resources]:
        # A job's module waits for those whose outputs it is given.
        if block.type != "google_project_service" and "count" not in block.body:
            assert block.body["depends_on"] == ["${google_project_service.this}"], block.name


@FOLDER
def test_providers_are_named_with_their_version_and_nothing_of_a_registry(folder: Path) -> None:
    text = "\n".join(path.read_text("utf-8") for path in folder.glob("*.tf*") if path.is_file())
    sources = re.findall(r'source += "(hashicorp/[\w-]+)"\n +version = "(.*)"', text)
    assert sources
    assert set(sources) <= {("hashicorp/google", "~> 6.50"), ("hashicorp/google-beta", "~> 6.50")}
    assert re.findall(r"(?<!\w)registry\.\w+", text) == []


@FOLDER
def test_files_that_are_read_are_there(folder: Path) -> None:
    for path in folder.glob("*.tf"):
        for name in re.findall(r"file\(\"\$\{path\.module\}/([^\"$]+)\"", path.read_text("utf-8")):
            assert (folder / name).resolve().is_file(), name
            assert (folder / name).resolve().is_relative_to(ROOT)


def _outline(kind: str) -> Any:
    """A variable's type as far as a literal shows it."""
    for outer in ("map", "object", "set", "list"):
        if kind.startswith(f"{outer}("):
            return ["list" if outer in ("set", "list") else "map"]
    return kind


def test_the_page_tells_of_every_module_and_its_links_lead_somewhere() -> None:
    page = TERRAFORM.parent / "README.md"
    text = page.read_text("utf-8")
    told = re.findall(r"^  ([a-z-]+)  +\S", text, re.MULTILINE)
    assert sorted(told) == [folder.name for folder in MODULES]
    for name in [page, *(ROOT / "templates").glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", name.read_text("utf-8")):
            assert (name.parent / target).exists(), f"{name}: {target}"


def test_every_local_value_is_read_by_name() -> None:
    # `named` leaves out what the parser adds; else a local of ours could hide in it.
    module = read(TERRAFORM / "modules" / "pubsub")
    assert set(dict(named(module.locals))) == {"subscriptions", "dead_lettered"}
