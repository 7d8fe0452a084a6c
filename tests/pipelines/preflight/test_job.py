from __future__ import annotations

import pytest

from pipelines.preflight import Access, Finding, Job, Outcome
from pipelines.preflight.job import ACT_AS, LAUNCH, WORK, examine_job
from tests.harness.google_apis import CALLER, GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess

NEED = Job(project="my-project", services=("pubsub",))
PROJECT = "v3/projects/my-project"


def job(access: Access) -> list[Finding]:
    return list(examine_job(NEED, access, seconds=5))


@pytest.fixture
def complete(apis: GoogleApis) -> GoogleApis:
    apis.services |= {f"{name}.googleapis.com" for name in ("compute", "dataflow", "pubsub")}
    apis.accounts[ACCOUNT] = False
    apis.rights[CALLER, PROJECT] = set(LAUNCH)
    apis.rights[CALLER, f"v1/projects/my-project/serviceAccounts/{ACCOUNT}"] = set(ACT_AS)
    apis.rights[ACCOUNT, PROJECT] = {*WORK, *LAUNCH}
    apis.rights[ACCOUNT, f"v1/projects/my-project/serviceAccounts/{ACCOUNT}"] = set(ACT_AS)
    return apis


def test_a_project_that_is_ready(complete: GoogleApis, access: MakeAccess) -> None:
    assert [finding.outcome for finding in job(access())] == [Outcome.OK] * 7


def test_each_thing_that_is_missing_has_its_command(
    complete: GoogleApis, access: MakeAccess
) -> None:
    complete.services -= {"dataflow.googleapis.com"}
    complete.rights.clear()
    services, launch, there, act_as, work, submit, as_itself = job(access())
    assert there.outcome is Outcome.OK
    for finding in (services, launch, act_as, work, submit, as_itself):
        assert finding.outcome is Outcome.FAILED
    assert services.command == "gcloud services enable dataflow.googleapis.com --project=my-project"
    bind = "gcloud projects add-iam-policy-binding my-project"
    assert launch.command == (
        f'{bind} --member="serviceAccount:{CALLER}" --role=roles/dataflow.developer'
        " --condition=None"
    )
    assert act_as.command == (
        f"gcloud iam service-accounts add-iam-policy-binding {ACCOUNT}"
        f' --member="serviceAccount:{CALLER}" --role=roles/iam.serviceAccountUser'
    )
    assert work.command == (
        f'{bind} --member="serviceAccount:{ACCOUNT}" --role=roles/dataflow.worker --condition=None'
    )
    assert submit.command == (
        f'{bind} --member="serviceAccount:{ACCOUNT}" --role=roles/dataflow.developer'
        " --condition=None"
    )
    assert as_itself.command == (
        f"gcloud iam service-accounts add-iam-policy-binding {ACCOUNT}"
        f' --member="serviceAccount:{ACCOUNT}" --role=roles/iam.serviceAccountUser'
    )


def test_an_account_that_is_not_there_or_disabled_is_told(
    complete: GoogleApis, access: MakeAccess
) -> None:
    complete.accounts[ACCOUNT] = True
    *_, finding = job(access())
    assert finding.command == f"gcloud iam service-accounts enable {ACCOUNT}"
    complete.accounts.clear()
    *_, finding = job(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.command == "gcloud iam service-accounts create workers --project=my-project"


def test_a_job_without_an_account_of_its_own_is_warned_of(
    complete: GoogleApis, access: MakeAccess
) -> None:
    *_, finding = job(access(None))
    assert finding.outcome is Outcome.WARNING
    assert "--service-account" in finding.words


@pytest.mark.parametrize(
    ("account", "project"),
    [
        ("w@my-project.iam.gserviceaccount.com", "my-project"),
        ("w@my-project.example.com.iam.gserviceaccount.com", "example.com:my-project"),
    ],
)
def test_an_account_s_project_is_read_from_its_address(
    complete: GoogleApis, access: MakeAccess, account: str, project: str
) -> None:
    *_, finding = job(access(account))
    assert str(finding.command).endswith(f" create w --project={project}")


def test_an_account_of_google_s_own_can_t_be_made(complete: GoogleApis, access: MakeAccess) -> None:
    *_, finding = job(access("123-compute@developer.gserviceaccount.com"))
    assert (finding.outcome, finding.command) == (Outcome.FAILED, None)
    assert (CALLER, "v1/projects/-/serviceAccounts/123-compute@developer.gserviceaccount.com") in (
        complete.asked
    )
