"""The jobs are launched as their templates are meant to be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from templates.catalog import TEMPLATES, Template, template_named
from templates.readme import needed, readme
from tests.deploy.modules import Block, read, text_of
from tests.deploy.terraform import EXAMPLES, ROOT, Plan, Resource, Terraform, site_plan

TEMPLATE_OF = re.compile(r"/templates/([a-z-]+?)(?:-[0-9]|-\$|\.json)")


SOURCE = "../../modules/dataflow-job"
CALL = re.compile(rf'^module "(\w+)" {{\n  source = "{re.escape(SOURCE)}"$', re.MULTILINE)


def calls() -> list[tuple[Path, str]]:
    """The examples' calls by name, found without the parser, which takes two seconds."""
    return [
        (example, name)
        for example in EXAMPLES
        for file in sorted(example.glob("*.tf"))
        for name in CALL.findall(file.read_text("utf-8"))
    ]


def read_calls(example: Path) -> Mapping[str, Block]:
    found = read(example).calls
    return {call.name: call for call in found if text_of(call.body["source"]) == SOURCE}


def hcl_of(template: Template) -> str:
    (block,) = re.findall(r"```hcl\n(.*?)```", readme(template), re.DOTALL)
    return str(block)


README = pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
CALLS = pytest.mark.parametrize(
    ("example", "name"),
    [pytest.param(*each, id=f"{each[0].name}-{each[1]}") for each in calls()],
)


def template_of(specification: str) -> str:
    found = TEMPLATE_OF.search(specification)
    assert found is not None, specification
    return found[1]


def test_no_call_of_an_example_is_passed_over() -> None:
    assert calls() == [(example, name) for example in EXAMPLES for name in read_calls(example)]


@CALLS
def test_parameters_are_those_of_the_template(example: Path, name: str) -> None:
    call = read_calls(example)[name]
    template = template_named(template_of(call.body["specification"]))
    record = json.loads((template.folder / "metadata.json").read_text("utf-8"))
    known = {each["name"] for each in record["parameters"]}
    needed = {each["name"] for each in record["parameters"] if not each["isOptional"]}
    given = set(call.body["parameters"])
    assert given <= known
    assert needed <= given
    # The specification names the same image.
    assert f"/{template.name}:" in call.body["image"]


def test_the_site_has_a_job_of_every_template() -> None:
    used = {
        template_of(call.body["specification"])
        for example in EXAMPLES
        if example.name == "site"
        for call in read_calls(example).values()
    }
    assert used == {template.name for template in TEMPLATES}


def test_values_are_taken_by_the_templates(site: Plan) -> None:
    jobs = site.of("google_dataflow_flex_template_job")
    assert len(jobs) == len(TEMPLATES)
    for job in jobs:
        template = template_named(template_of(job.values["container_spec_gcs_path"]))
        template.read(job.values["parameters"])


def test_no_two_jobs_have_one_client_id(site: Plan) -> None:
    ids = [
        job.values["parameters"]["clientId"]
        for job in site.of("google_dataflow_flex_template_job")
        if "clientId" in job.values["parameters"]
    ]
    assert len(ids) == len(set(ids)) == 3


def test_jobs_stream_in_private_and_end_by_a_drain(site: Plan) -> None:
    for job in site.of("google_dataflow_flex_template_job"):
        values = job.values
        assert values["enable_streaming_engine"]
        assert values["ip_configuration"] == "WORKER_IP_PRIVATE"
        assert values["subnetwork"] == "regions/europe-west1/subnetworks/mqttbeam-workers"
        assert values["on_delete"] == "drain"
        # Not before its end may another job have its client ids.
        assert values["skip_wait_on_job_termination"] is False
        assert values["sdk_container_image"].endswith(":1.0")
        assert values["labels"] == {"application": "mqttbeam", "environment": "production"}


def test_scaling_in_tells_the_job_how_many_shards_there_were(after: Terraform) -> None:
    plan = site_plan(after, "-var=launch=true", "-var=shards=2", "-var=shards_before=4")
    (job,) = (each for each in jobs_of(plan) if each.values["name"] == "telemetry")
    assert job.values["parameters"]["shards"] == "2"
    assert job.values["parameters"]["shardsBefore"] == "4"
    assert job.values["max_workers"] == 4
    template_named("mqtt-to-pubsub").read(job.values["parameters"])


def jobs_of(plan: Plan) -> list[Resource]:
    return plan.of("google_dataflow_flex_template_job")


@README
def test_the_example_in_a_readme_is_taken_by_the_module(template: Template, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(hcl_of(template), "utf-8")
    (call,) = read(tmp_path).calls
    source = text_of(call.body["source"])
    assert source is not None
    wanted = read((template.folder / source).resolve())
    assert wanted.required() <= set(call.arguments) <= set(wanted.variables)
    assert template_of(call.body["specification"]) == template.name
    template.read({name: str(text_of(value)) for name, value in call.body["parameters"].items()})


@README
def test_the_example_in_a_readme_is_one_to_terraform(
    before: Terraform, template: Template, tmp_path: Path
) -> None:
    # Beside the modules as the README's folder is.
    folder = tmp_path / "templates" / template.folder.name
    folder.mkdir(parents=True)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (folder / "main.tf").write_text(hcl_of(template), "utf-8")
    before.check_format(folder)
    (job,) = before.plan(folder).of("google_dataflow_flex_template_job")
    assert job.values["parameters"] == needed(template)


def test_renamed_steps_reach_the_job(after: Terraform) -> None:
    renamed = {"warehouse": {"Decode": "DecodeTelemetry"}}
    plan = site_plan(after, "-var=launch=true", f"-var=renamed_steps={json.dumps(renamed)}")
    mappings = {job.values["name"]: job.values["transform_name_mapping"] for job in jobs_of(plan)}
    assert mappings == {"telemetry": {}, "commands": {}, **renamed}
