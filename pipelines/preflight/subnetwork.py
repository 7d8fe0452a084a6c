"""The workers' subnetwork: there, and with a way to Google for workers without an address."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.errors import ApiRefused, CannotAsk
from pipelines.preflight.access import Access
from pipelines.preflight.needs import Subnetwork
from schemas.finding import Finding, failed, found, untold

SERVICE = "compute"


def examine_subnetwork(need: Subnetwork, access: Access, *, seconds: float) -> Iterator[Finding]:
    """Whether it exists, and has Private Google Access where the workers are private."""
    _, project, _, region, _, name = need.name.split("/")
    there, private = "exists", "has Private Google Access, as its workers have no address"
    where = f"--region={region} --project={project}"
    try:
        answer = access.caller.get(SERVICE, f"compute/v1/{need.name}")
    except CannotAsk as error:
        yield untold(need.name, there, str(error))
        return
    except ApiRefused as error:
        if error.status != 404:
            yield untold(need.name, there, str(error))
            return
        command = (
            f"gcloud compute networks subnets create {name} {where} --network=NETWORK"
            " --range=RANGE --enable-private-ip-google-access"
        )
        yield failed(need.name, there, "there is none of this name", command)
        return
    yield found(need.name, there)
    if not need.private:
        return
    if answer.get("privateIpGoogleAccess"):
        yield found(need.name, private)
        return
    command = (
        f"gcloud compute networks subnets update {name} {where} --enable-private-ip-google-access"
    )
    yield failed(need.name, private, "it has none: the workers reach none of Google's", command)
