"""Tests of the benchmark runner: rows, goals, alternating measurements and result files."""

import importlib
import json
import sys
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench
from benchmarks import plot
from benchmarks.image_process import ImageProcess
from benchmarks.measure import MissingAnchorError, Row, at_least, at_most, in_turns, within, worst
from tests.support.factories import make_jpeg


@dataclass(frozen=True)
class FakeBenchmark:
    name: str
    rows: list[Row] = field(default_factory=list)
    missing: str = ""

    def run(self):
        if self.missing:
            raise MissingAnchorError(self.missing)
        return self.rows


AS_SMALL = at_most(1.0)


def make_row(name="speed", *, anchor=10.0, ours=5.0, goal=AS_SMALL):
    return Row(name, anchor, ours, "ms", goal)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs benchmarks and returns the exit status and the written rows."""
    results, page = tmp_path / "results.json", tmp_path / "benchmarks.md"
    page.write_text("| `speed` | before |\n\nText.\n")
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(bench, "PAGE", page)
    monkeypatch.setattr(bench, "HISTORY", tmp_path / "history.json")
    monkeypatch.setattr(bench, "PLOT", tmp_path / "benchmarks.svg")

    def run(*benchmarks, names=()):
        monkeypatch.setattr(bench, "BENCHMARKS", benchmarks)
        status = bench.main(names)
        return status, json.loads(results.read_text()) if results.exists() else None

    return run


class TestRow:
    @pytest.mark.parametrize(
        ("ours", "goal", "met"),
        [
            (8.0, at_most(0.8), True),
            (8.1, at_most(0.8), False),
            (8.0, at_least(0.8), True),
            (7.9, at_least(0.8), False),
        ],
    )
    def test_a_goal_is_met_up_to_its_limit(self, ours, goal, met):
        assert make_row(anchor=10.0, ours=ours, goal=goal).met is met

    def test_the_text_of_a_goal_shows_the_direction_of_its_limit(self):
        assert (str(at_most(0.8)), str(at_least(0.25))) == ("≤ 0.80", "≥ 0.25")

    def test_the_worst_row_for_an_upper_limit_is_the_largest(self):
        rows = [make_row("a", ours=5.0), make_row("b", ours=9.0), make_row("c", ours=7.0)]

        assert worst(rows, "speed") == make_row("speed", ours=9.0)

    def test_the_worst_row_for_a_lower_limit_is_the_smallest(self):
        goal = at_least(0.5)
        rows = [make_row("a", ours=5.0, goal=goal), make_row("b", ours=9.0, goal=goal)]

        assert worst(rows, "rate") == make_row("rate", ours=5.0, goal=goal)


class TestTurns:
    def test_the_medians_exclude_the_warm_up(self):
        anchor = iter([1000.0, 3.0, 1.0, 2.0])
        ours = iter([1000.0, 30.0, 10.0, 20.0])

        medians = in_turns(lambda: next(anchor), lambda: next(ours), pairs=3)

        assert medians == (2.0, 20.0)

    def test_the_order_of_the_two_measurements_alternates(self):
        order = []

        in_turns(
            lambda: order.append("anchor") or 1.0,
            lambda: order.append("ours") or 1.0,
            pairs=1,
            warm_up=1,
        )

        assert order == ["ours", "anchor", "anchor", "ours"]


class TestResults:
    def test_a_row_is_written_with_its_ratio_and_its_goal(self, run):
        status, written = run(FakeBenchmark("speed", [make_row()]))

        assert status == 0
        assert written == [
            {
                "name": "speed",
                "anchor": 10.0,
                "ours": 5.0,
                "ratio": 0.5,
                "goal": "≤ 1.00",
                "met": True,
            }
        ]

    def test_the_table_is_not_shortened_on_a_narrow_terminal(self, run, monkeypatch, capsys):
        monkeypatch.setenv("COLUMNS", "60")

        run(FakeBenchmark("speed", [make_row("speed of a name as long as there is one", ours=7.0)]))

        (line,) = [line for line in capsys.readouterr().out.splitlines() if "speed" in line]
        assert line.split("│")[1:-1] == [
            " speed of a name as long as there is one ",
            *("  10 ms ", " 7 ms ", "  0.70 ", " ≤ 1.00 ", " yes "),
        ]

    def test_the_table_of_the_document_is_updated(self, run):
        run(FakeBenchmark("speed", [make_row(ours=12.0), make_row("speed of more")]))

        assert bench.PAGE.read_text() == (
            "| `speed` | 10 ms | 12 ms | 1.20 | ≤ 1.00 | **no** |\n\nText.\n"
        )

    def test_the_explanation_of_a_missed_goal_is_not_replaced(self, run):
        explanation = "| `speed` | the child process | it protects the function |\n"
        bench.PAGE.write_text(bench.PAGE.read_text() + explanation)

        run(FakeBenchmark("speed", [make_row(ours=12.0)]))

        assert bench.PAGE.read_text().endswith(explanation)

    def test_benchmarks_that_did_not_run_keep_their_rows_and_order(self, run):
        speed = FakeBenchmark("speed", [make_row("speed")])
        size = FakeBenchmark("size", [make_row("size"), make_row("size of more")])
        run(speed, size)

        _, written = run(
            FakeBenchmark("speed", [make_row("speed", ours=6.0)]), size, names=["speed"]
        )

        assert [(row["name"], row["ours"]) for row in written] == [
            ("speed", 6.0),
            ("size", 5.0),
            ("size of more", 5.0),
        ]

    def test_the_rows_of_a_removed_benchmark_are_removed(self, run):
        run(FakeBenchmark("old", [make_row("old")]))

        _, written = run(FakeBenchmark("new", [make_row("new")]))

        assert [row["name"] for row in written] == ["new"]

    def test_a_missed_goal_gives_exit_status_1(self, run):
        status, written = run(FakeBenchmark("speed", [make_row(ours=11.0)]))

        assert (status, written[0]["met"]) == (1, False)

    def test_a_missing_anchor_is_reported_and_the_other_benchmarks_run(self, run, capsys):
        status, written = run(
            FakeBenchmark("rate", missing="wrk is not installed. Install it: apt-get install wrk"),
            FakeBenchmark("speed", [make_row()]),
        )

        assert status == 1
        assert [row["name"] for row in written] == ["speed"]
        assert "apt-get install wrk" in capsys.readouterr().err

    def test_an_unknown_name_is_rejected_with_the_list_of_benchmarks(self, run, capsys):
        status, written = run(FakeBenchmark("speed", [make_row()]), names=["sped"])

        assert (status, written) == (2, None)
        assert "speed" in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", bench.BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_the_function_of_every_benchmark_exists(benchmark):
    module = importlib.import_module(f"benchmarks.{benchmark.module}")

    assert callable(getattr(module, benchmark.function))


@pytest.mark.slow
@pytest.mark.parametrize(
    "maker", ["make_our_derivatives_in_a_child", "make_derivatives_by_full_decode"]
)
def test_an_image_process_makes_images_and_reports_their_cost(maker, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(make_jpeg((1600, 1200)))

    with ImageProcess(sys.executable, "-m", "benchmarks.image_makers", maker) as process:
        first, second = process.make(photo), process.make(photo)

    assert first.result_bytes == second.result_bytes > 0
    assert 0 < second.seconds < 60
    assert first.peak_bytes > 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("goal", "met", "missed", "text"),
    [
        (at_most(0.8), (0.1, 0.8), (0.81, 2), "≤ 0.80"),
        (at_least(0.25), (0.25, 3), (0.24, 0), "≥ 0.25"),
        (within(0.05), (0.951, 1, 1.049), (0.94, 1.06), "0.95 – 1.05"),
    ],
)
def test_a_goal_is_met_only_within_its_limits(goal, met, missed, text):
    assert all(goal.is_met_by(ratio) for ratio in met)
    assert not any(goal.is_met_by(ratio) for ratio in missed)
    assert str(goal) == text


def test_the_worst_row_is_the_nearest_to_missing_its_goal_on_either_side():
    def rows(goal, *ratios):
        return [Row("each", 1, ratio, "s", goal) for ratio in ratios]

    assert worst(rows(at_most(1), 0.5, 0.9, 0.7), "all").ratio == 0.9
    assert worst(rows(at_least(1), 1.5, 1.1, 2), "all").ratio == 1.1
    assert worst(rows(within(0.1), 1.03, 0.95, 1.01), "all") == Row(
        "all", 1, 0.95, "s", within(0.1)
    )


class TestPlot:
    def test_a_share_is_at_most_one_if_the_goal_is_met(self):
        assert make_row(ours=5.0, goal=at_most(2.0)).share_of_goal == 0.25
        assert make_row(ours=5.0, goal=at_least(0.25)).share_of_goal == 0.5

    def test_each_run_adds_a_mark_to_each_of_its_rows(self, run, tmp_path):
        rows = [make_row("speed"), make_row("speed of a part")]

        for _ in range(plot.KEPT_RUNS + 3):
            run(FakeBenchmark("speed", rows))

        drawn = ElementTree.fromstring((tmp_path / "benchmarks.svg").read_text())
        marks = drawn.findall("{http://www.w3.org/2000/svg}circle")
        assert len(marks) == plot.KEPT_RUNS
        assert [mark.get("fill") for mark in marks].count("none") == plot.KEPT_RUNS - 1

    def test_a_ratio_far_beyond_its_goal_stays_inside_the_plot(self):
        drawn = ElementTree.fromstring(plot.draw([{"speed": plot.Point(share=90.0, met=False)}]))

        [mark] = drawn.findall("{http://www.w3.org/2000/svg}circle")
        assert float(mark.get("cx")) < float(drawn.get("width"))
