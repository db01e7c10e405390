"""Tests of how a run of the tests starts programs, limits their time and ends them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import programs, time_limits
from tests.support.time_limits import InvalidFactorError, scaled

ROOT = Path(__file__).parents[2]
IGNORES_CTRL_C = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]

LEAVES_A_PROCESS = """
import subprocess

def test_a_process_is_left():
    subprocess.run(["sh", "-c", "sleep 654 >/dev/null 2>&1 &"], check=True)
    {ending}
"""

ASKS_FOR_CTRL_C = """
import subprocess, sys

def test_a_program_ends_by_ctrl_c():
    program = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "KeyboardInterrupt" in ended.stderr
"""


@pytest.fixture
def run_tests(tmp_path):
    """Return a function that runs the text of a test in a run of its own, with our hooks."""

    def run(text, *, command=()):
        (tmp_path / "test_text.py").write_text(text)
        return subprocess.run(
            [
                *command,
                *(sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest"),
                *("-p", "no:cacheprovider"),
                *("-c", ROOT / "pyproject.toml", "--rootdir", ROOT, tmp_path / "test_text.py"),
                f"--basetemp={tmp_path / 'folders'}",
            ],
            cwd=ROOT,
            env={**os.environ, time_limits.VARIABLE: "1"},
            capture_output=True,
            text=True,
            timeout=scaled(120),
            check=False,
        )

    return run


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pass", "raise KeyboardInterrupt"])
def test_a_process_that_a_test_leaves_is_named_and_fails_the_run(run_tests, ending):
    run = run_tests(LEAVES_A_PROCESS.format(ending=ending))

    assert run.returncode == 1, run.stdout
    assert "a test left this process running" in run.stdout
    assert "sleep 654" in run.stdout


@pytest.mark.slow
def test_a_run_in_the_background_starts_programs_that_ctrl_c_interrupts(run_tests):
    run = run_tests(ASKS_FOR_CTRL_C, command=IGNORES_CTRL_C)

    assert run.returncode == 0, run.stdout


def test_a_port_is_given_once(monkeypatch):
    first = programs.free_port()
    monkeypatch.setattr(programs, "_PORTS", range(first, first + 40))

    assert first not in {programs.free_port() for _ in range(5)}


@pytest.mark.parametrize("text", ["", "fast", "0.5", "nan", "inf", "-2"])
def test_a_time_factor_that_is_no_number_of_at_least_one_is_refused(monkeypatch, text):
    monkeypatch.setenv(time_limits.VARIABLE, text)

    with pytest.raises(InvalidFactorError, match=r"Set it to a number of at least 1"):
        scaled(10)


def test_a_time_limit_grows_with_the_factor(monkeypatch):
    monkeypatch.setenv(time_limits.VARIABLE, "2.5")

    assert scaled(10) == 25
    assert time_limits.scaled_ms(10) == 25_000


@pytest.mark.parametrize(("usual_seconds", "factor"), [(1_000, 1), (0.000_001, 20)])
def test_the_factor_says_how_much_slower_than_usual_the_machine_is(
    monkeypatch, usual_seconds, factor
):
    monkeypatch.setattr(time_limits, "_USUAL_SECONDS", usual_seconds)

    assert time_limits.measure_factor() == factor


def test_the_run_passes_its_factor_to_the_programs_that_it_starts():
    assert 1 <= float(os.environ[time_limits.VARIABLE]) <= 20
