"""What it takes to start a program beside the tests."""

import os
import socket


def inherited_environment() -> dict[str, str]:
    """What any program needs of this one's environment; settings of the product's stay out."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
