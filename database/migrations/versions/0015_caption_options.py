"""Add how an owner wants an image to be described, and the language of each caption.

The previous version does not use the tables. It writes captions without their language, which is
then not known. Each statement can run again after a crash in the middle of this migration.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from database.languages import language_tag

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPTIONS: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def _image_id() -> sa.Column[Any]:
    image = sa.ForeignKey("images.id", ondelete="CASCADE")
    return sa.Column("image_id", _BIG_ID, image, primary_key=True, autoincrement=False)


def upgrade() -> None:
    op.create_table(
        "caption_options",
        _image_id(),
        sa.Column("languages", sa.String(85), nullable=False),
        sa.Column("style", sa.String(16)),
        sa.Column("context", sa.String(500)),
        sa.CheckConstraint(
            "style IN ('short', 'detailed', 'alt_text_only', 'product')",
            name="caption_options_style",
        ),
        if_not_exists=True,
        **_OPTIONS,
    )
    op.create_table(
        "image_languages",
        _image_id(),
        sa.Column("language", sa.String(16), nullable=False),
        if_not_exists=True,
        **_OPTIONS,
    )
    connection = op.get_bind()
    # Until now, all captions were written in one language.
    name = connection.exec_driver_sql("SELECT language FROM caption_language").scalar()
    if tag := language_tag(name or "english"):
        connection.execute(
            sa.text(
                "INSERT INTO image_languages (image_id, language)"
                " SELECT id, :tag FROM images WHERE generated_annotation IS NOT NULL"
                " AND id NOT IN (SELECT image_id FROM image_languages)"
            ),
            {"tag": tag},
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
