from __future__ import annotations

from pipelines.preflight import Access, File, Finding, Folder, Outcome
from pipelines.preflight.storage import READ, WRITE, examine_file, examine_folder
from tests.harness.google_apis import CALLER, GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess

FOLDER = Folder(name="gs://my-bucket/archive", tried=True)
FILE = File(name="gs://my-bucket/a/numbers.csv")


def folder(access: Access, need: Folder = FOLDER) -> list[Finding]:
    return list(examine_folder(need, access, seconds=5))


def test_a_bucket_that_may_be_written_to(apis: GoogleApis, access: MakeAccess) -> None:
    apis.objects["my-bucket"] = set()
    apis.rights[ACCOUNT, "my-bucket"] = set(WRITE)
    assert [finding.outcome for finding in folder(access())] == [Outcome.OK] * 2


def test_a_missing_bucket_is_named_with_the_command_that_makes_it(access: MakeAccess) -> None:
    (finding,) = folder(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.resource == "gs://my-bucket"
    assert finding.command == "gcloud storage buckets create gs://my-bucket"


def test_a_right_that_is_missing_is_named_with_the_least_role(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.objects["my-bucket"] = set()
    apis.rights[ACCOUNT, "my-bucket"] = set(WRITE) - {"storage.objects.delete"}
    _, finding = folder(access())
    assert finding.outcome is Outcome.FAILED
    assert f"{ACCOUNT} lacks storage.objects.delete" in finding.words
    assert finding.command == (
        "gcloud storage buckets add-iam-policy-binding gs://my-bucket"
        f' --member="serviceAccount:{ACCOUNT}" --role=roles/storage.objectUser'
    )


def test_without_an_account_it_is_the_caller_who_is_granted_it(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.objects["my-bucket"] = set()
    _, finding = folder(access(None))
    assert f'--member="serviceAccount:{CALLER}"' in str(finding.command)


def test_without_a_folder_for_them_dead_letters_are_cut_and_the_pipeline_runs(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.objects["my-bucket"] = set()
    _, finding = folder(access(), Folder(name="gs://my-bucket/dead-letters", tried=False))
    assert finding.outcome is Outcome.WARNING
    assert "would be cut" in finding.words


def test_a_file_that_may_be_read(apis: GoogleApis, access: MakeAccess) -> None:
    apis.objects["my-bucket"] = {"a/numbers.csv"}
    apis.rights[ACCOUNT, "my-bucket"] = set(READ)
    findings = list(examine_file(FILE, access(), seconds=5))
    assert [finding.outcome for finding in findings] == [Outcome.OK] * 3


def test_a_missing_file_is_named(apis: GoogleApis, access: MakeAccess) -> None:
    apis.objects["my-bucket"] = {"a"}
    apis.rights[ACCOUNT, "my-bucket"] = set(READ)
    *_, finding = examine_file(FILE, access(), seconds=5)
    assert finding.outcome is Outcome.FAILED
    assert finding.resource == FILE.name
    assert finding.command == f"gcloud storage cp FILE {FILE.name}"
