"""What must be there before a template is launched, looked at from here and at the launcher.

From here, by ``mqttbeam doctor`` and a launch: as the service account that the workers will be,
with the project and the specification of the launch. At the launcher, which runs as that account
and in the workers' network: what the pipeline has not tried itself when it looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.preflight import (
    Access,
    Finding,
    Folder,
    Job,
    LaunchFolder,
    Need,
    Outcome,
    Secret,
    Specification,
    Subnetwork,
    Subscription,
    Table,
    Topic,
    examine,
)
from pipelines.preflight.examine import Progress
from templates.catalog import TEMPLATES, Template

CALL_SECONDS = 10.0
"""For one call to one of Google's services."""

_SERVICES: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (Topic, ("pubsub",)),
    (Subscription, ("pubsub",)),
    (Table, ("bigquery", "bigquerystorage")),
    (Secret, ("secretmanager",)),
)


def launch_needs(
    template: Template,
    values: Mapping[str, str],
    *,
    project: str | None = None,
    spec: str | None = None,
    staging_location: str | None = None,
    temp_location: str | None = None,
    subnetwork: str | None = None,
    private: bool = False,
) -> tuple[Need, ...]:
    """Returns all that a launch with these parameters needs, the job's project first.

    The other settings are those of a ``Launch``; None is one that isn't given. A subnetwork that
    doesn't say its project is looked for in the job's, and without one it is not looked for.

    Raises:
      ParameterError: a parameter is unknown, missing or wrong.
    """
    options, _ = template.read(values)
    needs = template.needs(options)
    launch: list[Need] = []
    if spec is not None:
        titles = tuple((each.name, each.title) for each in TEMPLATES)
        launch.append(
            Specification(
                name=spec, template=template.name, parameters=tuple(values), titles=titles
            )
        )
    launch += [LaunchFolder(name=each) for each in (staging_location, temp_location) if each]
    if subnetwork is not None and (name := _full_name(subnetwork, project)):
        launch.append(Subnetwork(name=name, private=private))
    job = () if project is None else (Job(project=project, services=_services(needs)),)
    return (*job, *launch, *needs)


def look(
    needs: Sequence[Need],
    *,
    service_account: str | None,
    environment: Mapping[str, str],
    seconds: float,
    in_network: bool,
    progress: Progress = lambda done, of: None,
) -> tuple[str, list[Finding]]:
    """Returns whose rights were asked for, and what was found; see ``examine``."""
    access = Access(
        service_account=service_account,
        environment=environment,
        seconds=min(CALL_SECONDS, seconds),
    )
    found = examine(needs, access, seconds=seconds, in_network=in_network, progress=progress)
    return access.whose, found


def launcher_failures(
    template: Template, options: Any, environment: Mapping[str, str]
) -> list[Finding]:
    """Returns what is wrong for the launcher's own account, beside what the pipeline tried."""
    needs = [
        need for need in template.needs(options) if not (isinstance(need, Folder) and need.tried)
    ]
    _, found = look(
        needs,
        service_account=None,
        environment=environment,
        seconds=float(options.start_timeout_seconds),
        in_network=True,
    )
    return [finding for finding in found if finding.outcome is Outcome.FAILED]


def _full_name(subnetwork: str, project: str | None) -> str | None:
    """Returns ``projects/P/regions/R/subnetworks/S``; None where nobody said the project."""
    _, found, rest = subnetwork.partition("projects/")
    if found:
        return f"projects/{rest}"
    return (
        None
        if project is None
        else f"projects/{project}/{subnetwork[subnetwork.index('regions/') :]}"
    )


def _services(needs: Sequence[Need]) -> tuple[str, ...]:
    used = [
        service
        for need in needs
        for kind, services in _SERVICES
        if isinstance(need, kind)
        for service in services
    ]
    return tuple(dict.fromkeys(used))
