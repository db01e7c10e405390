"""Add the reviews of images.

The migration adds a table and its indexes, and can run again after a crash. `migrate` then adds the
rows of the images in batches. The previous version does not use the table.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}
_INDEXES = {
    "image_reviews_state_of_all": ["state"],
    "image_reviews_state_of_owner": ["owner_id", "state"],
    "image_reviews_alt_text_of_all": ["alt_text_state"],
    "image_reviews_alt_text_of_owner": ["owner_id", "alt_text_state"],
    "image_reviews_same_alt_text": ["owner_id", "alt_text_hash"],
}
_ALT_TEXT_STATES = "'decorative', 'missing', 'long', 'image_of', 'caption', 'good'"


def upgrade() -> None:
    op.create_table(
        "image_reviews",
        sa.Column(
            "image_id",
            _BIG_ID,
            sa.ForeignKey("images.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("owner_id", _exact_text(255), nullable=False),
        sa.Column("is_decorative", sa.Boolean, nullable=False),
        sa.Column("reviewed_at", sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")),
        sa.Column("reviewed_by", _exact_text(12)),
        sa.Column("reviewed_version", _exact_text(12)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("alt_text_state", sa.String(16), nullable=False),
        sa.Column("alt_text_hash", _exact_text(12)),
        sa.CheckConstraint(
            "state IN ('unreviewed', 'reviewed', 'changed')", name="image_reviews_state"
        ),
        sa.CheckConstraint(
            f"alt_text_state IN ({_ALT_TEXT_STATES})", name="image_reviews_alt_text_state"
        ),
        if_not_exists=True,
        **_OPTIONS,
    )
    # One after the other: `create_table` would add them in another order each time. MySQL has no IF
    # NOT EXISTS for an index, and a crash can leave some of them.
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("image_reviews")}
    for name, columns in _INDEXES.items():
        if name not in existing:
            op.create_index(name, "image_reviews", columns)


def _exact_text(length: int) -> Any:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, "mysql")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
