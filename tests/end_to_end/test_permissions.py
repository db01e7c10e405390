"""What each part asks of AWS in a whole run is what its role allows, and no more.

The parts run with the very variables that the templates give them, secrets included.
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
from local_cloud.function_process import FunctionProcess, Success
from local_cloud.logs import Log
from local_cloud.settings import REGION, Settings
from local_cloud.supervisor import build_wiring
from local_cloud.template import Template
from tests.support import cloudformation, mysql_server
from tests.support.cloudformation import DATA, FUNCTIONS, PROFILES, WEB, deploy
from tests.support.factories import make_jpeg
from tests.support.iam import ACCOUNT, Call, is_allowed, listed, policies_of, recorded_aws, unused
from tests.support.local_system import wait_until
from tests.support.programs import free_port
from tests.support.scripted_gemini import error, scripted_gemini

# What the platform does in a role's name, where this test cannot see it.
BY_THE_PLATFORM = {
    "ec2:*": "Lambda makes and removes the network interfaces of its functions",
    "xray:*": "Lambda sends their traces",
    "logs:*": "Lambda and Docker send what is logged",
    "sqs:SendMessage": "Lambda keeps what a function gave up on",
    "ecr:*": "Docker pulls the image (see the tests of user data)",
    "elasticloadbalancing:DescribeTargetHealth": "a new server asks whether it is well (as well)",
    "ssm:UpdateInstanceInformation": "Session Manager's agent",
    "ssmmessages:*": "Session Manager's agent",
}
# These know no resource that could be named; https://docs.aws.amazon.com/service-authorization/
WITHOUT_A_RESOURCE = (
    r"ec2:.+|xray:.+|ssmmessages:.+|ssm:UpdateInstanceInformation|ecr:GetAuthorizationToken|"
    "elasticloadbalancing:DescribeTargetHealth"
)
HALVES = ("annotation", "thumbnail")


class DeployedSystem:
    """The functions, the web application and AWS, each part with its own variables and key."""

    def __init__(self, folder, aws_url, settings, names, gemini_url):
        stacks = deploy(PROFILES["no-cert"])
        self.settings, self._names = settings, names
        self._folder, self._gemini_url, self._aws_url = folder, gemini_url, aws_url
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
        self._running = {}
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
        """Run a function for one event, and return its answer."""
        if name not in self._running:
            log = Log(self._folder / f"{name}.log")
            process = FunctionProcess(self._functions[name], self._environment(name), REGION, log)
            self._running[name] = process
            process.start()
        outcome = self._running[name].invoke("request", event)
        assert isinstance(outcome, Success), outcome
        return outcome.response

    def work_on(self, job, events):
        """Run a function for the events that reached its queue, and return its answers."""
        queue = self.client("sqs").get_queue_url(QueueName=job)["QueueUrl"]
        answers = []
        while len(answers) < events:
            received = self.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
            [message] = received["Messages"]
            answers.append(self.invoke(job, json.loads(message["Body"]))["outcome"])
            self.client("sqs").delete_message(
                QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"]
            )
        return answers

    def client(self, service):
        """The operator's own client, which is not written down."""
        return client(service, self.settings)

    def stop(self):
        for process in self._running.values():
            process.stop()
        if self._web is not None:
            processes.stop(self._web)

    def _web_answers(self):
        try:
            return requests.get(f"{self.url}/health", timeout=30).ok
        except requests.ConnectionError:
            return False

    def _environment(self, part):
        return {
            **self.settings.machine_environment(),
            **self._named(self._variables[part]),
            "AWS_ENDPOINT_URL": self._aws_url,
            "AWS_ACCESS_KEY_ID": part,
            "AWS_DEFAULT_REGION": REGION,
            "GOOGLE_GEMINI_BASE_URL": self._gemini_url,
            # In place of the names that this run goes by.
            "DB_NAME": self._names["name"],
            "DB_USER": self._names["user"],
            **({"ALLOWED_HOSTS": "127.0.0.1"} if part == "web" else {}),
        }

    def _named(self, value):
        """With the names of this run in place of those that only AWS would know."""
        written = json.dumps(value)
        for unknown, name in self._names.items():
            written = written.replace(f"<{DATA}.{unknown}>", name)
        written = written.replace(cloudformation.REGION, REGION)
        return json.loads(written.replace(cloudformation.ACCOUNT, ACCOUNT))


def client(service, settings):
    return boto3.client(
        service,
        endpoint_url=settings.aws_url,
        region_name=REGION,
        aws_access_key_id="operator",
        aws_secret_access_key="local",
    )


@pytest.fixture(scope="module")
def local_aws(tmp_path_factory):
    """The local AWS, and where it is."""
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
def run(mysql_server_url, local_aws, tmp_path_factory):
    """A whole run: the system, and what it asked of AWS."""
    with mysql_server.fresh_database(mysql_server_url) as url, scripted_gemini() as gemini:
        database = make_url(url)
        password = {"username": database.username, "password": database.password}
        secrets = {
            "Database.MasterUserSecret.SecretArn": json.dumps(password),
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
            "user": database.username,
        }
        with recorded_aws(local_aws.aws_port) as aws:
            folder = tmp_path_factory.mktemp("deployed")
            system = DeployedSystem(folder, aws.url, local_aws, names, gemini.url)
            try:
                use_everything(system, gemini, create_engine(database))
            finally:
                system.stop()
            yield system, aws


