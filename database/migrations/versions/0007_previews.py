"""Add the table of previews.

The migration adds one table, in one statement that can run again on SQLite after a crash. The
previous version does not use it. A new column of `images` would copy that table on MySQL.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    image = sa.ForeignKey("images.id", ondelete="CASCADE")
    op.create_table(
        "previews",
        sa.Column("image_id", _BIG_ID, image, primary_key=True, autoincrement=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
