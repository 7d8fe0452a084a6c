from __future__ import annotations

from typing import Any

import pytest

from pipelines.preflight import Access, Finding, LaunchFolder, Outcome, Specification
from pipelines.preflight.specification import PULL, examine_specification
from pipelines.preflight.storage import READ, examine_launch_folder
from tests.harness.google_apis import GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess

NEED = Specification(
    name="gs://my-bucket/spec.json",
    template="mqtt-to-pubsub",
    parameters=("outputTopic",),
    titles=(("mqtt-to-pubsub", "MQTT to Pub/Sub"), ("pubsub-to-mqtt", "Pub/Sub to MQTT")),
)
IMAGE = "europe-docker.pkg.dev/my-project/mqttbeam/a/b:1.0"
REPOSITORY = "projects/my-project/locations/europe/repositories/mqttbeam"


def spec(title: str = "MQTT to Pub/Sub", image: str = IMAGE, *names: str) -> dict[str, Any]:
    parameters = [{"name": name} for name in names or ("outputTopic", "qos")]
    return {"image": image, "metadata": {"name": title, "parameters": parameters}}


@pytest.fixture
def complete(apis: GoogleApis) -> GoogleApis:
    apis.objects["my-bucket"] = {"spec.json"}
    apis.contents["my-bucket", "spec.json"] = spec()
    apis.rights[ACCOUNT, "my-bucket"] = set(READ)
    apis.images.add(f"{REPOSITORY}/packages/a/b/tags/1.0")
    apis.rights[ACCOUNT, f"v1/{REPOSITORY}"] = set(PULL)
    return apis


def looked(access: Access) -> list[Finding]:
    return list(examine_specification(NEED, access, seconds=5))


def test_a_template_s_own_with_an_image_that_can_be_pulled(
    complete: GoogleApis, access: MakeAccess
) -> None:
    assert [each.outcome for each in looked(access())] == [Outcome.OK] * 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (spec("Pub/Sub to MQTT"), "it is that of pubsub-to-mqtt"),
        (spec("Kafka to BigQuery"), "it is that of another template, 'Kafka to BigQuery'"),
        (spec("MQTT to Pub/Sub", IMAGE, "qos"), "it has no parameter outputTopic"),
        ({}, "it is no specification"),
    ],
)
def test_what_is_none_of_this_template_s_is_told_with_whose_it_is(
    complete: GoogleApis, access: MakeAccess, content: dict[str, Any], words: str
) -> None:
    complete.contents["my-bucket", "spec.json"] = content
    *_, finding = looked(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.words.startswith(words)
    assert "templates spec mqtt-to-pubsub " in str(finding.command)


def test_an_image_that_is_missing_or_closed_to_the_workers_is_named(
    complete: GoogleApis, access: MakeAccess
) -> None:
    del complete.rights[ACCOUNT, f"v1/{REPOSITORY}"]
    *_, finding = looked(access())
    assert (finding.resource, finding.outcome) == (REPOSITORY, Outcome.FAILED)
    assert finding.command == (
        "gcloud artifacts repositories add-iam-policy-binding mqttbeam --location=europe"
        f' --project=my-project --member="serviceAccount:{ACCOUNT}"'
        " --role=roles/artifactregistry.reader"
    )
    complete.images.clear()
    *_, finding = looked(access())
    assert (finding.resource, finding.outcome) == (IMAGE, Outcome.FAILED)


def test_an_image_is_found_by_its_digest_and_in_other_registries_it_is_unknown(
    complete: GoogleApis, access: MakeAccess
) -> None:
    digest = f"sha256:{'0' * 64}"
    complete.images.add(f"{REPOSITORY}/packages/a/b/versions/{digest}")
    complete.contents["my-bucket", "spec.json"] = spec(
        image=f"{IMAGE.removesuffix(':1.0')}@{digest}"
    )
    assert looked(access())[-1].outcome is Outcome.OK
    complete.contents["my-bucket", "spec.json"] = spec(image="registry.example.com/a/b:1.0")
    assert looked(access())[-1].outcome is Outcome.UNKNOWN


def test_a_staging_folder_s_bucket_must_exist_and_rights_on_a_part_of_it_may_do(
    apis: GoogleApis, access: MakeAccess
) -> None:
    need = LaunchFolder(name="gs://my-bucket/staging")
    (finding,) = examine_launch_folder(need, access(), seconds=5)
    assert finding.outcome is Outcome.FAILED
    apis.objects["my-bucket"] = set()
    there, usable = examine_launch_folder(need, access(), seconds=5)
    assert (there.outcome, usable.outcome) == (Outcome.OK, Outcome.UNKNOWN)
