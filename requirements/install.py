"""Install a requirement file with uv, as the Makefile does.

uv installs all packages at once, but does not read the configuration of pip. A network with its own
package index has its address there, so this program passes it on.

After the installation, `make run` removes uv and pip: they take 55 MB, and nothing that runs needs
them. If they are missing, this program first installs them again.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# The options of pip that say where packages come from, and the variables of uv for them.
_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "cert": "SSL_CERT_FILE",
}
_INSTALLER = Path(__file__).with_name("installer.txt")
_MIN_FREE_MEGABYTES = 1000
_HELP = (
    "The packages could not be installed; the reason is above. They need access to a package index "
    "(the configuration of pip is used), and Python 3.11 to 3.14 on Linux (x86-64 or ARM) or on "
    "macOS (ARM). Then run the same command again."
)


def uv_variables(pip_configuration: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for uv, from the output of `pip config list`.

    Variables that are already set stay. pip's own environment variables come before its files.
    """
    found: dict[str, str] = {}
    for line in pip_configuration.splitlines():
        name, _, text = line.partition("=")
        section, _, option = name.rpartition(".")
        variable = _VARIABLES.get(option)
        if variable is None or variable in environment:
            continue
        if variable not in found or section == ":env:":
            separator = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = separator.join(str(ast.literal_eval(text)).split())
    return found


def _restore_installer() -> int:
    """Install pip, which is a part of Python, and uv with it. Return the exit status."""
    python = (sys.executable, "-m")
    restored = subprocess.run([*python, "ensurepip"], stdout=subprocess.DEVNULL, check=False)
    if restored.returncode:
        return restored.returncode
    pip = (*python, "pip", "install", "--quiet", "--disable-pip-version-check")
    return subprocess.run([*pip, "--require-hashes", "--requirement", _INSTALLER]).returncode


def main(arguments: Sequence[str]) -> int:
    """Install a file into the environment of this Python or another one. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--into", type=Path, default=Path(sys.prefix), help="the environment")
    options = parser.parse_args(arguments)

    free_megabytes = shutil.disk_usage(options.into).free // 1_000_000
    if free_megabytes < _MIN_FREE_MEGABYTES:
        print(
            f"Only {free_megabytes} MB of the disk are free. The packages need "
            f"{_MIN_FREE_MEGABYTES} MB. Free some space and run the same command again.",
            file=sys.stderr,
        )
        return 1
    print(f"Installing the packages of {options.file} …", flush=True)
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists() and (status := _restore_installer()):
        print(_HELP, file=sys.stderr)
        return status
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, check=False)
    done = subprocess.run(
        [
            *(uv, "pip", "install", "--quiet"),
            *("--python", options.into / "bin" / "python"),
            # The wanted version may be in any of several indexes, as for pip. The hashes decide.
            *("--index-strategy", "unsafe-best-match", "--require-hashes"),
            *("--requirements", options.file),
        ],
        env={**os.environ, **uv_variables(listed.stdout, os.environ)},
        check=False,
    )
    if done.returncode:
        print(_HELP, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
