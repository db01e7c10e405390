"""Add the table of the progress of exports.

The migration adds one table, in a statement that can run again after a crash. The previous version
does not use it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
    "sqlite_autoincrement": True,
}


def _exact(length: int) -> Any:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql")


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("export_id", _exact(36), nullable=False),
        sa.Column("owner_id", _exact(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("images", sa.Integer),
        sa.Column("images_done", sa.Integer, nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.String(500)),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.CheckConstraint("state IN ('running', 'completed', 'stopped')", name="exports_state"),
        sa.Index("exports_export_id", "export_id", "owner_id", unique=True),
        sa.Index("exports_changed", "changed_at"),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
