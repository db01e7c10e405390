"""From nothing, or from anything in between, to a running environment.

    repositories → images → network → buckets and database → Gemini key → functions → web → health

Each step looks at what is there and does only what is missing, so the whole of it can be stopped
anywhere and run again.
"""

import time
from collections.abc import Callable

from deployment import health
from deployment.cloudformation import Stack
from deployment.environment import Environment
from deployment.gemini_key import store_gemini_key
from deployment.images import IMAGES, Registry
from deployment.stacks import (
    APPLICATION,
    FUNCTIONS,
    NETWORK,
    REPOSITORIES,
    WEB,
    ParameterFile,
)


def bring_up(
    environment: Environment,
    told: ParameterFile,
    registry: Registry,
    gemini_api_key: str | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Have all five stacks be as they should, and the application healthy.

    Args:
        environment: which.
        told: its parameters.
        registry: where images are pushed to.
        gemini_api_key: stored as the secret's value, unless None.
        sleep: waits some seconds.
    Returns:
        The address of the application.
    Raises:
        DeploymentError: what went wrong, and what to do.
    """
    _check_parameters(environment, told)
    repositories = _deploy(environment, REPOSITORIES, told, {})
    images = {
        image.parameter: registry.publish(image, repositories.outputs[image.repository_output])
        for image in IMAGES
    }
    _deploy(environment, NETWORK, told, images)
    application = _deploy(environment, APPLICATION, told, images)
    store_gemini_key(
        environment.aws.secretsmanager,
        application.outputs["GeminiSecretArn"],
        gemini_api_key,
        environment.console,
    )
    _deploy(environment, FUNCTIONS, told, images)
    web = _deploy(environment, WEB, told, images)
    health.wait_until_healthy(
        environment.aws.elbv2, web.outputs["LoadBalancerArn"], environment.console, sleep
    )
    return web.outputs["Address"]


def _check_parameters(environment: Environment, told: ParameterFile) -> None:
    """What is missing is said before anything is made, not after half an hour."""
    stand_ins = {image.parameter: "" for image in IMAGES}
    for name in (REPOSITORIES, NETWORK, APPLICATION, FUNCTIONS, WEB):
        environment.wanted(name, told, stand_ins)


def _deploy(
    environment: Environment, name: str, told: ParameterFile, images: dict[str, str]
) -> Stack:
    return environment.stacks.deploy(environment.wanted(name, told, images))
