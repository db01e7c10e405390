"""Run the user data of a web server in a separate root folder, with fakes of AWS programs."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.cloudformation import IMAGES, PROFILES, REGION, WEB, deploy
from tests.support.time_limits import scaled

IMAGE = IMAGES[WEB]["WebImageUri"]
REGISTRY = IMAGE.partition("/")[0]
# The fake curl fails at once, so the script never needs its full time.
RUN_SECONDS = 20

# Real programs of Amazon Linux 2023 that the script uses.
PROGRAMS = ("bash", "cat", "tail", "timeout")
FAKES = {
    "usr/bin/dnf": "",
    "usr/bin/docker": """
        case $1 in
          login) [[ $(cat) == the-password ]] ;;
          pull) [[ ! -e /not-there ]] || { echo "manifest for $3 not found" >&2; exit 1; } ;;
          run) : >/running ;;
          container) [[ -e /running ]] ;;
          logs) echo "ValidationError: S3_IMAGE_BUCKET is missing" >&2 ;;
        esac""",
    "usr/bin/systemctl": """
        unit=/etc/systemd/system/${!#}.service
        [[ -e $unit ]] || exit 0
        while IFS= read -r line; do
          if [[ $line == ExecStart=* ]]; then ${line#*=}; fi
        done <"$unit" """,
    "usr/bin/aws": """
        case $1 in
          ecr) echo the-password ;;
          elbv2) [[ ! -e /unhealthy ]] || { echo "Waiter TargetInService failed" >&2; exit 255; } ;;
          logs) [[ $2 != put-log-events ]] || printf '%s' "${@: -1}" >/events ;;
        esac""",
    "usr/bin/curl": """
        if [[ $* == */ready && -e /not-ready ]]; then
          echo '{"status": "unavailable", "checks": {"database": "refused"}}'; exit 22
        fi
        if [[ -e /running && ! -e /sick ]]; then echo '{"status": "ok"}'; exit 0; fi
        echo "curl: (7) Failed to connect to 127.0.0.1 port 8000" >&2
        exit 7""",
    "opt/aws/bin/cfn-signal": "",
}


class Server:
    """A root folder with only the files that the script needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("dev", "proc", "var/log", "var/lib/cloud/data", "etc/systemd/system"):
            (root / folder).mkdir(parents=True)
        (root / "dev/null").touch()
        (root / "dev/console").touch()
        # A t3.small.
        (root / "proc/meminfo").write_text("MemTotal:        1965436 kB\nMemFree:   1000 kB\n")
        (root / "var/lib/cloud/data/instance-id").write_text("i-0123456789abcdef0\n")
        for program in PROGRAMS:
            self._copy(Path(shutil.which(program)))
        for path, body in FAKES.items():
            self.add_fake(path, body)

    def run(self, script: str) -> None:
        """Run a script as root of the server and store its exit status and output."""
        (self.root / "user-data").write_text(script)
        done = subprocess.run(
            [*_CHROOT, self.root, "/usr/bin/bash", "/user-data"],
            env={"PATH": "/usr/bin:/usr/sbin"},
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        self.status, self.output = done.returncode, done.stdout + done.stderr

    def read(self, path: str) -> str:
        """Read a file of the server."""
        return (self.root / path).read_text()

    def logged(self) -> str:
        """Return the message that was written to the log group."""
        [event] = json.loads(self.read("events"))
        assert event["timestamp"] > 1_700_000_000_000
        stream = "--log-stream-name start-i-0123456789abcdef0"
        assert all(stream in call for call in self.calls_of("aws") if call.startswith("logs "))
        return event["message"]

    def calls_of(self, program: str) -> list[str]:
        """Return the arguments of each call of a program, in order."""
        return [
            line.removeprefix(f"{program} ")
            for line in self.read("calls").splitlines()
            if line.startswith(f"{program} ")
        ]

    def _copy(self, program: Path) -> None:
        """Copy a program and the libraries it is linked with."""
        target = self.root / "usr/bin" / program.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, target)
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"/\S+", linked):
            place = self.root / library.removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)

    def add_fake(self, path: str, body: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'#!/usr/bin/bash\necho "${{0##*/}} $*" >>/calls\n{body}\n')
        place.chmod(0o755)


# Only root can use chroot. Another user becomes root of a new user namespace, if the kernel
# allows it.
_CHROOT = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
CANNOT_RUN = (
    "User data runs in a separate root folder. Run the tests as root or allow user namespaces."
)


def can_change_root():
    return shutil.which(_CHROOT[0]) is not None and (
        subprocess.run([*_CHROOT, "/", "true"], capture_output=True).returncode == 0
    )


@pytest.fixture
def server(tmp_path):
    if not can_change_root():
        if os.environ.get("REQUIRE_REAL_PARTS"):
            pytest.fail(CANNOT_RUN)
        pytest.skip(CANNOT_RUN)
    return Server(tmp_path / "server")


@cache
def user_data_of(profile):
    launch = deploy(PROFILES[profile])[WEB].of_type("AWS::EC2::LaunchTemplate")["LaunchTemplate"]
    script = launch["LaunchTemplateData"]["UserData"]
    # Unresolved values are in angle brackets, which a shell would read as redirections.
    return re.sub(r"<(0\d-[\w.-]+)>", r"\1", script)


@pytest.fixture
def user_data():
    return user_data_of("default")


