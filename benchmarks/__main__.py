"""Run the benchmarks and write the ratios to results.json and docs/benchmarks.md: `make bench`.

history.json keeps the ratios of the last runs, and docs/benchmarks.svg shows them.

ARGS selects benchmarks: `make bench ARGS="derivatives_jpeg cold_start"`. The rows of the others
stay unchanged. The exit status is 1 if a goal is missed or an anchor is missing. An anchor is a
program or library with which a benchmark compares the system.
"""

import importlib
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import plot
from benchmarks.measure import ROOT, MissingAnchorError, Row

RESULTS = Path(__file__).with_name("results.json")
HISTORY = Path(__file__).with_name("history.json")
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
_TABLE_WIDTH = 110


@dataclass(frozen=True)
class Benchmark:
    """A function that measures and returns rows. The names of the rows start with its name."""

    name: str
    module: str
    function: str

    def run(self) -> Sequence[Row]:
        measure: Callable[[], Sequence[Row]]
        measure = getattr(importlib.import_module(f"benchmarks.{self.module}"), self.function)
        return measure()


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("derivatives_jpeg", "images", "derivatives_jpeg"),
    Benchmark("derivatives_png", "images", "derivatives_png"),
    Benchmark("derivatives_webp", "images", "derivatives_webp"),
    Benchmark("derivatives_heic", "images", "derivatives_heic"),
    Benchmark("caption_input", "images", "caption_input"),
    Benchmark("gallery_p95", "web", "measure_gallery_p95"),
    Benchmark("status_poll_cost", "web", "measure_status_poll_cost"),
    Benchmark("gallery_growth", "gallery_growth", "measure"),
    Benchmark("export_csv", "export", "measure_csv"),
    Benchmark("export_zip", "export", "measure_zip"),
    Benchmark("upload_stream", "upload_stream", "measure_upload_stream"),
    Benchmark("pipeline_overhead", "pipeline_overhead", "measure"),
    Benchmark("batch_100", "batch", "measure"),
    Benchmark("simulation_batch_100", "simulation", "measure"),
    Benchmark("upload_to_caption", "local_system", "measure_upload_to_caption"),
    Benchmark("first_start", "local_system", "measure_first_start"),
    Benchmark("second_start", "local_system", "measure_second_start"),
    Benchmark("first_photo", "local_system", "measure_first_photo"),
    Benchmark("memory_at_rest", "local_system", "measure_memory_at_rest"),
    Benchmark("cold_start", "cold_start", "measure"),
    Benchmark("load_tester_rate", "load_tester", "measure_rate"),
    Benchmark("load_tester_truth", "load_tester", "measure_truth"),
)


def main(names: Sequence[str]) -> int:
    console = Console(stderr=True)
    unknown = set(names) - {benchmark.name for benchmark in BENCHMARKS}
    if unknown:
        known = ", ".join(benchmark.name for benchmark in BENCHMARKS)
        console.print(f"Unknown benchmarks: {', '.join(sorted(unknown))}. Use one of: {known}.")
        return 2
    rows: list[Row] = []
    missing: list[str] = []
    for benchmark in BENCHMARKS:
        if names and benchmark.name not in names:
            continue
        started = time.monotonic()
        console.print(f"{benchmark.name} … ", end="")
        try:
            rows += benchmark.run()
        except MissingAnchorError as error:
            missing.append(f"{benchmark.name}: {error}")
        console.print(f"{time.monotonic() - started:.0f} s")
    # Do not shorten the table for a file or a narrow terminal.
    Console(width=max(Console().width, _TABLE_WIDTH)).print(_table(rows))
    for sentence in missing:
        console.print(f"Not measured. {sentence}")
    if not all(row.met for row in rows):
        console.print("docs/benchmarks.md, “Where a goal is missed”, explains the missed goals.")
    _write_results(rows)
    _update_page(rows)
    _update_plot(rows)
    return 0 if not missing and all(row.met for row in rows) else 1


def _table(rows: Sequence[Row]) -> Table:
    table = Table()
    table.add_column("benchmark", no_wrap=True)
    for heading in ("anchor", "ours", "ratio", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("met")
    for row in rows:
        table.add_row(row.name, *_cells(row), "yes" if row.met else "[bold red]no")
    return table


def _cells(row: Row) -> tuple[str, ...]:
    figures = (f"{figure:,.4g} {row.unit}".strip() for figure in (row.anchor, row.ours))
    return (*figures, f"{_rounded_ratio(row):.2f}", str(row.goal))


def _rounded_ratio(row: Row) -> float:
    return round(row.ratio, 3)


def _write_results(rows: Sequence[Row]) -> None:
    """Replace the measured rows in results.json. Keep a fixed order, which makes diffs small."""
    known = (
        {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    )
    for row in rows:
        known[row.name] = {
            "name": row.name,
            "anchor": float(f"{row.anchor:.4g}"),
            "ours": float(f"{row.ours:.4g}"),
            "ratio": _rounded_ratio(row),
            "goal": str(row.goal),
            "met": row.met,
        }
    order = [benchmark.name for benchmark in BENCHMARKS]
    kept = [row for name, row in known.items() if _benchmark_of(name) is not None]
    kept.sort(key=lambda row: order.index(_benchmark_of(row["name"]) or ""))
    RESULTS.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def _update_page(rows: Sequence[Row]) -> None:
    """Replace the measured rows in the table of docs/benchmarks.md."""
    text = PAGE.read_text()
    for row in rows:
        cells = (f"`{row.name}`", *_cells(row), "yes" if row.met else "**no**")
        beginning = re.escape(f"| {cells[0]} |")
        # Only the first row: the second table explains missed goals under the same names.
        text = re.sub(f"(?m)^{beginning}.*$", f"| {' | '.join(cells)} |", text, count=1)
    PAGE.write_text(text)


def _update_plot(rows: Sequence[Row]) -> None:
    """Add this run to history.json, and draw the last runs. Parts of a row are left out."""
    runs = json.loads(HISTORY.read_text()) if HISTORY.exists() else []
    shares = {
        row.name: {"share": round(row.share_of_goal, 3), "met": row.met}
        for row in rows
        if " " not in row.name
    }
    runs = [*runs, shares][-plot.KEPT_RUNS :]
    HISTORY.write_text(json.dumps(runs, indent=1) + "\n")
    PLOT.write_text(
        plot.draw([{name: plot.Point(**point) for name, point in run.items()} for run in runs])
    )


def _benchmark_of(row_name: str) -> str | None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    return max((name for name in names if row_name.startswith(name)), key=len, default=None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
