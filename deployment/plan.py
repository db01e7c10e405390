"""Show what `up` would do, without changing anything."""

from collections import Counter

from deployment.cloudformation import Change
from deployment.environment import Environment
from deployment.images import IMAGES, Registry
from deployment.stacks import ORDER, REPOSITORIES, ParameterFile

_VERBS = {"Add": "create", "Modify": "change", "Remove": "delete"}
# CloudFormation accepts a change set only for a stack in one of these states.
_STABLE_STATES = (
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
)


def show_plan(environment: Environment, parameter_file: ParameterFile, registry: Registry) -> None:
    """Print what `up` would create, change, replace and delete.

    Raises:
        DeploymentError: CloudFormation could not create a change set.
    """
    console = environment.console
    images = _images(environment, registry)
    for name in ORDER:
        stack = environment.find(name)
        if stack is None:
            _show_new(environment, name)
        elif stack.status not in _STABLE_STATES:
            console.print(f"{name} is in state {stack.status}. `up` handles this first", "error")
        else:
            desired = environment.desired_stack(name, parameter_file, images)
            changes = environment.stacks.preview(desired)
            console.print(f"{name}: {'changes' if changes else 'no changes'}")
            for change in changes:
                is_destructive = change.action == "Remove" or change.replacement == "True"
                console.print(f"    {_describe(change)}", "error" if is_destructive else "")


def _images(environment: Environment, registry: Registry) -> dict[str, str]:
    """Return the image URIs by parameter name, with a placeholder for images not built yet."""
    repositories = environment.outputs(REPOSITORIES)
    uris = {}
    for image in IMAGES:
        repository = repositories.get(image.repository_output)
        uri = registry.find(image, repository) if repository else None
        if uri is None:
            environment.console.print(
                f"image {image.name}: will be built and pushed ({registry.tag(image)})"
            )
        # The digest is known only after the build. A digest of zeros matches no image.
        uris[image.parameter] = uri or f"{repository or ''}@sha256:{'0' * 64}"
    return uris


def _show_new(environment: Environment, name: str) -> None:
    """Print the resource types of a new stack. Conditions may exclude some of the resources."""
    environment.console.print(f"{name}: will be created with", "success")
    counts = Counter(environment.templates[name].resources.values())
    for resource_type, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        environment.console.print(f"    {count:>3} × {resource_type}")


def _describe(change: Change) -> str:
    verb = _VERBS.get(change.action, change.action.lower())
    if change.action == "Modify" and change.replacement == "True":
        verb = "REPLACE"
    elif change.action == "Modify" and change.replacement == "Conditional":
        verb = "change or replace"
    causes = f" because of {', '.join(change.causes)}" if change.causes else ""
    return f"{verb} {change.logical_id} ({change.resource_type}){causes}"
