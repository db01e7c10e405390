"""Add the authors of alt texts and tags, and the index of an owner's bin.

Until now an edit of any text made a person the author of all three texts. The model is the author
of each text that is the same as the model's own.

The previous version does not use the table. It stores one author for all texts, which the new
version expects of an image without a row. Each statement can run again after a crash in the middle
of this migration.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def upgrade() -> None:
    connection = op.get_bind()
    sources = "IN ('model', 'human')"
    op.create_table(
        "text_sources",
        sa.Column(
            "image_id",
            _BIG_ID,
            sa.ForeignKey("images.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("alt_text", sa.String(16), nullable=False),
        sa.Column("tags", sa.String(16), nullable=False),
        sa.CheckConstraint(f"alt_text {sources}", name="text_sources_alt_text"),
        sa.CheckConstraint(f"tags {sources}", name="text_sources_tags"),
        if_not_exists=True,
        **_OPTIONS,
    )
    existing = {index["name"] for index in sa.inspect(connection).get_indexes("images")}
    if "images_owner_deleting" not in existing:
        op.create_index("images_owner_deleting", "images", ["owner_id", "deleting_at"])
    is_mysql = connection.dialect.name == "mysql"
    # These comparisons distinguish case and accents, and NULL is equal to NULL.
    same = "CAST({0} AS BINARY) <=> CAST({1} AS BINARY)" if is_mysql else "{0} IS {1}"

    def source_of(text: str, models_text: str) -> str:
        is_models = same.format(text, models_text)
        return f"CASE WHEN {is_models} THEN 'model' ELSE 'human' END"

    connection.exec_driver_sql(
        "INSERT INTO text_sources (image_id, alt_text, tags)"
        f" SELECT id, {source_of('alt_text', 'generated_alt_text')},"
        f" {source_of('tags', 'generated_tags')} FROM images"
        " WHERE annotation_source = 'human' AND id NOT IN (SELECT image_id FROM text_sources)"
    )
    connection.exec_driver_sql(
        "UPDATE images SET annotation_source ="
        " CASE WHEN generated_annotation IS NULL THEN NULL ELSE 'model' END"
        " WHERE annotation_source = 'human'"
        f" AND {same.format('annotation', 'generated_annotation')}"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
