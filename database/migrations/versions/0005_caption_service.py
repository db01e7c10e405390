"""Add the state of the captioning service.

The migration adds one table, in one statement that can run again on SQLite after a crash. The
previous version does not use it. New columns of `images` would copy that table on MySQL.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    op.create_table(
        "caption_service",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("paused_until", _TIME),
        sa.Column("reason", sa.String(500)),
        sa.Column("refused_since", _TIME),
        sa.Column("refused_at", _TIME),
        sa.Column("answered_at", _TIME),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("limit_known_until", _TIME),
        sa.Column("minute", _TIME),
        sa.Column("minute_requests", sa.Integer, nullable=False),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
