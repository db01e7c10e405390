"""Check that the web servers cannot open more database connections than they are allowed."""

from deployment.errors import UsageError
from deployment.stacks import APPLICATION, WEB, ParameterFile, Templates

# Cores of a server. gunicorn runs a process for each, and at least two.
CORES = {"m7i.xlarge": 4, "m7g.xlarge": 4}
_MIN_PROCESSES = 2
# A server that ends keeps its connections while a new one starts.
_SERVERS_DURING_AN_UPDATE = 1


def web_connections(parameter_file: ParameterFile, templates: Templates) -> int:
    """Return how many connections all web servers together can open."""

    def value(parameter: str) -> str:
        return parameter_file.value(templates[WEB], parameter)

    servers = int(value("MaxInstances")) + _SERVERS_DURING_AN_UPDATE
    processes = CORES.get(value("InstanceType"), _MIN_PROCESSES)
    return servers * processes * int(value("DbPoolSize"))


def allowed_web_connections(parameter_file: ParameterFile, templates: Templates) -> int:
    """Return how many connections the database allows to the user of the web servers."""
    # Imported here, because only `up` needs the database package.
    from database.migrations.users import ConnectionLimits

    size = parameter_file.value(templates[APPLICATION], "DatabaseInstanceClass")
    maximum = templates[APPLICATION].mappings["ConnectionsByClass"][size]["Maximum"]
    return ConnectionLimits.of(int(maximum)).web


def check_connections(parameter_file: ParameterFile, templates: Templates) -> None:
    """Require that the connection pools of all web servers fit into the database.

    Raises:
        UsageError: they do not.
    """
    possible = web_connections(parameter_file, templates)
    allowed = allowed_web_connections(parameter_file, templates)
    if possible > allowed:
        raise UsageError(
            f"The web servers of “{parameter_file.name}” could open {possible} connections to the "
            f"database, which allows them {allowed}. Lower DbPoolSize or MaxInstances of {WEB}, or "
            f"choose a larger DatabaseInstanceClass of {APPLICATION}. Nothing was created."
        )
