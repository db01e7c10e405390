"""Command line of the local cloud: `python -m local_cloud`, which `make run` calls."""

import errno
import os
import signal
import socket
import sys
import time

from local_cloud.console import Console
from local_cloud.setting_values import SettingError
from local_cloud.settings import Settings, use_local_aws
from local_cloud.state_folder import StateFolder, StateFolderInUseError
from local_cloud.supervisor import StartError, Supervisor

# A web server that was just killed keeps its port for a moment.
_MAX_PORT_WAIT_SECONDS = 2


def main() -> int:
    """Run the system until Ctrl-C and return the exit code."""
    os.umask(0o077)  # Only the user can read the files of this process and its children.
    try:
        settings = Settings.read()
        folder = StateFolder(settings.state_dir)
        folder.claim()
        _check_port(settings.host, settings.port)
        use_local_aws(settings)
        folder.write_aws_config(settings.aws_config())
        supervisor = Supervisor(settings, folder, Console())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.request_stop())
        supervisor.run()
    except StateFolderInUseError:
        return _fail(
            f"Another run already uses {settings.state_dir}. Stop it or choose another folder: "
            f"make run LOCAL_STATE_DIR=.local-2 PORT={settings.port + 1}"
        )
    except (SettingError, StartError) as error:
        return _fail(str(error))
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1


def _check_port(host: str, port: int) -> None:
    """Check that the web server can listen on the address.

    Raises:
        SettingError: another program uses the port, or this machine does not have the address.
    """
    ends_at = time.monotonic() + _MAX_PORT_WAIT_SECONDS
    while True:
        try:
            _bind(host, port)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingError(
                    f"Cannot listen on {host}:{port}: {error.strerror}. Change HOST or PORT."
                ) from error
            if time.monotonic() > ends_at:
                raise SettingError(
                    f"Another program uses port {port}. Stop it or choose another port: "
                    f"make run PORT={port + 1}"
                ) from error
        time.sleep(0.1)


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _name, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # The web server also sets this option. It allows a port whose old connections are closing.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


if __name__ == "__main__":
    sys.exit(main())
