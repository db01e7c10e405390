"""`python -m tests.faults.local_run` starts the local system for the fault tests.

The application and the supervisor are unchanged. Only the configuration differs: S3 is reached
through a proxy of the test, the password of the database is in Secrets Manager, the sweep runs more
often than once a minute, and the clocks of the programs differ.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import time_machine

import local_cloud.__main__ as local
from local_cloud.settings import Settings
from local_cloud.template import Function, Schedule, Template

CLOCK_VARIABLE = "FAULTS_CLOCK_IS_AHEAD_SECONDS"
_SKEWED_CLOCK = Path(__file__).with_name("skewed_clock")


class FaultySettings(Settings):
    """The settings of a local run with the variables of the fault tests.

    FAULTS_AWS_PORT: the port of the AWS emulator, the same after every start.
    FAULTS_S3_URL: the address of the proxy in front of S3.
    FAULTS_SECRETS_URL: the address of Secrets Manager; the application then gets DB_SECRET_ARN.
    FAULTS_CLOCKS: JSON with the seconds by which the clocks of "web" and "functions" are ahead.
    """

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Self:
        settings = super().read(environment, folder)
        return dataclasses.replace(settings, aws_port=int(environment["FAULTS_AWS_PORT"]))

    def web_environment(self, flask_secret_key: str) -> dict[str, str]:
        return {**super().web_environment(flask_secret_key), **self._clock("web")}

    def function_environment(self, function: Function) -> dict[str, str]:
        return {**super().function_environment(function), **self._clock("functions")}

    def _aws_environment(self) -> dict[str, str]:
        addresses = {
            "AWS_ENDPOINT_URL_S3": self.environment.get("FAULTS_S3_URL"),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.environment.get("FAULTS_SECRETS_URL"),
        }
        given = {name: url for name, url in addresses.items() if url}
        return {**super()._aws_environment(), **given}

    def _database_environment(self) -> dict[str, str]:
        arn = self.environment.get("DB_SECRET_ARN")
        return {**super()._database_environment(), **({"DB_SECRET_ARN": arn} if arn else {})}

    def _clock(self, machine: str) -> dict[str, str]:
        ahead = json.loads(self.environment.get("FAULTS_CLOCKS") or "{}").get(machine)
        if not ahead:
            return {}
        return {CLOCK_VARIABLE: str(ahead), "PYTHONPATH": str(_SKEWED_CLOCK)}


def main() -> int:
    """Run the local system like `python -m local_cloud`."""
    ahead = json.loads(os.environ.get("FAULTS_CLOCKS") or "{}").get("functions")
    if ahead:
        # The function host runs on the functions' machine, so it has the same clock.
        skew_clock(float(ahead))
    local.Settings = FaultySettings  # type: ignore[misc]
    sweep_seconds = int(os.environ["FAULTS_SWEEP_SECONDS"])
    schedules = Template.schedules

    def shorter_schedules(template: Template) -> list[Schedule]:
        return [dataclasses.replace(s, every_seconds=sweep_seconds) for s in schedules(template)]

    Template.schedules = shorter_schedules  # type: ignore[method-assign]
    return local.main()


def skew_clock(ahead_seconds: float) -> None:
    """Set the wall clock of this process ahead. It continues to run."""
    import datetime

    ahead = datetime.timedelta(seconds=ahead_seconds)
    time_machine.travel(datetime.datetime.now(datetime.UTC) + ahead, tick=True).start()


if __name__ == "__main__":
    sys.exit(main())
