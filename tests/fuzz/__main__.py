"""Run all fuzzers one after the other, each for a limited time: `make fuzz`.

Prints how many inputs each fuzzer tried. A fuzzer with a finding prints the traceback and the path
of the file that causes it. Add the content of this file to a test before you fix the defect.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = (
    "cursor",
    "events",
    "file_description",
    "file_names",
    "image_header",
    "image_pixels",
    "search_query",
    "upload_form",
)
_ENDING_SECONDS = 300  # Time for a fuzzer to start and to stop.


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="time for each target")
    parser.add_argument("--findings", type=Path, default=HERE.parents[1] / ".fuzz")
    parser.add_argument("targets", nargs="*", default=TARGETS, choices=[*TARGETS, []])
    arguments = parser.parse_args()
    findings = [
        target
        for target in arguments.targets
        if not _fuzz(target, arguments.findings / target, arguments.seconds)
    ]
    print(f"\nFindings: {', '.join(findings)}." if findings else "\nNo findings.")
    print(
        "Native decoders (libjpeg, libwebp, libheif, …) are not instrumented: see image_pixels.py."
    )
    return bool(findings)


def _fuzz(target: str, folder: Path, seconds: int) -> bool:
    """Fuzz a target and return whether there was no finding."""
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", target, str(folder)]
    try:
        fuzzing = subprocess.run(
            [*command, f"-max_total_time={seconds}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + _ENDING_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        print(f"{target}: HANGS\n{(error.stdout or b'')[-1000:].decode(errors='replace')}")
        return False
    output = fuzzing.stdout.decode(errors="replace")
    if fuzzing.returncode:
        print(f"{target}: FINDING\n{output[-4000:]}", flush=True)
        return False
    [runs] = re.findall(r"Done (\d+) runs", output)[-1:] or ["?"]
    print(f"{target}: {runs} inputs in {seconds} s, no findings", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
