"""Whether the web servers serve, as the load balancer sees it.

It asks each server's /health itself, so its answer holds also where this machine cannot reach it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployment.console import Console
from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

_PATIENCE_SECONDS = 600
_LOOK_SECONDS = 5


def target_states(client: "ElasticLoadBalancingv2Client", load_balancer_arn: str) -> dict[str, str]:
    """`healthy`, or the state and its reason, by instance. Those on their way out are left out."""
    states = {}
    groups = client.describe_target_groups(LoadBalancerArn=load_balancer_arn)["TargetGroups"]
    for group in groups:
        health = client.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
        for target in health["TargetHealthDescriptions"]:
            state = target["TargetHealth"]
            words = [state["State"], state.get("Description", "")]
            if state["State"] != "draining":
                states[target["Target"]["Id"]] = ": ".join(filter(None, words))
    return states


def wait_until_healthy(
    client: "ElasticLoadBalancingv2Client",
    load_balancer_arn: str,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every web server is healthy.

    Raises:
        DeploymentError: they do not become so within ten minutes.
    """
    told: dict[str, str] = {}
    for _ in range(_PATIENCE_SECONDS // _LOOK_SECONDS):
        states = target_states(client, load_balancer_arn)
        for instance, state in states.items():
            if told.get(instance) != state:
                console.step("health", f"{instance} {state}", _tone(state))
        told = states
        if states and all(state == "healthy" for state in states.values()):
            return
        sleep(_LOOK_SECONDS)
    raise DeploymentError(
        "The web servers did not become healthy in ten minutes: "
        f"{'; '.join(f'{i} {s}' for i, s in told.items()) or 'there are none'}.\n"
        "Their own words are in `python -m deployment logs web`; run `up` again to wait longer."
    )


def _tone(state: str) -> str:
    return "good" if state == "healthy" else "dim"
