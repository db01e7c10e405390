"""Run one coverage-guided fuzzer: `python -m tests.fuzz.fuzzer <target> <folder> …`.

The folder receives the corpus and the inputs that cause failures. Further arguments are options of
libFuzzer: https://llvm.org/docs/LibFuzzer.html#options
"""

import importlib
import sys
from functools import partial
from pathlib import Path

import atheris

from tests.fuzz.limits import check_within_limits

# The Python modules that process untrusted bytes. The C code of Pillow and libheif cannot be
# instrumented, and instrumenting more of the application would take a minute.
INSTRUMENTED = [
    "PIL",
    "database.object_keys",
    "database.search",
    "imaging",
    "database.events",
    "web_app.routes.request",
    "web_app.services.uploads",
    "werkzeug.formparser",
    "werkzeug.http",
    "werkzeug.sansio",
]


def main(target_name: str, folder: Path, options: list[str]) -> None:
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        target = importlib.import_module(f"tests.fuzz.{target_name}")
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            f"-artifact_prefix={folder}/",
            "-timeout=25",
            "-rss_limit_mb=1024",
            "-close_fd_mask=0",
            *options,
            str(corpus),
        ],
        partial(check_within_limits, target),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
