from dataclasses import replace
from pathlib import Path

from bench.report import spread, table, throughput, write
from bench.throughput import Throughput


def _figure(peer: str, rate: float) -> Throughput:
    return Throughput(
        peer=peer,
        messages=10,
        messages_a_second=rate,
        cpu_seconds=1.0,
        longest_pause_seconds=0.1,
        lost=0,
        duplicates=0,
    )


def test_a_ratio_is_taken_within_a_round() -> None:
    rounds = [
        [_figure("ours", 30), _figure("other", 10)],
        [_figure("ours", 20), _figure("other", 20)],
    ]
    assert "| other   | 2.00 (1.00 to 3.00) |" in throughput(rounds)


def test_the_ceiling_has_a_ratio_of_rates_and_none_of_cost() -> None:
    alone = replace(_figure("broker alone", 40), cpu_seconds=None)
    text = throughput([[_figure("ours", 30), alone]])
    assert "| broker alone |              0.75 |               |" in text
    assert "no peer" in text


def test_a_spread_names_median_least_and_most() -> None:
    assert spread([3, 1, 2], "{:.0f}") == "2 (1 to 3)"


def test_a_table_is_padded_to_its_widest_cell() -> None:
    assert table(["a", "b"], [["xxx", "1"]]).splitlines() == [
        "| a   | b |",
        "|-----|--:|",
        "| xxx | 1 |",
    ]


def test_writing_a_section_leaves_all_others_and_what_people_wrote(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    write("telemetry", "first", path=path)
    path.write_text(path.read_text() + "\nwritten by hand\n")
    write("soak", "memory", path=path)
    write("telemetry", "second", path=path)
    text = path.read_text()
    assert "first" not in text
    assert [text.index(part) for part in ("second", "memory", "written by hand")] == sorted(
        text.index(part) for part in ("second", "memory", "written by hand")
    )
