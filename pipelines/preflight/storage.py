"""Buckets and the files in them: there, and usable by the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.needs import File, Folder, LaunchFolder
from pipelines.preflight.rights import rights
from schemas.finding import Finding, Outcome, failed, found, untold, warned

SERVICE = "storage"
READ = ("storage.objects.get",)
WRITE = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
"""After a crash files are written again, which deletes what was there; Beam lists what it deletes.
"""


def examine_folder(need: Folder, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether its bucket is there and the account may write to it."""
    bucket = _parts(need.name)[0]
    if bucket is None:
        yield untold(need.name, "can be written to", "it is a folder of the worker's own machine")
        return
    for finding in _bucket(
        access, bucket, "write files, and write them again", WRITE, "objectUser"
    ):
        if need.tried or finding.outcome is not Outcome.FAILED:
            yield finding
            continue
        words = f"{finding.words}: dead letters too large for their sink would be cut"
        yield warned(finding.resource, finding.asked, words, finding.command)


def examine_file(need: File, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether it is there and the account may read it."""
    bucket = _parts(need.name)[0]
    if bucket is None:
        yield untold(need.name, "can be read", "it is a file of the worker's own machine")
        return
    findings = list(_bucket(access, bucket, "read files", READ, "objectViewer"))
    yield from findings
    if findings[0].outcome is Outcome.FAILED:
        return
    yield _existence(
        access,
        need.name,
        object_path(need.name),
        f"gcloud storage cp FILE {need.name}",
    )


def examine_launch_folder(
    need: LaunchFolder, access: Access, *, seconds: float
) -> Iterator[Finding]:
    """Whether its bucket is there and the account may write to it.

    Rights are often granted for these folders alone, which asking the bucket doesn't show: that the
    bucket as a whole is not open is then no failure.
    """
    bucket = _parts(need.name)[0] or ""
    for finding in _bucket(access, bucket, f"write to {need.name}", WRITE, "objectUser"):
        if finding.asked == "exists" or finding.outcome is not Outcome.FAILED:
            yield finding
            continue
        yield untold(finding.resource, finding.asked, finding.words, finding.command)


def object_path(url: str) -> str:
    """Returns where the interface has an object, ``gs://BUCKET/FILE``."""
    bucket, name = _parts(url)
    return f"storage/v1/b/{bucket}/o/{quote(name, safe='')}"


def _bucket(
    access: Access, bucket: str, what: str, wanted: Sequence[str], role: str
) -> Iterator[Finding]:
    url = f"gs://{bucket}"
    usable = rights(
        access.whose,
        url,
        f"lets {access.whose} {what}",
        wanted,
        lambda: _held(access, bucket, wanted),
        command=lambda: (
            f"gcloud storage buckets add-iam-policy-binding {url}"
            f' --member="{access.member}" --role=roles/storage.{role}'
        ),
    )
    there = _existence(
        access, url, f"storage/v1/b/{bucket}", f"gcloud storage buckets create {url}"
    )
    if there.outcome is Outcome.UNKNOWN and usable.outcome is Outcome.OK:
        there = found(url, there.asked)  # what may be used is there, whoever may look at it
    yield there
    if usable.outcome is Outcome.FAILED:
        words = f"{usable.words} on the bucket as a whole; a grant for a part of it is not seen"
        usable = failed(url, usable.asked, words, usable.command)
    if there.outcome is not Outcome.FAILED:
        yield usable


def _held(access: Access, bucket: str, wanted: Sequence[str]) -> set[str]:
    query = [("permissions", each) for each in wanted]
    try:
        answer = access.account.get(SERVICE, f"storage/v1/b/{bucket}/iam/testPermissions", query)
    except ApiRefused as error:
        if access.account.emulated(SERVICE) and error.status in (404, 405, 501):
            return set(wanted)  # it knows no rights: everybody may
        raise
    return set(answer.get("permissions", ()))


def _existence(access: Access, url: str, path: str, command: str) -> Finding:
    asked = "exists"
    try:
        access.caller.get(SERVICE, path)
    except CannotAsk as error:
        return untold(url, asked, str(error))
    except ApiRefused as error:
        if error.status == 404:
            return failed(url, asked, "there is none of this name", command)
        return untold(url, asked, str(error))
    return found(url, asked)


def _parts(url: str) -> tuple[str | None, str]:
    """Returns bucket and object's name; None for what isn't in Cloud Storage."""
    if not url.startswith("gs://"):
        return None, url
    bucket, _, name = url.removeprefix("gs://").partition("/")
    return bucket, name
