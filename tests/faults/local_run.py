"""`python -m tests.faults.local_run`: what `make run` starts, on rougher ground.

The application and the supervisor are as they are. Only addresses and clocks differ: S3 is reached
through a door that the test holds, the database's password lies in a store of secrets, the sweep
comes sooner than once a minute, and machines disagree about the time.
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


class RoughSettings(Settings):
    """The settings of a local run, with what the test put in its way.

    FAULTS_AWS_PORT: where AWS listens, the same after every start.
    FAULTS_S3_URL: the door before S3.
    FAULTS_SECRETS_URL: where Secrets Manager is; DB_SECRET_ARN then reaches the application.
    FAULTS_CLOCKS: by how many seconds the clocks of "web" and "functions" are ahead, as JSON.
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
    """As `python -m local_cloud`."""
    ahead = json.loads(os.environ.get("FAULTS_CLOCKS") or "{}").get("functions")
    if ahead:
        # Lambda tells a function when its time is up; both have their time from one machine.
        skew_clock(float(ahead))
    local.Settings = RoughSettings  # type: ignore[misc]
    sweep_seconds = int(os.environ["FAULTS_SWEEP_SECONDS"])
    schedules = Template.schedules

    def more_often(template: Template) -> list[Schedule]:
        return [dataclasses.replace(s, every_seconds=sweep_seconds) for s in schedules(template)]

    Template.schedules = more_often  # type: ignore[method-assign]
    return local.main()


def skew_clock(ahead_seconds: float) -> None:
    """Have this process believe another time, which goes on as time does."""
    import datetime

    ahead = datetime.timedelta(seconds=ahead_seconds)
    time_machine.travel(datetime.datetime.now(datetime.UTC) + ahead, tick=True).start()


if __name__ == "__main__":
    sys.exit(main())
