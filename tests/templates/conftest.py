from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from templates.catalog import template_named
from templates.job import Job, translate
from templates.promises import IMAGE, variants_of
from tests.harness.google_fixtures import _apis, apis, rights

__all__ = ["_apis", "apis", "job_of", "rights"]


@pytest.fixture(scope="session")
def job_of() -> Callable[[str, str], Job]:
    """Returns the job of a template's variant; each is translated once."""
    jobs: dict[tuple[str, str], Job] = {}

    def job(name: str, variant: str) -> Job:
        if (name, variant) not in jobs:
            template = template_named(name)
            values: Mapping[str, str] = variants_of(template)[variant]
            jobs[name, variant] = translate(template, values, image=IMAGE)
        return jobs[name, variant]

    return job
