"""Helpers to start a program from a test."""

import os
import socket


def inherited_environment() -> dict[str, str]:
    """Return the environment variables that any program needs, without settings of the product."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def free_port() -> int:
    """Return a local port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
