"""The images table."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


def _exact_text(length: int) -> sa.String:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def _job_columns(name: str) -> list[sa.Column[Any]]:
    return [
        sa.Column(f"{name}_status", sa.String(16), nullable=False),
        sa.Column(f"{name}_error_code", sa.String(64)),
        sa.Column(f"{name}_error_message", sa.String(500)),
        sa.Column(f"{name}_attempts", sa.Integer, nullable=False),
        sa.Column(f"{name}_claimed_until", _TIME),
        sa.Column(f"{name}_requested_at", _TIME, nullable=False),
    ]


def _one_of(column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"images_{column}")


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("id", _BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("original_key", _exact_text(64), nullable=False, unique=True),
        sa.Column("thumbnail_key", _exact_text(64)),
        sa.Column("content_type", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("sha256", _exact_text(64), nullable=False),
        sa.Column("dominant_color", sa.String(7)),
        sa.Column("owner_id", _exact_text(255), nullable=False),
        sa.Column("annotation", sa.Text),
        sa.Column("alt_text", sa.Text),
        sa.Column("tags", sa.JSON),
        sa.Column("annotation_source", sa.String(16)),
        sa.Column("generated_annotation", sa.Text),
        sa.Column("annotation_model", sa.String(128)),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        *_job_columns("annotation"),
        *_job_columns("thumbnail"),
        sa.Column("uploaded_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        _one_of("annotation_source", "model", "human"),
        _one_of("annotation_status", "pending", "completed", "failed"),
        _one_of("thumbnail_status", "pending", "completed", "failed"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_0900_ai_ci",
        sqlite_autoincrement=True,
    )
    op.create_index("images_owner_sha256", "images", ["owner_id", "sha256"])
    for job in ("annotation", "thumbnail"):
        op.create_index(f"images_{job}_waiting", "images", [f"{job}_status", f"{job}_requested_at"])
    if op.get_bind().dialect.name == "mysql":
        _add_full_text_index()


def _add_full_text_index() -> None:
    # MySQL cannot index a JSON column for full-text search. So the searchable text is copied to a
    # stored generated column, which the server keeps up to date.
    op.execute(
        "ALTER TABLE images ADD COLUMN search_text MEDIUMTEXT GENERATED ALWAYS AS "
        "(CONCAT_WS(' ', filename, annotation, alt_text, CAST(tags AS CHAR))) STORED"
    )
    op.create_index("images_search", "images", ["search_text"], mysql_prefix="FULLTEXT")


def downgrade() -> None:
    op.drop_table("images")
