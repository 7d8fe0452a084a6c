"""Secrets: there, in a version that is enabled, and readable by the account."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.needs import Secret
from pipelines.preflight.rights import rights
from schemas.finding import Finding, Outcome, failed, found, untold
from transforms.secrets import SecretError, SecretRef

SERVICE = "secretmanager"
READ = "secretmanager.versions.access"


def examine_secret(need: Secret, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether the version is there and enabled, and the account may read it."""
    name = need.reference.reference
    if not name.startswith("projects/"):
        yield _of_this_machine(need)
        return
    secret = name.rpartition("/versions/")[0]
    readable = rights(
        access.whose,
        secret,
        f"lets {access.whose} read it ({need.use})",
        [READ],
        lambda: access.account.permissions(SERVICE, f"v1/{secret}", [READ]),
        command=lambda: (
            _gcloud(secret, "add-iam-policy-binding {secret}")
            + f' --member="{access.member}" --role=roles/secretmanager.secretAccessor'
        ),
    )
    there = _existence(access, name, readable)
    yield there
    if there.outcome is not Outcome.FAILED:
        yield readable


def read_secret(reference: SecretRef, access: Access) -> bytes:
    """Returns a secret, read as the account, or as the caller where that can't be.

    Raises:
      SecretError: neither may read it; the message names the reference.
    """
    if not reference.reference.startswith("projects/"):
        return reference.read()
    path = f"v1/{reference.reference}:access"
    refused = ""
    for api in (access.account, access.caller):
        try:
            return base64.b64decode(api.get(SERVICE, path)["payload"]["data"])
        except (ApiRefused, CannotAsk) as error:
            refused = refused or str(error)
    raise SecretError(f"secret {reference.reference} can't be read from here: {refused}")


def _existence(access: Access, name: str, readable: Finding) -> Finding:
    asked = "exists, enabled"
    secret, _, version = name.rpartition("/versions/")
    add = _gcloud(secret, "versions add {secret}", before='printf %s "$VALUE" | ')
    add += " --data-file=-"
    try:
        state = access.caller.get(SERVICE, f"v1/{name}").get("state")
    except CannotAsk as error:
        return untold(name, asked, str(error))
    except ApiRefused as error:
        if error.status != 404:
            return untold(name, asked, str(error))
        if readable.outcome is Outcome.OK:
            return failed(name, asked, "the secret has no such version", add)
        create = _gcloud(secret, "create {secret}", before='printf %s "$VALUE" | ')
        return failed(name, asked, "there is none of this name", f"{create} --data-file=-")
    if state == "ENABLED":
        return found(name, asked)
    if state == "DISABLED":
        enable = _gcloud(secret, f"versions enable {version} --secret={{secret}}")
        return failed(name, asked, "this version is disabled", enable)
    return failed(name, asked, f"this version is {str(state).lower()}: it can't be read", add)


def _of_this_machine(need: Secret) -> Finding:
    asked = f"can be read here ({need.use})"
    try:
        need.reference.read()
    except SecretError as error:
        return failed(need.resource, asked, str(error))
    return found(need.resource, asked)


def _gcloud(secret: str, words: str, *, before: str = "") -> str:
    _, project, _, short = secret.split("/")
    return f"{before}gcloud secrets {words.format(secret=short)} --project={project}"
