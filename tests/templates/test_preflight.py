"""What a launch needs, and what the launcher finds that the pipeline can't find by itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from google.pubsub_v1 import types

from pipelines.preflight import (
    Broker,
    Folder,
    Job,
    LaunchFolder,
    Secret,
    Specification,
    Subnetwork,
    Subscription,
    Table,
    Topic,
)
from pipelines.preflight.access import CALLER
from templates import entry
from templates.catalog import TEMPLATES, Template, template_named
from templates.errors import ParameterError
from templates.preflight import launch_needs
from templates.promises import examples
from tests.harness.google_apis import GoogleApis
from tests.harness.pubsub_rights import PubSubWithRights
from tests.templates.test_entry import arguments
from transforms.errors import DestinationMissing

WAREHOUSE = template_named("pubsub-to-bigquery")
ARCHIVED = {
    **examples(WAREHOUSE),
    "archiveSubscription": "projects/my-project/subscriptions/telemetry-archive",
    "outputDirectory": "gs://my-bucket/archive",
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_every_resource_that_a_parameter_names_is_looked_at(template: Template) -> None:
    values = examples(template)
    needs = launch_needs(template, values, project="my-project", spec="gs://my-bucket/spec.json")
    assert isinstance(needs[0], Job)
    assert isinstance(needs[1], Specification)
    assert needs[1].template == template.name
    said = " ".join(need.resource.replace(".", ":") for need in needs)
    for name, value in values.items():
        if value.startswith(("projects/", "gs://", "mqtt")) and "/registries/" not in value:
            assert value.replace(".", ":") in said, name
    kinds = {type(need) for need in needs}
    assert (Broker in kinds) is (template.from_mqtt or template.to_mqtt)
    assert Secret in kinds or Broker not in kinds


def test_the_job_s_services_are_those_of_its_resources() -> None:
    job, *needs = launch_needs(WAREHOUSE, ARCHIVED, project="my-project")
    assert isinstance(job, Job)
    assert job.services == ("pubsub", "bigquery", "bigquerystorage")
    kinds = [type(need) for need in needs]
    assert kinds.count(Subscription) == 2
    assert kinds.count(Table) == 2
    assert Folder(name="gs://my-bucket/archive", tried=True) in needs


def test_the_launch_s_own_folders_and_subnetwork_are_looked_at() -> None:
    needs = launch_needs(
        WAREHOUSE,
        ARCHIVED,
        project="my-project",
        staging_location="gs://my-bucket/staging",
        temp_location="gs://my-bucket/temp",
        subnetwork="regions/europe-west1/subnetworks/workers",
        private=True,
    )
    name = "projects/my-project/regions/europe-west1/subnetworks/workers"
    assert needs[1:4] == (
        LaunchFolder(name="gs://my-bucket/staging"),
        LaunchFolder(name="gs://my-bucket/temp"),
        Subnetwork(name=name, private=True),
    )


def test_wrong_parameters_are_refused_before_anything_is_asked() -> None:
    with pytest.raises(ParameterError, match="outputTableSpec: must be"):
        launch_needs(WAREHOUSE, {**ARCHIVED, "outputTableSpec": "t"})


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Template:
    """A template that needs two topics and a bucket, and whose own check finds one wrong."""

    def check(options: object) -> None:
        raise DestinationMissing("projects/p/topics/first does not exist")

    template = dataclasses.replace(
        template_named("mqtt-to-pubsub"),
        check=check,
        needs=lambda options: (
            Topic(name="projects/p/topics/first"),
            Topic(name="projects/p/topics/second"),
            Folder(name="gs://my-bucket/archive", tried=True),
        ),
    )
    monkeypatch.setattr(entry, "template_named", lambda name: template)
    return template


def test_the_launcher_tells_all_that_is_wrong_and_submits_nothing(
    known: Template,
    apis: GoogleApis,
    rights: PubSubWithRights,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rights.topics["projects/p/topics/second"] = types.Topic()
    assert entry.main(known.name, arguments(known, tmp_path)) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"{known.name}: projects/p/topics/first does not exist"
    assert second == (
        f"{known.name}: projects/p/topics/second: this account lacks pubsub.topics.publish; mend"
        " it with `gcloud pubsub topics add-iam-policy-binding second --project=p"
        f' --member="{CALLER}" --role=roles/pubsub.publisher`'
    )
    assert not (tmp_path / "job.json").exists()
    # The archive's folder was tried by the pipeline itself.
    assert not [path for _, path in apis.asked if path.startswith("storage")]
