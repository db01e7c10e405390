"""Add the fingerprints of generated annotations and the tokens used in a day.

The migration adds tables only. The previous version does not use them, and no query waits for them.
A new column of `images` would copy that table, and writes would wait until the copy is finished.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_HASH = sa.String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    op.create_table(
        "annotation_fingerprints",
        sa.Column("image_id", _BIG_ID, primary_key=True, autoincrement=False),
        sa.Column("fingerprint", _HASH, nullable=False),
        sa.Index("annotation_fingerprints_fingerprint", "fingerprint"),
        **_OPTIONS,
    )
    op.create_table(
        "daily_tokens",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
