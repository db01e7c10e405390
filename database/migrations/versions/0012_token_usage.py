"""Add the table of the tokens that each owner used on each day.

The migration adds one table, in one statement that can run again after a crash. The previous
version does not use it. Tokens that were used before are not in it: to read them from all images
could take longer than a migration may.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def _exact(length: int) -> Any:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql")


def upgrade() -> None:
    op.create_table(
        "token_usage",
        sa.Column("owner_id", _exact(255), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("model", _exact(128), primary_key=True),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Index("token_usage_day", "day"),
        if_not_exists=True,
        **_OPTIONS,
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
