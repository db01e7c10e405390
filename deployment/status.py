"""How an environment is."""

from deployment import health
from deployment.environment import Environment
from deployment.errors import DeploymentError
from deployment.images import IMAGES, Registry
from deployment.redrive import QUEUE_OUTPUTS
from deployment.stacks import FUNCTIONS, ORDER, REPOSITORIES, WEB


def show_status(environment: Environment, registry: Registry) -> None:
    """Print each stack, the images that run, the servers' health, the dead letters, the address."""
    console, aws = environment.console, environment.aws
    stacks = environment.find_all()
    rows = []
    for name in ORDER:
        stack = stacks.get(name)
        changed = f"{stack.changed_at:%Y-%m-%d %H:%M} UTC" if stack else ""
        rows.append((name, stack.status if stack else "not there", changed))
    console.table(("stack", "state", "changed"), rows)

    repositories = environment.outputs(REPOSITORIES)
    running = {name: value for stack in stacks.values() for name, value in stack.parameters.items()}
    images = []
    for image in IMAGES:
        deployed = running.get(image.parameter)
        if deployed is None:
            continue
        repository = repositories.get(image.repository_output)
        latest = registry.find(image, repository) if repository else None
        is_current = "as the code here" if latest == deployed else "not as the code here"
        images.append((image.name, deployed.partition("@")[2][:19], is_current))
    console.table(("image", "digest", "built"), images)

    if WEB in stacks and (arn := stacks[WEB].outputs.get("LoadBalancerArn")):
        console.table(("web server", "health"), health.target_states(aws.elbv2, arn).items())
    if FUNCTIONS in stacks:
        console.table(
            ("dead letters", "messages"),
            (
                (output.removesuffix("Url"), _messages(environment, url))
                for output in QUEUE_OUTPUTS
                if (url := stacks[FUNCTIONS].outputs.get(output))
            ),
        )
    if WEB in stacks and (address := stacks[WEB].outputs.get("Address")):
        console.say(f"\n{address}", "good")


def show_outputs(environment: Environment) -> None:
    """Print every output of every stack, a line each.

    Raises:
        DeploymentError: there is no stack.
    """
    stacks = environment.find_all()
    if not stacks:
        raise nothing_there(environment)
    for stack in stacks.values():
        for name, value in stack.outputs.items():
            environment.console.say(f"{name}={value}")


def nothing_there(environment: Environment) -> DeploymentError:
    """The error for an environment without a stack."""
    return DeploymentError(
        f"There is nothing of the environment “{environment.name}” in {environment.aws.region}: "
        "name another --region or --environment, or run `up`."
    )


def _messages(environment: Environment, queue_url: str) -> str:
    answer = environment.aws.sqs.get_queue_attributes(
        QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return answer["Attributes"]["ApproximateNumberOfMessages"]
