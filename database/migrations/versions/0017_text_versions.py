"""Add the earlier versions of texts.

The migration adds a table, in one statement that can run again after a crash. The previous version
does not use it, and the texts that it writes have no version.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    field = mysql.VARCHAR(16, charset="utf8mb4", collation="utf8mb4_bin")
    op.create_table(
        "text_versions",
        sa.Column(
            "image_id",
            _BIG_ID,
            sa.ForeignKey("images.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("field", sa.String(16).with_variant(field, "mysql"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.JSON),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("written_at", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")),
        sa.CheckConstraint("source IN ('model', 'human', 'import')", name="text_versions_source"),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
