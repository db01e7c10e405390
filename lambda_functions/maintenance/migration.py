"""Migrate the database, and update its users, with the settings of the migration."""

import json
from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger

from database import migrations
from database.migrations.users import MIGRATION_CONNECTIONS, User, update_users
from database.secret_store import fetch_secret
from database.session import create_database_engine
from lambda_functions.settings import MigrateSettings

logger = Logger()


def migrate_database() -> dict[str, Any]:
    """Apply all missing migrations, then update the users if the settings name their secrets."""
    settings = MigrateSettings()
    engine = create_database_engine(
        settings,
        pool_size=MIGRATION_CONNECTIONS,
        read_timeout_seconds=migrations.STATEMENT_TIMEOUT_SECONDS,
    )
    try:
        migrations.migrate(engine)
        if settings.db_web_secret_arn and settings.db_functions_secret_arn:
            limits = update_users(
                engine,
                web=_read_user(settings.db_web_secret_arn),
                functions=_read_user(settings.db_functions_secret_arn),
            )
            logger.info("updated the users of the database", extra=asdict(limits))
    finally:
        engine.dispose()
    logger.info("migrated")
    return {"outcome": "migrated"}


def _read_user(secret_arn: str) -> User:
    secret = json.loads(fetch_secret(secret_arn))
    return User(secret["username"], secret["password"])
