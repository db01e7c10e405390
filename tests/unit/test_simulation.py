"""Check the simulation of larger environments."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import simulation
from benchmarks.simulation import FLEETS, simulate, simulate_batch
from deployment import service_times

pytestmark = pytest.mark.slow

RECORD = Path(__file__).parents[2] / "docs" / "decisions" / "0078-scale.md"


def test_the_decision_record_has_the_table_of_the_simulation():
    assert simulation.report() in RECORD.read_text()


def test_a_fleet_that_is_large_enough_captions_what_arrives():
    outcome = simulate(replace(FLEETS[0], uploads_per_second=2), seconds=300)

    assert outcome.captioned > 0.97 * outcome.arrived
    assert outcome.slowest_part(FLEETS[0], 300)[1] < 0.5


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"web_cores": 1, "web_seconds": 1.0}, "web servers"),
        ({"annotations": 1}, "annotation functions"),
        ({"thumbnails": 1, "uploads_per_second": 5}, "thumbnail functions"),
        ({"requests_per_minute": 10}, "quota of Gemini"),
        ({"transactions_per_second": 5}, "database"),
    ],
)
def test_the_part_that_is_too_small_is_found(change, part):
    fleet = replace(FLEETS[0], uploads_per_second=2, annotations=1_000)
    fleet = replace(fleet, **change)

    outcome = simulate(fleet, seconds=200)

    found, share = outcome.slowest_part(fleet, 200)
    assert found == part
    assert share > 0.9
    assert outcome.captioned < 0.9 * outcome.arrived or part == "thumbnail functions"


def test_a_batch_takes_the_processor_time_of_its_photos():
    seconds = sum(
        (
            service_times.WEB,
            service_times.STORAGE,
            service_times.ANNOTATION,
            service_times.THUMBNAIL,
            service_times.CAPTIONER,
            service_times.OTHER,
            service_times.CLIENT,
        )
    )

    # Both processors are busy, but not quite until the end.
    assert 1 <= simulate_batch(processors=2, photos=100) / (100 * seconds / 2) < 1.1
