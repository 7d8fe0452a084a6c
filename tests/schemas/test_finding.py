from __future__ import annotations

import pytest

from schemas.finding import Finding, Outcome, failed, found, untold, warned, worst


def test_what_is_not_ok_says_why() -> None:
    with pytest.raises(ValueError, match="topics/t is failed, so say why"):
        Finding(resource="topics/t", asked="exists", outcome=Outcome.FAILED)
    assert found("topics/t", "exists").words == ""


def test_a_failure_counts_for_more_than_a_warning_and_that_for_more_than_the_unknown() -> None:
    fine, unknown = found("t", "exists"), untold("t", "exists", "why")
    warning, failure = warned("t", "exists", "why"), failed("t", "exists", "why")
    assert worst([]) is Outcome.OK
    assert worst([unknown, fine]) is Outcome.UNKNOWN
    assert worst([warning, unknown]) is Outcome.WARNING
    assert worst([fine, failure, warning]) is Outcome.FAILED
