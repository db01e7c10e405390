"""Wait for healthy web servers."""

import io

import boto3
import pytest
from botocore.stub import Stubber

from deployment.console import Console
from deployment.errors import DeploymentError
from deployment.health import target_states, wait_until_healthy

ARN = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/web/1"


@pytest.fixture
def load_balancer():
    client = boto3.client(
        "elbv2", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stubber:
        yield client, stubber


def has_targets(stubber, **states):
    stubber.add_response("describe_target_groups", {"TargetGroups": [{"TargetGroupArn": "group"}]})
    targets = [
        {
            "Target": {"Id": name},
            "TargetHealth": {"State": state.partition(":")[0], "Description": state[8:]},
        }
        for name, state in states.items()
    ]
    stubber.add_response("describe_target_health", {"TargetHealthDescriptions": targets})


def test_the_wait_ends_when_every_server_is_healthy(load_balancer):
    client, stubber = load_balancer
    has_targets(stubber)
    has_targets(stubber, one="healthy", two="initial:still starting")
    has_targets(stubber, one="healthy", two="healthy")
    slept = []

    wait_until_healthy(client, ARN, Console(io.StringIO()), slept.append)

    assert len(slept) == 2
    stubber.assert_no_pending_responses()


def test_a_draining_server_is_ignored(load_balancer):
    client, stubber = load_balancer
    has_targets(stubber, old="draining", new="healthy")

    assert target_states(client, ARN) == {"new": "healthy"}


def test_servers_that_stay_unhealthy_are_named_with_their_reason(load_balancer):
    client, stubber = load_balancer
    for _ in range(200):
        has_targets(stubber, one="unhealthy:failed")

    with pytest.raises(DeploymentError, match="one unhealthy") as error:
        wait_until_healthy(client, ARN, Console(io.StringIO()), lambda _seconds: None)

    assert "logs web" in str(error.value)
