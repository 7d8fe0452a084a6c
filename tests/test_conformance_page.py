"""Every statement that a server must keep is shown by a test that names it."""

from __future__ import annotations

import pytest

from docs import conformance_page
from tests.harness.conformance import conforms


@pytest.mark.parametrize("version", ["v5", "v311"])
def test_every_statement_of_a_server_has_a_test(version: str) -> None:
    shown = conformance_page.shown()[version]
    stated = conformance_page.statements()[version]
    assert [number for number in stated["server"] if not shown.get(number)] == []
    assert set(shown) <= set(stated["server"])


@pytest.mark.parametrize("version", ["v5", "v311"])
def test_no_statement_stands_twice(version: str) -> None:
    kinds = conformance_page.statements()[version].values()
    numbers = [number for each in kinds for number in each]
    assert len(numbers) == len(set(numbers))


def test_a_number_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"v5 has no statement 9\.9\.9-9"):
        conforms(v5="3.1.0-1 9.9.9-9")


def test_the_page_says_what_the_tests_say() -> None:
    ((path, text),) = conformance_page.generated()
    assert path.read_text(encoding="utf-8") == text, "run python -m docs.generate"
    assert text.count("| MQTT-3.1.2-22 |") == 2
