"""Health of the web servers, as the load balancer reports it.

The load balancer sends the health checks, so this also works where the operator's machine cannot
reach the servers.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployment.console import Console
from deployment.errors import DeploymentError

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

_MAX_WAIT_SECONDS = 600
_POLL_SECONDS = 5


def target_states(client: "ElasticLoadBalancingv2Client", load_balancer_arn: str) -> dict[str, str]:
    """Return `healthy`, or the state and its reason, by instance, without draining instances."""
    states = {}
    groups = client.describe_target_groups(LoadBalancerArn=load_balancer_arn)["TargetGroups"]
    for group in groups:
        health = client.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
        for target in health["TargetHealthDescriptions"]:
            state = target["TargetHealth"]
            parts = [state["State"], state.get("Description", "")]
            if state["State"] != "draining":
                states[target["Target"]["Id"]] = ": ".join(filter(None, parts))
    return states


def wait_until_healthy(
    client: "ElasticLoadBalancingv2Client",
    load_balancer_arn: str,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every web server is healthy.

    Raises:
        DeploymentError: a server is still not healthy after ten minutes.
    """
    printed: dict[str, str] = {}
    for _ in range(_MAX_WAIT_SECONDS // _POLL_SECONDS):
        states = target_states(client, load_balancer_arn)
        for instance, state in states.items():
            if printed.get(instance) != state:
                style = "success" if state == "healthy" else "dim"
                console.print_step("health", f"{instance} {state}", style)
        printed = states
        if states and all(state == "healthy" for state in states.values()):
            return
        sleep(_POLL_SECONDS)
    raise DeploymentError(
        "The web servers did not become healthy in ten minutes: "
        f"{'; '.join(f'{i} {s}' for i, s in printed.items()) or 'there are none'}.\n"
        "Read their logs with `python -m deployment logs web`, or run `up` again to wait longer."
    )
