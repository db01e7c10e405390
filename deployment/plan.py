"""What `up` would do, and nothing done."""

from collections import Counter

from deployment.cloudformation import Change
from deployment.environment import Environment
from deployment.images import IMAGES, Registry, content_tag
from deployment.stacks import ORDER, REPOSITORIES, ParameterFile, StackTemplate

_VERBS = {"Add": "creates", "Modify": "changes", "Remove": "deletes"}
# Stacks in these states can take a change set.
_SETTLED = (
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
)


def show_plan(environment: Environment, told: ParameterFile, registry: Registry) -> None:
    """Print what `up` would create, change, replace and delete.

    Raises:
        DeploymentError: CloudFormation could not say.
    """
    console = environment.console
    images = _images(environment, registry)
    for name in ORDER:
        stack = environment.find(name)
        if stack is None:
            _show_new(environment, name)
        elif stack.status not in _SETTLED:
            console.say(f"{name} is {stack.status}: `up` would deal with that first", "bad")
        else:
            _show_update(environment, name, told, images)


def _images(environment: Environment, registry: Registry) -> dict[str, str]:
    """The images as the stacks would get them; those that are not built keep the old digest."""
    repositories = environment.outputs(REPOSITORIES)
    digests = {}
    for image in IMAGES:
        uri = repositories.get(image.repository_output)
        digest = registry.find(image, uri) if uri else None
        if digest is None:
            tag = content_tag(image)
            environment.console.say(f"image {image.name}: would be built and pushed ({tag})")
        digests[image.parameter] = digest or _placeholder(uri)
    return digests


def _placeholder(repository_uri: str | None) -> str:
    """A digest no image has, in place of one that is only known after the build."""
    return f"{repository_uri or ''}@sha256:{'0' * 64}"


def _show_new(environment: Environment, name: str) -> None:
    environment.console.say(f"{name} would be created:", "good")
    template = environment.templates[name]
    for count, resource_type in _counted(template):
        environment.console.say(f"    {count:>3} × {resource_type}")


def _counted(template: StackTemplate) -> list[tuple[int, str]]:
    """How many of each type there are at most: conditions may leave some out."""
    counts = Counter(template.resources.values())
    return sorted(((count, name) for name, count in counts.items()), key=lambda c: (-c[0], c[1]))


def _show_update(
    environment: Environment, name: str, told: ParameterFile, images: dict[str, str]
) -> None:
    console = environment.console
    with environment.stacks.previewed(environment.wanted(name, told, images)) as changes:
        console.say(f"{name} {'would change:' if changes else 'is as it should be'}")
        for change in changes:
            console.say(f"    {_in_words(change)}", "bad" if _is_grave(change) else "")


def _is_grave(change: Change) -> bool:
    return change.action == "Remove" or change.replacement == "True"


def _in_words(change: Change) -> str:
    verb = _VERBS.get(change.action, change.action.lower())
    if change.action == "Modify" and change.replacement == "True":
        verb = "REPLACES"
    elif change.action == "Modify" and change.replacement == "Conditional":
        verb = "changes, or replaces,"
    causes = f" for {', '.join(change.causes)}" if change.causes else ""
    return f"{verb} {change.logical_id} ({change.resource_type}){causes}"
