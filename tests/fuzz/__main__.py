"""Every fuzzer in turn, each for a bounded time: `make fuzz`.

Prints how many inputs each tried. One that finds something ends with its traceback and the file
that causes it; that file's content belongs in a test before it is fixed.
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
    "file_names",
    "image_header",
    "image_pixels",
    "search_query",
    "upload_form",
)
_ENDING_SECONDS = 300  # What a fuzzer may take beyond its time to begin and to end.


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
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
    """Whether a target went through its time without a finding."""
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
    told = fuzzing.stdout.decode(errors="replace")
    if fuzzing.returncode:
        print(f"{target}: FINDING\n{told[-4000:]}", flush=True)
        return False
    [runs] = re.findall(r"Done (\d+) runs", told)[-1:] or ["?"]
    print(f"{target}: {runs} inputs in {seconds} s, nothing found", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
