"""An AWS account emulated by Moto in a separate process.

Moto's CloudFormation creates many resources and drops the types that it does not know.
`relieve_templates` lists every change that the templates need for Moto, and so everything that
these tests do not prove.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployment.stacks import FOLDER, ORDER
from deployment.template_files import load_template
from tests.support.local_system import wait_until
from tests.support.programs import free_port, start_program
from tests.support.time_limits import scaled

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
_SECRETS = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret"
# The templates are JSON, and the parser in C reads them in a fraction of the time.
_SERVER = "import yaml, moto.server; yaml.Loader = yaml.CLoader; moto.server.main()"
_DROPPED = re.compile(r"No Moto CloudFormation support for (\S+)")


class MotoAccount:
    """A running Moto server."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def dropped_types(self) -> set[str]:
        """Return the types of resources in the stacks that Moto did not create."""
        return set(_DROPPED.findall(self._log.read_text()))


@contextmanager
def moto_account(folder: Path) -> Iterator[MotoAccount]:
    """Run a Moto server on a free local port."""
    port, log = free_port(), folder / "moto.log"
    environment = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
    with log.open("wb") as output:
        process = start_program(
            [sys.executable, "-c", _SERVER, "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    account = MotoAccount(f"http://127.0.0.1:{port}", log)
    try:
        wait_until(lambda: _answers(account.url), seconds=30)
        _invoke_without_docker(account.url)
        yield account
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=scaled(30)):
            return True
    except OSError:
        return False


def _invoke_without_docker(url: str) -> None:
    """Let functions that are invoked succeed without running them."""
    config = json.dumps({"lambda": {"use_docker": False}}).encode()
    request = urllib.request.Request(f"{url}/moto-api/config", data=config, method="POST")
    with urllib.request.urlopen(request, timeout=scaled(30)):
        pass


def relieve_templates(folder: Path) -> None:
    """Write the five templates into a folder, with the changes that Moto needs."""
    for name in ORDER:
        document = _without_unknown_values(load_template(FOLDER / f"{name}.yaml"))
        resources = document["Resources"]
        for parameter in document["Parameters"].values():
            # Moto finds a number that is not a text in no mapping.
            if isinstance(parameter.get("Default"), int):
                parameter["Default"] = str(parameter["Default"])
        for resource in resources.values():
            properties = resource.get("Properties", {})
            match resource["Type"]:
                case "AWS::EC2::VPC":
                    # Moto does not delete route tables with a stack, so it cannot delete the VPC.
                    resource["DeletionPolicy"] = "Retain"
                case "AWS::RDS::DBInstance":
                    # Moto expects the name of the group here, but a reference gives the group.
                    del properties["DBParameterGroupName"]
        # Moto would run the function in Docker. Its responses to CloudFormation have unit tests.
        resources.pop("Migration", None)
        for resource in resources.values():
            if resource.get("DependsOn") == "Migration":
                del resource["DependsOn"]
        (folder / f"{name}.yaml").write_text(json.dumps(document, default=str))


def _without_unknown_values(value: Any) -> Any:
    """Replace references to secrets by ARNs, because Moto does not create secrets in stacks."""
    match value:
        case {"Fn::GetAtt": ["Database", "MasterUserSecret.SecretArn"]}:
            return f"{_SECRETS}:rds-db"
        case {
            "Ref": "FlaskSecret"
            | "GeminiSecret"
            | "WebDatabaseSecret"
            | "FunctionsDatabaseSecret" as name
        }:
            return f"{_SECRETS}:{name}"
        case dict():
            return {key: _without_unknown_values(item) for key, item in value.items()}
        case list():
            # Moto leaves an empty entry for a statement of a policy that a condition leaves out.
            return [_without_unknown_values(item) for item in value if not _is_optional(item)]
        case _:
            return value


def _is_optional(item: Any) -> bool:
    """Return whether an entry of a list exists only with a condition, which no test uses."""
    match item:
        case {"Fn::If": [_, dict(), {"Ref": "AWS::NoValue"}]}:
            return True
    return False
