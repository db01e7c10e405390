"""How long a function takes from a bare interpreter to ready for its first event.

Ready is what AWS's runtime client waits for: the module imported, its handler found. Clients and
the connection to the database are made at the first event, on either side: an import that connects
could not be tested, and a library alone makes none either.

Measured is a whole process, from its start to its end, with the page cache warm and the bytecode
compiled, as the images have it. The bare interpreter's 20 ms are left in on both sides.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.measure import ROOT, Row, at_most, in_turns, worst

GOAL = at_most(1.25)
PAIRS = 9
WARM_UP = 2

# The libraries that each function cannot do without.
LIBRARIES = {
    "thumbnail": "import boto3, PIL.Image, sqlalchemy",
    "annotation": "import boto3, PIL.Image, sqlalchemy; from google import genai",
}


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
        rows.append(Row(f"cold_import_{function}", anchor * 1000, ours * 1000, "ms", GOAL))
    return [*rows, worst(rows, "cold_import")]


def _seconds(statement: str) -> float:
    began_at = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    return time.perf_counter() - began_at
