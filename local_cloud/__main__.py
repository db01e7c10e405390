"""`python -m local_cloud`, which `make run` calls."""

import errno
import signal
import socket
import sys
import time

from local_cloud.console import Console
from local_cloud.settings import SettingError, Settings, become_local
from local_cloud.state_folder import (
    StateFolder,
    StateFolderInUseError,
    StateFolderUnusableError,
)
from local_cloud.supervisor import StartError, Supervisor

# The web server of a run that was just killed holds its port for a moment.
_PORT_PATIENCE_SECONDS = 2


class PortTakenError(Exception):
    """Another program listens on the port."""


def main() -> int:
    """Run the system until Ctrl-C. Returns the exit code."""
    try:
        settings = Settings.read()
        folder = StateFolder(settings.state_dir)
        folder.claim()
        _check_port(settings.host, settings.port)
        become_local(settings)
        supervisor = Supervisor(settings, folder, Console())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.request_stop())
        supervisor.run()
    except StateFolderInUseError:
        return _complain(
            f"Another run already uses {settings.state_dir}. Stop it, or choose another folder: "
            f"make run LOCAL_STATE_DIR=.local-2 PORT={settings.port + 1}"
        )
    except PortTakenError:
        return _complain(
            f"Port {settings.port} is taken by another program. Stop it, or choose another: "
            f"make run PORT={settings.port + 1}"
        )
    except (SettingError, StartError, StateFolderUnusableError) as error:
        return _complain(str(error))
    return 0


def _complain(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)
    return 1


def _check_port(host: str, port: int) -> None:
    """Raises PortTakenError, or SettingError when the host is not one of this machine."""
    ends_at = time.monotonic() + _PORT_PATIENCE_SECONDS
    while True:
        try:
            _bind(host, port)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
            if time.monotonic() > ends_at:
                raise PortTakenError from error
        time.sleep(0.1)


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the web server does, so that connections that are just ending do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


if __name__ == "__main__":
    sys.exit(main())
