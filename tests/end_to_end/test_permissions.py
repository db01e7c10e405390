"""Tests that each role allows exactly the calls to AWS that its program makes in a whole run.

The programs run with the variables that the templates give them, including the secrets.
"""

import copy
import json
import re
import time

import boto3
import pytest
import requests
from sqlalchemy import create_engine, make_url, text

from local_cloud import processes
from local_cloud.function_process import FunctionProcess
from local_cloud.logs import Log
from local_cloud.runtime_api import Failure, Success
from local_cloud.settings import REGION, Settings
from local_cloud.supervisor import build_wiring
from local_cloud.template import Template
from tests.support import cloudformation, mysql_server
from tests.support.cloudformation import DATA, FUNCTIONS, PROFILES, WEB, deploy
from tests.support.factories import make_jpeg
from tests.support.iam import (
    ACCOUNT,
    Call,
    as_list,
    is_allowed,
    policies_of,
    recording_proxy,
    unused_permissions,
)
from tests.support.local_system import wait_until
from tests.support.programs import free_port
from tests.support.scripted_gemini import error, scripted_gemini
from tests.support.time_limits import scaled

# Calls that AWS itself makes with a role, so that they do not appear in this test.
PLATFORM_ACTIONS = {
    "ec2:*": "Lambda creates and deletes the network interfaces of its functions",
    "xray:*": "Lambda sends their traces",
    "logs:*": "Lambda and Docker send the logs",
    "sqs:SendMessage": "Lambda sends the events of failed invocations to the dead-letter queue",
    "ecr:*": "Docker pulls the image (see the tests of user data)",
    "elasticloadbalancing:DescribeTargetHealth": "a new server checks its health (see there too)",
    "ssm:UpdateInstanceInformation": "Session Manager's agent",
    "ssmmessages:*": "Session Manager's agent",
}
# These actions do not support resources; https://docs.aws.amazon.com/service-authorization/
ACTIONS_WITHOUT_RESOURCE = (
    r"ec2:.+|xray:.+|ssmmessages:.+|ssm:UpdateInstanceInformation|ecr:GetAuthorizationToken|"
    "elasticloadbalancing:DescribeTargetHealth"
)
JOBS = ("annotation", "thumbnail")
PROGRAMS = ("web", *JOBS, "migrate", "sweep")
MAX_ATTEMPTS = 3