@pytest.mark.parametrize("profile", PROFILES)
def test_user_data_passes_bash_and_shellcheck_in_every_profile(profile, tmp_path):
    script = tmp_path / "user-data.sh"
    script.write_text(user_data_of(profile))
    shellcheck = Path(sys.executable).with_name("shellcheck")

    for command in (["bash", "-n", script], [shellcheck, script]):
        checked = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60))
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_user_data_is_within_the_limit_of_ec2(profile):
    assert len(user_data_of(profile).encode()) < 16 * 1024


def test_a_healthy_server_signals_success(server, user_data):
    server.run(user_data)

    assert server.status == 0, server.read("var/log/image-annotation-start.log")
    [signal] = server.calls_of("cfn-signal")
    assert f"--stack {WEB} --resource WebGroup --success true" in signal
    assert server.calls_of("docker")[:2] == [
        f"login --username AWS --password-stdin {REGISTRY}",
        f"pull --quiet {IMAGE}",
    ]
    health, ready = server.calls_of("curl")
    assert health.endswith("/health")
    assert ready.endswith("/health/ready")
    [waited] = server.calls_of("aws")[1:]
    assert waited.startswith("elbv2 wait target-in-service")
    assert "--targets Id=i-0123456789abcdef0" in waited


def test_the_container_runs_with_minimal_privileges(server, user_data):
    server.run(user_data)

    [run] = [call for call in server.calls_of("docker") if call.startswith("run ")]
    assert run.endswith(f" {IMAGE}")
    assert "--user 10001:10001" in run
    assert "--read-only --mount type=volume,destination=/tmp" in run
    assert "--cap-drop ALL --security-opt no-new-privileges" in run
    assert "--log-driver awslogs --log-opt mode=non-blocking" in run
    assert f"awslogs-region={REGION}" in run
    assert "awslogs-stream=i-0123456789abcdef0" in run


@pytest.mark.parametrize(
    ("total_kib", "megabytes"),
    [(970_224, 647), (1_965_436, 1619), (8_027_448, 7539)],  # 1, 2 and 8 GiB of a server.
)
def test_the_container_leaves_memory_for_the_system(server, user_data, total_kib, megabytes):
    (server.root / "proc/meminfo").write_text(f"MemTotal:       {total_kib} kB\nMemFree: 1 kB\n")

    server.run(user_data)

    [run] = [call for call in server.calls_of("docker") if call.startswith("run ")]
    assert f" --memory {megabytes}m --pids-limit 512 " in run
    assert server.status == 0


def test_the_environment_file_has_no_quoted_values(server, user_data):
    server.run(user_data)

    values = dict(
        line.split("=", 1) for line in server.read("etc/image-annotation.env").splitlines()
    )
    assert values["TRUSTED_PROXY_COUNT"] == "1"
    # Docker does not interpret quotes in this file; they would become part of a value.
    assert not any(value.startswith(('"', "'")) for value in values.values())


def test_an_unhealthy_container_signals_failure_and_logs_its_last_lines(server, user_data):
    (server.root / "sick").touch()

    server.run(user_data)

    assert server.status == 1
    [signal] = server.calls_of("cfn-signal")
    assert signal.endswith("--resource WebGroup --success false")
    assert "Failed to connect" in server.logged()
    assert "S3_IMAGE_BUCKET is missing" in server.logged()
    assert server.read("dev/console").strip() == server.logged().strip()
    # Much less than the time-out of CloudFormation, 15 minutes.
    [health] = server.calls_of("curl")
    retries, delay_seconds = map(int, re.findall(r"--retry(?:-delay)? (\d+)", health))
    assert retries * delay_seconds <= 120


def test_a_server_without_its_database_signals_failure_with_the_name_of_the_check(
    server, user_data
):
    (server.root / "not-ready").touch()

    server.run(user_data)

    assert server.status == 1
    assert '"database": "refused"' in server.logged()


def test_unusual_characters_of_the_log_do_not_break_the_message(server, user_data):
    server.add_fake("usr/bin/dnf", r"""printf 'a "b" \\ \t\x1b[31m caf\xc3\xa9 $HOME\n'; exit 1""")

    server.run(user_data)

    assert 'a "b" \\ [31m caf $HOME' in server.logged()


def test_an_image_that_cannot_be_pulled_signals_failure_and_logs_the_cause(server, user_data):
    (server.root / "not-there").touch()

    server.run(user_data)

    assert server.status == 1
    assert f"manifest for {IMAGE} not found" in server.logged()
    assert "S3_IMAGE_BUCKET" not in server.logged()
    assert server.calls_of("curl") == []


def test_a_server_that_is_unhealthy_at_the_load_balancer_signals_failure(server, user_data):
    (server.root / "unhealthy").touch()

    server.run(user_data)

    assert server.status == 1
    assert "The load balancer does not report this server as healthy." in server.logged()


@pytest.mark.parametrize("program", ["dnf", "systemctl"])
def test_any_failing_command_signals_failure(program, server, user_data):
    server.add_fake(f"usr/bin/{program}", "echo 'No match for argument' >&2; exit 1")

    server.run(user_data)

    assert server.status == 1
    assert "No match for argument" in server.logged()
    assert len(server.calls_of("cfn-signal")) == 1


def test_a_rejected_signal_does_not_fail_a_server_added_by_auto_scaling(server, user_data):
    refused = "echo 'ValidationError: Stack is in CREATE_COMPLETE state' >&2; exit 1"
    server.add_fake("opt/aws/bin/cfn-signal", refused)

    server.run(user_data)

    assert server.status == 0
    assert len(server.calls_of("cfn-signal")) == 1
