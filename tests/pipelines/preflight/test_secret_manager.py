from __future__ import annotations

import pytest

from pipelines.preflight import Access, Finding, Outcome, Secret
from pipelines.preflight.secret_manager import READ, examine_secret, read_secret
from tests.harness.google_apis import CALLER, GoogleApis
from tests.harness.google_fixtures import ACCOUNT, MakeAccess
from transforms.secrets import SecretError, SecretRef

SECRET = "projects/my-project/secrets/mqtt-password"
REFERENCE = SecretRef.parse(SECRET)
PATH = f"v1/{SECRET}"


def examined(access: Access, reference: SecretRef = REFERENCE) -> list[Finding]:
    need = Secret(reference=reference, use="MQTT password")
    return list(examine_secret(need, access, seconds=5))


def test_a_secret_that_is_there_and_may_be_read(apis: GoogleApis, access: MakeAccess) -> None:
    apis.secrets[REFERENCE.reference] = ("ENABLED", b"hunter2")
    apis.rights[ACCOUNT, PATH] = {READ}
    findings = examined(access())
    assert [finding.outcome for finding in findings] == [Outcome.OK] * 2
    # To know that it may be read it needn't be.
    assert not [path for _, path in apis.asked if path.endswith(":access")]


@pytest.mark.parametrize(
    ("state", "words", "command"),
    [
        (None, "there is none", "secrets create mqtt-password --project=my-project"),
        ("DISABLED", "disabled", "secrets versions enable latest --secret=mqtt-password"),
        ("DESTROYED", "can't be read", "secrets versions add mqtt-password"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_with_what_mends_it(
    apis: GoogleApis, access: MakeAccess, state: str | None, words: str, command: str
) -> None:
    if state is not None:
        apis.secrets[REFERENCE.reference] = (state, b"")
    (finding,) = examined(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.resource == REFERENCE.reference
    assert words in finding.words
    assert command in str(finding.command)


def test_a_version_that_is_missing_is_added_to_the_secret(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.rights[ACCOUNT, PATH] = {READ}
    (finding,) = examined(access())
    assert "no such version" in finding.words
    assert "versions add mqtt-password" in str(finding.command)


def test_an_account_that_may_not_read_it_is_given_the_least_role(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.secrets[REFERENCE.reference] = ("ENABLED", b"hunter2")
    apis.rights[CALLER, PATH] = {READ}
    _, finding = examined(access())
    assert finding.outcome is Outcome.FAILED
    assert finding.words == f"{ACCOUNT} lacks {READ}"
    assert finding.command == (
        "gcloud secrets add-iam-policy-binding mqtt-password --project=my-project"
        f' --member="serviceAccount:{ACCOUNT}" --role=roles/secretmanager.secretAccessor'
    )


def test_what_the_account_may_do_is_not_known_where_nobody_may_act_for_it(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.may_impersonate.clear()
    apis.secrets[REFERENCE.reference] = ("ENABLED", b"")
    assert [each.outcome for each in examined(access())] == [Outcome.OK, Outcome.UNKNOWN]


def test_a_secret_is_read_as_the_account_or_as_the_caller(
    apis: GoogleApis, access: MakeAccess
) -> None:
    apis.secrets[REFERENCE.reference] = ("ENABLED", b"hunter2\n")
    with pytest.raises(SecretError, match="mqtt-password/versions/latest can't be read from here"):
        read_secret(REFERENCE, access())
    apis.rights[CALLER, PATH] = {READ}
    assert read_secret(REFERENCE, access()) == b"hunter2\n"
    apis.rights[ACCOUNT, PATH] = {READ}
    apis.asked.clear()
    assert read_secret(REFERENCE, access()) == b"hunter2\n"
    assert [who for who, path in apis.asked if path.endswith(":access")] == [ACCOUNT]


def test_a_secret_of_this_machine_is_read(access: MakeAccess) -> None:
    (finding,) = examined(access(), SecretRef("env:NOBODY_SET_THIS"))
    assert finding.outcome is Outcome.FAILED
    assert "NOBODY_SET_THIS" in finding.words
