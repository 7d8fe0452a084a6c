from __future__ import annotations

from pipelines.preflight import Outcome, Subnetwork
from pipelines.preflight.subnetwork import examine_subnetwork
from tests.harness.google_apis import GoogleApis
from tests.harness.google_fixtures import MakeAccess

NAME = "projects/my-project/regions/europe-west1/subnetworks/workers"
COMMAND = "gcloud compute networks subnets {} workers --region=europe-west1 --project=my-project"


def test_a_subnetwork_that_is_missing_is_named(access: MakeAccess) -> None:
    (finding,) = examine_subnetwork(Subnetwork(name=NAME, private=False), access(), seconds=5)
    assert (finding.resource, finding.outcome) == (NAME, Outcome.FAILED)
    assert str(finding.command).startswith(COMMAND.format("create"))


def test_private_workers_need_a_way_to_google_and_others_do_not(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.subnetworks[NAME] = False
    there, way = examine_subnetwork(Subnetwork(name=NAME, private=True), access(), seconds=5)
    assert (there.outcome, way.outcome) == (Outcome.OK, Outcome.FAILED)
    assert way.command == f"{COMMAND.format('update')} --enable-private-ip-google-access"
    apis.subnetworks[NAME] = True
    _, way = examine_subnetwork(Subnetwork(name=NAME, private=True), access(), seconds=5)
    assert way.outcome is Outcome.OK
    (there,) = examine_subnetwork(Subnetwork(name=NAME, private=False), access(), seconds=5)
    assert there.outcome is Outcome.OK
