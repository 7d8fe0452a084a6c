"""A Dataflow job: its project's services, who may launch it, and what its workers may do."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.api import Api
from pipelines.preflight.needs import Job
from pipelines.preflight.rights import rights
from schemas.finding import Finding, Outcome, failed, found, untold, warned

SERVICES = ("compute", "dataflow")
LAUNCH = ("dataflow.jobs.create",)
WORK = ("dataflow.workItems.lease", "dataflow.workItems.sendMessage", "dataflow.workItems.update")
ACT_AS = ("iam.serviceAccounts.actAs",)

_PROJECTS = "cloudresourcemanager"


def examine_job(need: Job, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether the services are enabled, the caller may launch, the account may submit and work."""
    project = need.project
    path = f"v3/projects/{project}"
    yield _enabled(access.caller, project, (*SERVICES, *need.services))
    yield rights(
        "this account",
        need.resource,
        "lets this account launch jobs",
        LAUNCH,
        lambda: access.caller.permissions(_PROJECTS, path, LAUNCH),
        command=lambda: _bind(project, access.launcher, "dataflow.developer"),
    )
    account = access.service_account
    if account is None:
        yield warned(
            need.resource,
            "runs its workers as an account of their own",
            "no service account was named: they would run as Compute Engine's default one, at"
            " whose rights nobody has looked; give --service-account",
        )
        return
    there = _account(access.caller, account)
    yield there
    if there.outcome is Outcome.FAILED:
        return
    yield rights(
        "this account",
        account,
        "lets this account launch jobs that run as it",
        ACT_AS,
        lambda: access.caller.permissions("iam", _path(account), ACT_AS),
        command=lambda: (
            f"gcloud iam service-accounts add-iam-policy-binding {account}"
            f' --member="{access.launcher}" --role=roles/iam.serviceAccountUser'
        ),
    )
    yield rights(
        account,
        need.resource,
        f"lets {account} work for a job",
        WORK,
        lambda: access.account.permissions(_PROJECTS, path, WORK),
        command=lambda: _bind(project, access.member, "dataflow.worker"),
    )
    # A flex template's launcher is a machine that runs as the workers do, and submits their job.
    yield rights(
        account,
        need.resource,
        f"lets {account} submit the job",
        LAUNCH,
        lambda: access.account.permissions(_PROJECTS, path, LAUNCH),
        command=lambda: _bind(project, access.member, "dataflow.developer"),
    )
    yield rights(
        account,
        account,
        "lets itself submit jobs that run as it",
        ACT_AS,
        lambda: access.account.permissions("iam", _path(account), ACT_AS),
        command=lambda: (
            f"gcloud iam service-accounts add-iam-policy-binding {account}"
            f' --member="{access.member}" --role=roles/iam.serviceAccountUser'
        ),
    )


def _enabled(api: Api, project: str, services: tuple[str, ...]) -> Finding:
    resource, asked = f"projects/{project}", f"has {', '.join(services)} enabled"
    names = [f"projects/{project}/services/{service}.googleapis.com" for service in services]
    try:
        answer = api.get(
            "serviceusage",
            f"v1/projects/{project}/services:batchGet",
            [("names", name) for name in names],
        )
    except (CannotAsk, ApiRefused) as error:
        return untold(resource, asked, str(error))
    disabled = [
        str(each["config"]["name"])
        for each in answer.get("services", ())
        if each.get("state") != "ENABLED"
    ]
    if disabled:
        command = f"gcloud services enable {' '.join(disabled)} --project={project}"
        return failed(resource, asked, f"{', '.join(disabled)}: not enabled", command)
    return found(resource, asked)


def _account(api: Api, account: str) -> Finding:
    asked = "exists"
    try:
        answer = api.get("iam", _path(account))
    except CannotAsk as error:
        return untold(account, asked, str(error))
    except ApiRefused as error:
        if error.status != 404:
            return untold(account, asked, str(error))
        project = _project(account)
        if project is None:
            return failed(
                account, asked, "there is none of this name, which is one of Google's own"
            )
        command = "gcloud iam service-accounts create"
        return failed(
            account,
            asked,
            "there is none of this name",
            f"{command} {account.partition('@')[0]} --project={project}",
        )
    if answer.get("disabled"):
        command = f"gcloud iam service-accounts enable {account}"
        return failed(account, asked, "it is disabled", command)
    return found(account, asked)


def _path(account: str) -> str:
    return f"v1/projects/{_project(account) or '-'}/serviceAccounts/{account}"


def _project(account: str) -> str | None:
    """The project that an account is of, by its address; None for Google's own."""
    name, _, domain = account.partition("@")[2].partition(".")
    if domain == "iam.gserviceaccount.com":
        return name
    if domain.endswith(".iam.gserviceaccount.com"):  # of a domain: PROJECT.DOMAIN
        return f"{domain.removesuffix('.iam.gserviceaccount.com')}:{name}"
    return None


def _bind(project: str, member: str, role: str) -> str:
    return (
        f'gcloud projects add-iam-policy-binding {project} --member="{member}"'
        f" --role=roles/{role} --condition=None"
    )
