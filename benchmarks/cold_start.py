"""Measure the start of a function: from a new process until it is ready for the first event.

A function is ready when its module is imported and its handler is found. Clients and the database
connection are created at the first event, so neither side includes them. The anchor is importing
only the libraries that the function needs, which are those of its image without the formats.

The time is that of a whole process, from start to end, with a warm page cache and compiled bytecode
as in the images. Both sides include the 20 ms of the interpreter itself.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.measure import ROOT, Row, at_most, in_turns, worst

GOALS = {"thumbnail": at_most(1.3), "annotation": at_most(1.15)}
PAIRS = 9
WARM_UP = 2

_SHARED = (
    "import boto3, PIL.Image, sqlalchemy.orm, pymysql, pydantic_settings, aws_lambda_powertools"
)
LIBRARIES = {"thumbnail": _SHARED, "annotation": f"{_SHARED}; from google import genai"}


def measure() -> Sequence[Row]:
    rows = []
    for function, libraries in LIBRARIES.items():
        handler = f"from lambda_functions.{function}.handler import handler"
        anchor, ours = in_turns(
            partial(_seconds, libraries),
            partial(_seconds, handler),
            pairs=PAIRS,
            warm_up=WARM_UP,
        )
        goal = GOALS[function]
        rows.append(Row(f"cold_start_{function}", anchor * 1000, ours * 1000, "ms", goal))
    return [*rows, worst(rows, "cold_start")]


def _seconds(statement: str) -> float:
    started_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    return time.perf_counter() - started_at