class DeployedSystem:
    """The functions, the web application and AWS.

    Each program has its own variables and reaches AWS through its own proxy.
    """

    def __init__(self, folder, aws_urls, settings, names, gemini_url):
        stacks = deploy(PROFILES["no-cert"])
        self.settings, self._names = settings, names
        self._folder, self._gemini_url, self._aws_urls = folder, gemini_url, aws_urls
        self.policies = {
            role.removesuffix("Role").lower(): self._named(statements)
            for stack in (stacks[FUNCTIONS], stacks[WEB])
            for role, statements in policies_of(stack).items()
        }
        self._variables = {
            function.removesuffix("Function").lower(): properties["Environment"]["Variables"]
            for function, properties in stacks[FUNCTIONS].of_type("AWS::Lambda::Function").items()
        }
        launch = stacks[WEB].of_type("AWS::EC2::LaunchTemplate")["LaunchTemplate"]
        script = launch["LaunchTemplateData"]["UserData"]
        settings_file = re.search(r"image-annotation.env <<'END'\n(.*?)\nEND\n", script, re.S)[1]
        self._variables["web"] = dict(line.split("=", 1) for line in settings_file.splitlines())
        self._functions = {
            function.name: function for function in Template.read({}).functions.values()
        }
        self._processes = {}
        self._web = None

    def start_web(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = ["-m", "gunicorn", "--config", "web_app/gunicorn.conf.py", "--workers", "1"]
        log = Log(self._folder / "web.log")
        self._web = processes.spawn(
            [*command, "--bind", f"127.0.0.1:{port}", "web_app.wsgi:app"],
            self._environment("web"),
            log,
        )
        wait_until(lambda: self._web_answers() or self._web.poll() is not None, seconds=60)
        assert self._web.poll() is None, log.tail()

    def invoke(self, name, event):
        """Run a function for one event, and return its response.

        Like Lambda, run it again after an error that can pass, such as a slow disk of the emulator.
        """
        if name not in self._processes:
            log = Log(self._folder / f"{name}.log")
            process = FunctionProcess(self._functions[name], self._environment(name), log)
            self._processes[name] = process
            process.start()
        for _ in range(MAX_ATTEMPTS):
            outcome = self._processes[name].invoke("request", event)
            if not (isinstance(outcome, Failure) and outcome.error_type == "TransientError"):
                break
        assert isinstance(outcome, Success), outcome
        return outcome.response

    def process_events(self, job, count):
        """Run a function for the next events in its queue, and return the outcomes."""
        queue = self.client("sqs").get_queue_url(QueueName=job)["QueueUrl"]
        outcomes = []
        while len(outcomes) < count:
            received = self.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
            [message] = received["Messages"]
            outcomes.append(self.invoke(job, json.loads(message["Body"]))["outcome"])
            self.client("sqs").delete_message(
                QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"]
            )
        return outcomes

    def client(self, service):
        """Return a client for the test itself. Its calls are not recorded."""
        return client(service, self.settings)

    def stop(self):
        for process in self._processes.values():
            process.stop()
        if self._web is not None:
            processes.stop(self._web)

    def _web_answers(self):
        try:
            return requests.get(f"{self.url}/health", timeout=scaled(30)).ok
        except requests.ConnectionError:
            return False

    def _environment(self, part):
        return {
            **self.settings.machine_environment(),
            **self._named(self._variables[part]),
            "AWS_ENDPOINT_URL": self._aws_urls[part],
            "AWS_DEFAULT_REGION": REGION,
            "GOOGLE_GEMINI_BASE_URL": self._gemini_url,
            # The names in this run replace those of the templates.
            "DB_NAME": self._names["name"],
            **({"ALLOWED_HOSTS": "127.0.0.1"} if part == "web" else {}),
        }

    def secret_arn(self, place):
        """Return the ARN of a secret by its place in the templates."""
        return self._names[place]

    def _named(self, value):
        """Replace the placeholders for values that only AWS knows by the names of this run."""
        encoded = json.dumps(value)
        for placeholder, name in self._names.items():
            encoded = encoded.replace(f"<{DATA}.{placeholder}>", name)
        encoded = encoded.replace(cloudformation.REGION, REGION)
        return json.loads(encoded.replace(cloudformation.ACCOUNT, ACCOUNT))


def client(service, settings):
    return boto3.client(
        service,
        endpoint_url=settings.aws_url,
        region_name=REGION,
        aws_access_key_id=settings.access_key.id,
        aws_secret_access_key=settings.access_key.secret,
    )


@pytest.fixture(scope="module")
def local_aws(tmp_path_factory):
    """Run the local AWS emulator and return its settings."""
    folder = tmp_path_factory.mktemp("aws")
    settings = Settings.read({"PATH": "/usr/bin", "GEMINI_API_KEY": "unused"}, folder)
    template = Template.read(
        {
            "ImageBucketName": settings.image_bucket,
            "ThumbnailBucketName": settings.thumbnail_bucket,
        }
    )
    arguments = ["--port", str(settings.aws_port), "--folder", str(folder)]
    arguments += ["--wiring", build_wiring(template, settings).to_json()]
    process = processes.spawn(
        ["-m", "local_cloud.aws_server", *arguments],
        settings.aws_server_environment(folder),
        Log(folder / "aws.log"),
    )
    wait_until(lambda: processes.listens(settings.aws_port), seconds=30)
    yield settings
    processes.stop(process)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Start a server with an empty database, and return the URL of its master user."""
    if mysql_server.find_mysqld() is None:
        pytest.skip(mysql_server.MYSQL_MISSING)
    with mysql_server.own_mysql(tmp_path_factory.mktemp("mysql")) as server:
        url = make_url(mysql_server.create_database(server.url))
        server.execute_as_root("CREATE USER master@'%' IDENTIFIED BY 'of-the-master'")
        server.execute_as_root("GRANT ALL ON *.* TO master@'%' WITH GRANT OPTION")
        yield url.set(username="master", password="of-the-master")


@pytest.fixture(scope="module")
def run(database, local_aws, tmp_path_factory):
    """Use the whole system once, and return it and the recorded calls."""
    with scripted_gemini() as gemini:
        secrets = {
            "Database.MasterUserSecret.SecretArn": secret_of_user("master", "of-the-master"),
            "WebDatabaseSecret": secret_of_user("web", "of-the-web-servers"),
            "FunctionsDatabaseSecret": secret_of_user("functions", "of-the-functions"),
            "FlaskSecret": "f" * 64,
            "GeminiSecret": "the-key",
        }
        manager = client("secretsmanager", local_aws)
        names = {
            **{
                place: manager.create_secret(Name=place, SecretString=value)["ARN"]
                for place, value in secrets.items()
            },
            "Database.Endpoint.Address": database.host,
            "Database.Endpoint.Port": str(database.port),
            "ImageBucket": local_aws.image_bucket,
            "ThumbnailBucket": local_aws.thumbnail_bucket,
            "name": database.database,
        }
        with recording_proxy(local_aws.aws_port, PROGRAMS) as proxy:
            folder = tmp_path_factory.mktemp("deployed")
            system = DeployedSystem(folder, proxy.urls, local_aws, names, gemini.url)
            try:
                use_everything(system, gemini, create_engine(database))
            finally:
                system.stop()
            yield system, proxy


def secret_of_user(name, password):
    return json.dumps({"username": name, "password": password})


def use_everything(system, gemini, engine):
    """Use each operation of the system once."""
    assert system.invoke("migrate", {"action": "migrate"}) == {"outcome": "migrated"}
    system.start_web()
    assert requests.get(f"{system.url}/health/ready", timeout=scaled(30)).json()["status"] == "ok"

    uploaded = upload(system, make_jpeg((300, 200)), {})
    owner = {"Authorization": f"Bearer {uploaded['owner_token']}"}
    [image] = uploaded["results"]
    [again] = upload(system, make_jpeg((300, 200)), owner)["results"]
    assert (image["outcome"], again["outcome"]) == ("accepted", "duplicate")

    gemini.script.append(error(403, "PERMISSION_DENIED"))  # Only a failed job can be retried.
    assert system.process_events("annotation", 1) == ["failed"]
    assert system.process_events("thumbnail", 1) == ["completed"]
    path = f"{system.url}/api/images/{image['id']}"
    assert requests.post(f"{path}/retry", headers=owner, timeout=scaled(30)).ok
    assert system.process_events("annotation", 1) == ["completed"]

    status = requests.get(
        f"{system.url}/api/image_status/{image['id']}", headers=owner, timeout=scaled(30)
    ).json()
    for link in ("thumbnail_url", "preview_url", "original_url"):
        assert requests.get(status[link], timeout=scaled(30)).ok

    key = "originals/" + status["original_url"].split("?")[0].rpartition("/")[2]
    for place in ("images", "bin"):
        path = f"{system.url}/api/{place}/{image['id']}"
        assert requests.delete(path, headers=owner, timeout=scaled(30)).ok
    redrive(system, key)  # After the deletion, its events find neither a row nor an original.
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM images"))
    assert [system.process_events(job, 1) for job in JOBS] == [["skipped"], ["skipped"]]

    upload(system, make_jpeg((301, 200)), owner)
    upload(system, make_jpeg((302, 200)), owner)
    with engine.begin() as connection:  # The sweep finds one interrupted deletion and one image.
        connection.execute(
            text(
                "UPDATE images SET deleting_at = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR"
                " WHERE width = 302"
            )
        )
    time.sleep(0.01)
    counts = system.invoke("sweep", {"idle_seconds": 0})
    assert (counts["requested_again"], counts["deleted"]) == (2, 1)
    engine.dispose()


def upload(system, data, headers):
    response = requests.post(
        f"{system.url}/upload",
        files={"image": ("photo.jpg", data)},
        headers={"Accept": "application/json", **headers},
        timeout=scaled(30),
    )
    assert response.ok, response.text
    return response.json()


def redrive(system, key):
    detail = {"bucket": {"name": system.settings.image_bucket}, "object": {"key": key}}
    system.client("events").put_events(
        Entries=[
            {
                "Source": "image-annotation",
                "DetailType": f"{job.title()} Requested",
                "Detail": json.dumps({**detail, "redrive": True}),
            }
            for job in JOBS
        ]
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_role_allows_every_call_of_its_program(program, run):
    system, proxy = run
    calls = proxy.calls_of(program)

    denied = {call for call in calls if not is_allowed(system.policies[program], call)}

    assert calls
    assert denied == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_role_allows_nothing_that_its_program_does_not_use(program, run):
    system, proxy = run

    unused = {
        (action, resource)
        for action, resource in unused_permissions(
            system.policies[program], proxy.calls_of(program)
        )
        if not is_platform_action(action)
    }

    assert unused == set()


def test_only_the_migration_may_read_the_password_of_the_master_user(run):
    system, _ = run
    master = system.secret_arn("Database.MasterUserSecret.SecretArn")
    readers = {
        program
        for program in PROGRAMS
        if is_allowed(
            system.policies[program], Call(program, "secretsmanager:GetSecretValue", master)
        )
    }

    assert readers == {"migrate"}


def is_platform_action(action):
    return any(re.fullmatch(pattern.replace("*", ".*"), action) for pattern in PLATFORM_ACTIONS)


@pytest.fixture(scope="module")
def statements():
    """Return the statements of all roles that allow something."""
    stacks = deploy(PROFILES["default"])
    return [
        statement
        for name in (FUNCTIONS, WEB)
        for policy in policies_of(stacks[name]).values()
        for statement in policy
        if statement["Effect"] == "Allow"
    ]


def test_the_roles_allow_every_platform_action(statements):
    allowed = {action for statement in statements for action in statement["Action"]}

    for pattern in PLATFORM_ACTIONS:
        assert any(re.fullmatch(pattern.replace("*", ".*"), action) for action in allowed), pattern


def test_only_actions_without_resources_are_allowed_on_all_resources(statements):
    on_all = {
        action
        for statement in statements
        if "*" in as_list(statement["Resource"])
        for action in statement["Action"]
    }

    assert on_all
    assert [action for action in on_all if not re.fullmatch(ACTIONS_WITHOUT_RESOURCE, action)] == []
    assert not any("*" in action for statement in statements for action in statement["Action"])


READ = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::a/originals/*"]}


def test_the_evaluation_allows_denies_and_finds_unused_permissions():
    call = Call("web", "s3:GetObject", "arn:aws:s3:::a/originals/1.jpg")
    deny = {**copy.deepcopy(READ), "Effect": "Deny"}
    conditional = {**READ, "Condition": {"StringEquals": {"events:source": "image-annotation"}}}

    assert is_allowed([READ], call)
    assert not is_allowed([READ], Call("web", "s3:PutObject", call.resource))
    assert not is_allowed([READ], Call("web", "s3:GetObject", "arn:aws:s3:::b/originals/1.jpg"))
    assert not is_allowed([READ, deny], call)
    assert not is_allowed([conditional], call)
    assert unused_permissions([READ], [call]) == set()
    assert unused_permissions([READ], []) == {("s3:GetObject", "arn:aws:s3:::a/originals/*")}
