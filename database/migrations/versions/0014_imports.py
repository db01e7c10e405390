"""Add the tables of imports of corrections.

The migration adds two tables, in statements that can run again after a crash. The previous version
does not use them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    exact = mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin")
    time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    op.create_table(
        "imports",
        sa.Column("id", _BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("owner_id", sa.String(255).with_variant(exact, "mysql"), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("changed", sa.Integer, nullable=False),
        sa.Column("unchanged", sa.Integer, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.CheckConstraint("state IN ('proposed', 'applied', 'undone')", name="imports_state"),
        sa.Index("imports_owner", "owner_id", "state"),
        if_not_exists=True,
        sqlite_autoincrement=True,
        **_OPTIONS,
    )
    op.create_table(
        "import_changes",
        sa.Column(
            "import_id",
            _BIG_ID,
            sa.ForeignKey("imports.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column(
            "image_id",
            _BIG_ID,
            sa.ForeignKey("images.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("texts_before", sa.JSON, nullable=False),
        sa.Column("texts_after", sa.JSON, nullable=False),
        sa.Index("import_changes_image", "image_id"),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
