"""Our own row of the bench's tables is what is read."""

from pathlib import Path

import pytest

from templates.capacity import UnreadableResults, measured_from

RESULTS = (Path(__file__).parents[3] / "bench" / "RESULTS.md").read_text(encoding="utf-8")
TABLE = """\
<!-- {section} -->
| peer     |         messages a second |    CPU s per 10,000 | lost |
|----------|--------------------------:|--------------------:|-----:|
| script   |   9,861 (8,305 to 11,997) | 0.92 (0.76 to 0.97) |    0 |
| mqttbeam | {rate} | {cpu} |    0 |

| mqttbeam to |   messages a second |
|-------------|--------------------:|
| script      | 6.83 (5.53 to 7.18) |
<!-- /{section} -->
"""


def page(*, rate: str = "66,301 (59,588 to 67,360)", cpu: str = "0.11 (0.11 to 0.11)") -> str:
    telemetry = TABLE.format(section="telemetry", rate=rate, cpu=cpu)
    return telemetry + TABLE.format(section="commands", rate="33,029", cpu="0.23")


def test_medians_are_read() -> None:
    measured = measured_from(page())
    assert measured.telemetry_messages_per_second == 66_301
    assert measured.telemetry_cpu_seconds == 0.11
    assert measured.commands_messages_per_second == 33_029
    assert measured.commands_cpu_seconds == 0.23


def test_the_results_of_this_project_can_be_read() -> None:
    measured = measured_from(RESULTS)
    assert 10_000 < measured.telemetry_messages_per_second < 1_000_000
    assert 0.01 < measured.telemetry_cpu_seconds < 1.0


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ("", "no section 'telemetry'"),
        (page(cpu=""), "section 'telemetry': no 'CPU s per 10,000' of mqttbeam"),
        (page().replace("| mqttbeam |", "| mosquitto |"), "no 'messages a second' of mqttbeam"),
        (page().replace("messages a second", "rate"), "no 'messages a second' of mqttbeam"),
        (page().replace("<!-- commands -->", ""), "no section 'commands'"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_writes_it(results: str, told: str) -> None:
    with pytest.raises(UnreadableResults, match=told) as refused:
        measured_from(results)
    assert "run `" in str(refused.value)


def test_a_figure_that_no_machine_has_is_the_page_s() -> None:
    with pytest.raises(UnreadableResults, match=r"^mine\.md: telemetry_cpu_seconds is 0\.0: "):
        measured_from(page(cpu="0.00"), page="mine.md")
