"""What must be there before a pipeline starts, found out while somebody is looking.

A pipeline says once what it needs (``needs``). At its start ``require`` waits for it as itself and
raises the first thing that is wrong; ``examine`` looks at all of it at once, as the account that
the workers will be, and returns a ``Finding`` for each thing asked: for a launch and for
``mqttbeam doctor``.
"""

from pipelines.preflight.access import Access
from pipelines.preflight.at_start import require
from pipelines.preflight.examine import examine
from pipelines.preflight.needs import (
    Broker,
    File,
    Folder,
    Job,
    LaunchFolder,
    Need,
    Secret,
    Specification,
    Subnetwork,
    Subscription,
    Table,
    Topic,
    secrets_of,
)
from schemas.finding import Finding, Outcome, worst

__all__ = [
    "Access",
    "Broker",
    "File",
    "Finding",
    "Folder",
    "Job",
    "LaunchFolder",
    "Need",
    "Outcome",
    "Secret",
    "Specification",
    "Subnetwork",
    "Subscription",
    "Table",
    "Topic",
    "examine",
    "require",
    "secrets_of",
    "worst",
]
