"""README and metadata of each template are those of the code, and their commands are taken."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest

from templates import readme
from templates.catalog import TEMPLATES, Template

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
