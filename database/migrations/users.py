"""The database users of the web servers and of the functions, and the connections of each.

The master user creates them. They may read and write the rows of this database, and nothing else.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

# The most connections of one migration.
MIGRATION_CONNECTIONS = 5
# Connections that no user of the application gets: eleven are for RDS itself and for an operator.
RESERVED_CONNECTIONS = 11 + MIGRATION_CONNECTIONS
# The share of the web servers in the other connections. A web server keeps its connections, and a
# function has one only while it reads or writes a row.
WEB_SHARE = 2 / 3


@dataclass(frozen=True)
class User:
    """A user, as its secret describes it."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ConnectionLimits:
    """The most connections of each user at once."""

    web: int
    functions: int

    @classmethod
    def of(cls, max_connections: int) -> "ConnectionLimits":
        """Divide the connections of a server.

        Raises:
            ValueError: the server allows too few.
        """
        free = max_connections - RESERVED_CONNECTIONS
        limits = cls(int(free * WEB_SHARE), free - int(free * WEB_SHARE))
        if min(limits.web, limits.functions) < 1:
            raise ValueError(
                f"The database allows {max_connections} connections. Increase max_connections to "
                f"{RESERVED_CONNECTIONS + 3} or more."
            )
        return limits


def update_users(engine: Engine, *, web: User, functions: User) -> ConnectionLimits:
    """Create the users, or give them their present passwords, limits and rights.

    It is safe to run this again, and at the same time.

    Returns:
        The limits, which together are less than the server allows.
    """
    with engine.connect() as connection:
        max_connections = connection.exec_driver_sql("SELECT @@max_connections").scalar_one()
        limits = ConnectionLimits.of(max_connections)
        _update_user(connection, web, limits.web)
        _update_user(connection, functions, limits.functions)
    return limits


def _update_user(connection: Connection, user: User, max_connections: int) -> None:
    # An underscore in the name of a database would match any character.
    # https://dev.mysql.com/doc/refman/8.4/en/grant.html#grant-quoting
    database = str(connection.engine.url.database).replace("`", "``").replace("_", r"\_")
    # PyMySQL quotes the parameters itself, so they may stand where MySQL expects a literal.
    credentials = {"name": user.name, "password": user.password}
    for statement in (
        "CREATE USER IF NOT EXISTS %(name)s@'%%' IDENTIFIED BY %(password)s",
        "ALTER USER %(name)s@'%%' IDENTIFIED BY %(password)s REQUIRE SSL"
        f" WITH MAX_USER_CONNECTIONS {max_connections}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.* TO %(name)s@'%%'",
    ):
        connection.exec_driver_sql(statement, credentials)
