"""The request that launches a template on Dataflow, made and checked here.

https://cloud.google.com/dataflow/docs/reference/rest/v1b3/projects.locations.flexTemplates/launch
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.cloud.dataflow_v1beta3.types import (
    FlexTemplateRuntimeEnvironment,
    LaunchFlexTemplateParameter,
    LaunchFlexTemplateRequest,
    StreamingMode,
    WorkerIPAddressConfiguration,
)

from templates.catalog import Template
from templates.errors import TemplateError
from templates.graph import contract_of, steps_of
from templates.job import translate
from templates.machines import refusal
from templates.promises import IMAGE

# Of a flex template: FlexTemplateRuntimeEnvironment.max_workers.
_MOST_WORKERS = 1_000
_JOB_NAME = re.compile("[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT = re.compile("[a-z][a-z0-9.:-]{4,61}[a-z0-9]")
_REGION = re.compile("[a-z]+-[a-z]+[0-9]+")
_SPEC = _FOLDER = re.compile("gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/[^ ]+")
_ACCOUNT = re.compile(r"[a-z0-9-]+@[a-z0-9.:-]+\.gserviceaccount\.com")
_HOST = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_ENDPOINT = re.compile(rf"(http://)?{_HOST}([.]{_HOST})*(:({_PORT}))?")
_SUBNETWORK = re.compile("(https://[^ ]+/)?(projects/[^/ ]+/)?regions/[^/ ]+/subnetworks/[^/ ]+")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Where and how a template is launched.

    Args:
      project, region: where the job runs.
      job_name: the job's name; for an update, that of the job that runs.
      spec: the template's specification, ``gs://BUCKET/FILE``.
      service_account: whom the workers run as; without it Compute Engine's default account.
      maximum_workers: where autoscaling ends.
      machine_type: the workers'; without it Dataflow's choice.
      subnetwork: of the workers; without it the region's default one.
      staging_location, temp_location: folders of Dataflow's files, ``gs://BUCKET/FOLDER``; without
        them those of a bucket that Dataflow makes.
      private: whether the workers have no public address.
      exactly_once: whether Dataflow's exactly-once mode is used; ours is at least once in both.
      update: whether the job of that name is replaced in place.

    Raises:
      TemplateError: names the setting and says what would be right.
    """

    project: str
    region: str
    job_name: str
    spec: str
    service_account: str | None = None
    maximum_workers: int | None = None
    machine_type: str | None = None
    subnetwork: str | None = None
    staging_location: str | None = None
    temp_location: str | None = None
    private: bool = False
    exactly_once: bool = False
    update: bool = False

    def __post_init__(self) -> None:
        check_settings(
            project=self.project,
            region=self.region,
            job=self.job_name,
            spec=self.spec,
            service_account=self.service_account,
            subnetwork=self.subnetwork,
            staging_location=self.staging_location,
            temp_location=self.temp_location,
        )
        if self.maximum_workers is not None and not 1 <= self.maximum_workers <= _MOST_WORKERS:
            raise TemplateError(
                f"--max-workers {self.maximum_workers}: must be 1 to {_MOST_WORKERS}"
            )
        wrong = None if self.machine_type is None else refusal(self.machine_type)
        if wrong is not None:
            raise TemplateError(f"--machine-type {self.machine_type!r}: {wrong}")
        its_region = _ITS_REGION.search(self.subnetwork or "")
        if its_region is not None and its_region[1] != self.region:
            raise TemplateError(
                f"--subnetwork {self.subnetwork!r}: must be of --region {self.region}, where the"
                " workers are"
            )


_ITS_REGION = re.compile("(?:^|/)regions/([^/ ]+)/")
_FORMS = {
    "project": (_PROJECT, "my-project"),
    "region": (_REGION, "europe-west1"),
    "job": (_JOB_NAME, "telemetry-eu"),
    "spec": (_SPEC, "gs://my-bucket/templates/mqtt-to-pubsub.json"),
    "service_account": (_ACCOUNT, "telemetry@my-project.iam.gserviceaccount.com"),
    "subnetwork": (_SUBNETWORK, "regions/europe-west1/subnetworks/workers"),
    # Beam takes no bucket alone (options/pipeline_options_validator.py).
    "staging_location": (_FOLDER, "gs://my-bucket/staging"),
    "endpoint": (_ENDPOINT, "http://127.0.0.1:8080 or dataflow.example.com:443"),
    "temp_location": (_FOLDER, "gs://my-bucket/temp"),
}


def check_settings(**settings: str | None) -> None:
    """Looks at settings of a launch by their names; None is one that wasn't given.

    Raises:
      TemplateError: names the setting and says what would be right.
    """
    for name, value in settings.items():
        form, example = _FORMS[name]
        if value is not None and not form.fullmatch(value):
            raise TemplateError(f"--{name.replace('_', '-')} {value!r}: must be like {example}")


def launch_request(
    template: Template, values: Mapping[str, str], launch: Launch
) -> LaunchFlexTemplateRequest:
    """Returns the request. Raises ParameterError for parameters that the template refuses."""
    template.read(values)
    environment = FlexTemplateRuntimeEnvironment(
        enable_streaming_engine=True,
        streaming_mode=(
            StreamingMode.STREAMING_MODE_EXACTLY_ONCE
            if launch.exactly_once
            else StreamingMode.STREAMING_MODE_AT_LEAST_ONCE
        ),
        service_account_email=launch.service_account,
        max_workers=launch.maximum_workers,
        machine_type=launch.machine_type,
        subnetwork=launch.subnetwork,
        staging_location=launch.staging_location,
        temp_location=launch.temp_location,
        ip_configuration=(
            WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
            if launch.private
            else WorkerIPAddressConfiguration.WORKER_IP_UNSPECIFIED
        ),
    )
    parameter = LaunchFlexTemplateParameter(
        job_name=launch.job_name,
        container_spec_gcs_path=launch.spec,
        parameters=dict(values),
        environment=environment,
        update=launch.update,
        transform_name_mappings=_mapping(template, values) if launch.update else {},
    )
    return LaunchFlexTemplateRequest(
        project_id=launch.project, location=launch.region, launch_parameter=parameter
    )


def _mapping(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """Returns what became of the renamed steps that the job with these parameters has."""
    contract = contract_of(template)
    if not contract.renamed:
        return {}
    return contract.mapping_to(steps_of(translate(template, values, image=IMAGE)))


def warnings(template: Template, values: Mapping[str, str], launch: Launch) -> Iterator[str]:
    """Gives what can be launched and is hardly meant. The parameters are right ones."""
    defaults = {parameter.name: parameter.default for parameter in template.parameters}
    shards = values.get("shards", defaults.get("shards"))
    most = launch.maximum_workers
    if shards is not None and most is not None and int(shards) > most:
        yield (
            f"--max-workers {most} for shards={shards}: a worker carries one shard at the rate that"
            " `mqttbeam plan` reckons with, and these would share"
        )


def request_text(request: LaunchFlexTemplateRequest) -> str:
    """Returns the request's body as the REST interface takes it."""
    body = LaunchFlexTemplateParameter.to_json(
        request.launch_parameter,
        including_default_value_fields=False,
        use_integers_for_enums=False,
        indent=2,
    )
    return f'{{"launchParameter": {body}}}'
