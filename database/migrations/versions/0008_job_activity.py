"""Add the table of the activity of the functions.

The migration adds one table, in one statement that can run again on SQLite after a crash. The
previous version does not use it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
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
        "job_activity",
        sa.Column("job", sa.String(16), primary_key=True),
        sa.Column("worked_at", _TIME),
        sa.Column("requeued_at", _TIME),
        sa.Column("requeued", sa.Integer, nullable=False),
        sa.Column("not_requeued", sa.Integer, nullable=False),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
