"""README and metadata of each template, written from the code: see docs/generate.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from templates.catalog import TEMPLATES, Template
from templates.parameters import Parameter
from templates.specification import metadata, to_text

_SPEC = "gs://my-bucket/templates/{name}.json"
_SUBNETWORK = "regions/europe-west1/subnetworks/mqttbeam-workers"
_ACCOUNT = "{name}@my-project.iam.gserviceaccount.com"
_BUCKET = "gs://my-bucket"
_MOST_WORKERS = 4
_IMAGE = "europe-docker.pkg.dev/my-project/mqttbeam/{name}:1.0"

_PAGE = """# {title}

{description}

Made by `python -m docs.generate` from the options of the pipeline. What it promises is in
[guarantees.md](../../docs/guarantees.md).

## Parameters

Secrets are references to Secret Manager. A value in the clear, `file:…` or `env:…` is refused:
all who may see a job see its parameters, and its workers have neither your files nor your
environment.

{parameters}

## Image and specification

In a checkout of the project: checked, with the job that Dataflow would get; then the image of
launcher and workers is built and pushed, and the specification written that names it by its digest.
For an image that was built elsewhere, `mqttbeam templates spec` writes one. Its programs are no
root, and its bill of materials (CycloneDX) is the file /template/sbom.cdx.json in it.

```sh
mqttbeam templates check {name}
mqttbeam templates build {name} --repository {repository} --tag 1.0 --push
gcloud storage cp {name}.json {spec}
```

## Is all there?

What the parameters name, and whether the workers' account may use it: all of it is looked at, and
each failure has the command that mends it ([more](../../docs/doctor.md)).

```sh
{doctor}
```

## Launch

The workers run as the account that was looked at, without public addresses, in a subnetwork with
Private Google Access. What they fetch when they start is in the staging folder: keep it as long as
the job runs.

By `mqttbeam`, which checks all parameters, shows the request and what its workers cost, looks
whether all is there, and asks:

```sh
{mqttbeam}
```

By gcloud:

```sh
{gcloud}
```

By REST:

```sh
{rest}
```

By Terraform, with the module of this project; [deploy](../../deploy/README.md) has it with all that
the job needs. The module's own folder is `source`, seen from here:

```hcl
{terraform}
```

To update a running job in place, launch again with its name and `--update` (gcloud has the same
flag, REST `"update": true`). The steps of the job, with their coders, are a contract, in
[graph.json](graph.json). `mqttbeam templates launch --update` sends its mapping of renamed steps
along; where it has some, gcloud takes them by `--transform-name-mappings`, REST by
`transformNameMappings`.
"""


def needed(template: Template) -> dict[str, str]:
    """Returns examples of the parameters that a launch needs."""
    return {each.name: each.example for each in template.parameters if not each.optional}


def readme(template: Template) -> str:
    """Returns a template's README."""
    name = template.name
    return _PAGE.format(
        title=f"Template: {template.title}",
        description=template.description,
        name=name,
        parameters=_table(template),
        repository=_IMAGE.partition("/{name}")[0],
        spec=_SPEC.format(name=name),
        doctor=_doctor(template),
        mqttbeam=_mqttbeam(template),
        gcloud=_gcloud(template),
        rest=_rest(template),
        terraform=_terraform(template),
    )


def generated() -> Iterator[tuple[Path, str]]:
    """Gives every file that is written from the code, with its text."""
    for template in TEMPLATES:
        yield template.folder / "README.md", readme(template)
        yield template.folder / "metadata.json", to_text(metadata(template))


def _table(template: Template) -> str:
    rows = ["| parameter | | default | example |", "|---|---|---|---|"]
    return "\n".join(rows + list(map(_row, template.parameters)))