def use_everything(system, gemini, engine):
    """One of each that the system can be asked for."""
    assert system.invoke("migrate", {"action": "migrate"}) == {"outcome": "migrated"}
    system.start_web()
    assert requests.get(f"{system.url}/health/ready", timeout=30).json()["status"] == "ok"

    uploaded = upload(system, make_jpeg((300, 200)), {})
    owner = {"Authorization": f"Bearer {uploaded['owner_token']}"}
    [image] = uploaded["results"]
    [again] = upload(system, make_jpeg((300, 200)), owner)["results"]
    assert (image["outcome"], again["outcome"]) == ("accepted", "duplicate")

    gemini.script.append(error(403, "PERMISSION_DENIED"))  # Failed, so that it can be tried again.
    assert system.work_on("annotation", 1) == ["failed"]
    assert system.work_on("thumbnail", 1) == ["completed"]
    path = f"{system.url}/api/images/{image['id']}"
    assert requests.post(f"{path}/retry", headers=owner, timeout=30).ok
    assert system.work_on("annotation", 1) == ["completed"]

    status = requests.get(f"{system.url}/api/image_status/{image['id']}", timeout=30).json()
    for link in ("thumbnail_url", "original_url"):
        assert requests.get(status[link], timeout=30).ok

    key = "originals/" + status["original_url"].split("?")[0].rpartition("/")[2]
    assert requests.delete(path, headers=owner, timeout=30).ok
    redrive(system, key)  # What comes after a deletion finds neither row nor original.
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM images"))
    assert [system.work_on(job, 1) for job in HALVES] == [["skipped"], ["skipped"]]

    upload(system, make_jpeg((301, 200)), owner)
    upload(system, make_jpeg((302, 200)), owner)
    with engine.begin() as connection:  # One whose deletion stopped half way; one that waits.
        connection.execute(
            text(
                "UPDATE images SET deleting_at = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR"
                " WHERE width = 302"
            )
        )
    time.sleep(0.01)
    swept = system.invoke("sweep", {"idle_seconds": 0})
    assert (swept["requested_again"], swept["deleted"]) == (2, 1)
    engine.dispose()


def upload(system, data, headers):
    response = requests.post(
        f"{system.url}/upload",
        files={"image": ("photo.jpg", data)},
        headers={"Accept": "application/json", **headers},
        timeout=30,
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
            for job in HALVES
        ]
    )


PARTS = ("web", "annotation", "thumbnail", "migrate", "sweep")


@pytest.mark.parametrize("part", PARTS)
def test_all_that_a_part_asks_of_aws_is_allowed_by_its_role(part, run):
    system, aws = run

    refused = {call for call in aws.calls_of(part) if not is_allowed(system.policies[part], call)}

    assert aws.calls_of(part)
    assert refused == set()


@pytest.mark.parametrize("part", PARTS)
def test_a_role_allows_nothing_that_nobody_uses(part, run):
    system, aws = run

    superfluous = {
        (action, resource)
        for action, resource in unused(system.policies[part], aws.calls_of(part))
        if not is_the_platforms(action)
    }

    assert superfluous == set()


def test_nobody_else_asks_for_anything(run):
    _system, aws = run

    assert {call.role for call in aws.calls} == set(PARTS)


def is_the_platforms(action):
    return any(re.fullmatch(pattern.replace("*", ".*"), action) for pattern in BY_THE_PLATFORM)


@pytest.fixture(scope="module")
def statements():
    """All that the roles allow."""
    stacks = deploy(PROFILES["default"])
    return [
        statement
        for name in (FUNCTIONS, WEB)
        for policy in policies_of(stacks[name]).values()
        for statement in policy
        if statement["Effect"] == "Allow"
    ]


def test_what_is_left_to_the_platform_is_in_the_roles(statements):
    allowed = {action for statement in statements for action in statement["Action"]}

    for pattern in BY_THE_PLATFORM:
        assert any(re.fullmatch(pattern.replace("*", ".*"), action) for action in allowed), pattern


def test_only_actions_without_resources_are_allowed_on_all(statements):
    on_all = {
        action
        for statement in statements
        if "*" in listed(statement["Resource"])
        for action in statement["Action"]
    }

    assert on_all
    assert [action for action in on_all if not re.fullmatch(WITHOUT_A_RESOURCE, action)] == []
    assert not any("*" in action for statement in statements for action in statement["Action"])


READ = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::a/originals/*"]}


def test_the_evaluation_itself_allows_refuses_and_finds_what_is_unused():
    call = Call("web", "s3:GetObject", "arn:aws:s3:::a/originals/1.jpg")
    deny = {**copy.deepcopy(READ), "Effect": "Deny"}
    conditional = {**READ, "Condition": {"StringEquals": {"events:source": "image-annotation"}}}

    assert is_allowed([READ], call)
    assert not is_allowed([READ], Call("web", "s3:PutObject", call.resource))
    assert not is_allowed([READ], Call("web", "s3:GetObject", "arn:aws:s3:::b/originals/1.jpg"))
    assert not is_allowed([READ, deny], call)
    assert not is_allowed([conditional], call)
    assert unused([READ], [call]) == set()
    assert unused([READ], []) == {("s3:GetObject", "arn:aws:s3:::a/originals/*")}
