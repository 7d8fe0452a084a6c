"""README and metadata of each template are those of the code, and their commands are taken."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest

from templates import readme
from templates.catalog import FOLDER, TEMPLATES, Template

TEMPLATE = pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)


def test_files_are_up_to_date() -> None:
    for path, text in readme.generated():
        assert path.read_text(encoding="utf-8") == text, "run python -m docs.generate"


@TEMPLATE
def test_every_parameter_is_told(template: Template) -> None:
    for parameter in template.parameters:
        assert f"| `{parameter.name}` |" in readme.readme(template)


@TEMPLATE
def test_the_commands_give_what_the_template_takes(template: Template) -> None:
    needed = readme.needed(template)
    template.read(needed)
    blocks = re.findall(r"```sh\n(.*?)```", readme.readme(template), re.DOTALL)
    doctor, by_mqttbeam, by_gcloud, by_rest = (shlex.split(block) for block in blocks[1:])
    for command in (doctor, by_mqttbeam):
        given = [command[at + 1] for at, word in enumerate(command) if word == "--param"]
        assert dict(each.split("=", 1) for each in given) == needed
    (parameters,) = (word for word in by_gcloud if word.startswith("--parameters="))
    separated = parameters.removeprefix("--parameters=^~^").split("~")
    assert dict(each.split("=", 1) for each in separated) == needed
    body = json.loads(by_rest[by_rest.index("-d") + 1])
    request = LaunchFlexTemplateRequest.from_json(json.dumps(body), ignore_unknown_fields=False)
    assert dict(request.launch_parameter.parameters) == needed


@TEMPLATE
def test_every_launch_runs_as_the_account_that_doctor_looked_at_and_where_terraform_does(
    template: Template,
) -> None:
    page = readme.readme(template)
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    doctor, by_mqttbeam, by_gcloud, by_rest = (shlex.split(block) for block in blocks[1:])
    body = json.loads(by_rest[by_rest.index("-d") + 1])
    by_gcloud = [part for word in by_gcloud for part in word.split("=", 1)]
    environment = body["launchParameter"]["environment"]
    account = doctor[doctor.index("--service-account") + 1]
    for mqttbeam, gcloud, rest, value in (
        ("service-account", "service-account-email", "serviceAccountEmail", account),
        ("subnetwork", "subnetwork", "subnetwork", None),
        ("max-workers", "max-workers", "maxWorkers", None),
        ("staging-location", "staging-location", "stagingLocation", "gs://my-bucket/staging"),
        ("temp-location", "temp-location", "tempLocation", "gs://my-bucket/temp"),
    ):
        given = {
            by_mqttbeam[by_mqttbeam.index(f"--{mqttbeam}") + 1],
            by_gcloud[by_gcloud.index(f"--{gcloud}") + 1],
            str(environment[rest]),
        }
        assert len(given) == 1, mqttbeam
        assert value is None or given == {value}
    assert "--private" in by_mqttbeam
    assert "--disable-public-ips" in by_gcloud
    assert environment["ipConfiguration"] == "WORKER_IP_PRIVATE"


def test_the_first_page_leads_to_every_template_and_to_the_check_list() -> None:
    page = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for template in TEMPLATES:
        assert f"(templates/{template.folder.name}/README.md)" in page
    assert "(docs/dataflow-checklist.md)" in page
    assert "mqttbeam templates" in page