def _row(parameter: Parameter) -> str:
    text = parameter.help
    if parameter.form.words:
        text += f" One of {', '.join(f'`{word}`' for word in parameter.form.words)}."
    if parameter.only_with is not None:
        other, values = parameter.only_with
        text += f" Only with `{other}`"
        text += f" {' or '.join(f'`{value}`' for value in values)}." if values else "."
    default = "required" if not parameter.optional else ""
    if parameter.default is not None:
        default = f"`{parameter.default}`"
    cells = (f"`{parameter.name}`", text, default, f"`{parameter.example}`")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_PLACE = (
    f"  --subnetwork {_SUBNETWORK} --private",
    f"  --staging-location {_BUCKET}/staging --temp-location {_BUCKET}/temp",
)
"""Where a launch puts its workers and its files, as mqttbeam takes it."""


def _doctor(template: Template) -> str:
    lines = [
        f"mqttbeam doctor {template.name}",
        f"  --project my-project --spec {_SPEC.format(name=template.name)}",
        f"  --service-account {_ACCOUNT.format(name=template.name)}",
        *_PLACE,
        *_params(template),
    ]
    return " \\\n".join(lines)


def _mqttbeam(template: Template) -> str:
    lines = [
        f"mqttbeam templates launch {template.name}",
        f"  --project my-project --region europe-west1 --job {template.name}",
        f"  --spec {_SPEC.format(name=template.name)}",
        f"  --service-account {_ACCOUNT.format(name=template.name)}",
        f"  --max-workers {_MOST_WORKERS}",
        *_PLACE,
        *_params(template),
    ]
    return " \\\n".join(lines)


def _params(template: Template) -> list[str]:
    return [f"  --param {name}={value}" for name, value in needed(template).items()]


def _gcloud(template: Template) -> str:
    # Another separator than the comma, which lists of brokers and filters have in them.
    values = "~".join(f"{name}={value}" for name, value in needed(template).items())
    lines = [
        f"gcloud dataflow flex-template run {template.name}",
        "  --project=my-project --region=europe-west1 --enable-streaming-engine",
        f"  --template-file-gcs-location={_SPEC.format(name=template.name)}",
        f"  --service-account-email={_ACCOUNT.format(name=template.name)}",
        f"  --subnetwork={_SUBNETWORK} --disable-public-ips --max-workers={_MOST_WORKERS}",
        f"  --staging-location={_BUCKET}/staging --temp-location={_BUCKET}/temp",
        f"  --parameters='^~^{values}'",
    ]
    return " \\\n".join(lines)


def _rest(template: Template) -> str:
    body = {
        "launchParameter": {
            "jobName": template.name,
            "containerSpecGcsPath": _SPEC.format(name=template.name),
            "parameters": needed(template),
            "environment": {
                "enableStreamingEngine": True,
                "serviceAccountEmail": _ACCOUNT.format(name=template.name),
                "subnetwork": _SUBNETWORK,
                "ipConfiguration": "WORKER_IP_PRIVATE",
                "maxWorkers": _MOST_WORKERS,
                "stagingLocation": f"{_BUCKET}/staging",
                "tempLocation": f"{_BUCKET}/temp",
            },
        }
    }
    url = (
        "https://dataflow.googleapis.com/v1b3/projects/my-project/locations/europe-west1"
        "/flexTemplates:launch"
    )
    lines = [
        "curl --fail-with-body -X POST",
        '  -H "Authorization: Bearer $(gcloud auth print-access-token)"',
        "  -H 'Content-Type: application/json'",
        f"  {url}",
        f"  -d '{json.dumps(body, indent=2)}'",
    ]
    return " \\\n".join(lines)


def _terraform(template: Template) -> str:
    values = needed(template)
    width = max(map(len, values))
    parameters = "\n".join(
        f"    {name:{width}} = {json.dumps(value)}" for name, value in values.items()
    )
    name = template.name
    return f"""module "{name}" {{
  source = "../../deploy/terraform/modules/dataflow-job"

  project_id            = "my-project"
  region                = "europe-west1"
  name                  = "{name}"
  specification         = "{_SPEC.format(name=name)}"
  image                 = "{_IMAGE.format(name=name)}"
  service_account_email = "{_ACCOUNT.format(name=name)}"
  subnetwork            = "{_SUBNETWORK}"
  dataflow_bucket       = "{_BUCKET.removeprefix("gs://")}"
  max_workers           = {_MOST_WORKERS}

  parameters = {{
{parameters}
  }}
}}"""
