"""Add the words of images for the search, the texts in images, and the language of captions.

The migration adds tables only. `migrate` fills the words afterwards, in batches. The previous
version uses the columns `search_text` and `search_words` of `images` on MySQL, and the table
`images_search` on SQLite. A later release removes them.

Each statement can run again after a crash in the middle of this migration.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_WORDS = sa.Text().with_variant(
    mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)
_OPTIONS: Any = {
    "if_not_exists": True,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_0900_ai_ci",
}


def _image_id() -> sa.Column[int]:
    image = sa.ForeignKey("images.id", ondelete="CASCADE")
    return sa.Column("image_id", _BIG_ID, image, primary_key=True, autoincrement=False)


def upgrade() -> None:
    connection = op.get_bind()
    is_mysql = connection.dialect.name == "mysql"
    # MySQL builds the index with the table, because an index that is added later copies it.
    index = [sa.Index("image_words_index", "words", mysql_prefix="FULLTEXT")] if is_mysql else []
    op.create_table(
        "image_words", _image_id(), sa.Column("words", _WORDS, nullable=False), *index, **_OPTIONS
    )
    op.create_table(
        "texts_in_images", _image_id(), sa.Column("text", sa.Text, nullable=False), **_OPTIONS
    )
    op.create_table(
        "caption_language",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("language", sa.String(32), nullable=False),
        **_OPTIONS,
    )
    if not is_mysql:
        _index_words_on_sqlite(connection)


def _index_words_on_sqlite(connection: sa.Connection) -> None:
    """Create a full-text table without a copy of the words, which triggers keep up to date.

    The prefixes have one to eight letters after the two that begin every word. The tokenizer
    `ascii` splits only at the spaces, because the words have no other ASCII signs.
    https://www.sqlite.org/fts5.html#external_content_tables
    """
    connection.exec_driver_sql(
        "CREATE VIRTUAL TABLE IF NOT EXISTS image_words_index USING fts5(words,"
        " content = 'image_words', content_rowid = 'image_id', tokenize = 'ascii',"
        " prefix = '3 4 5 6 7 8 9 10')"
    )
    add = "INSERT INTO image_words_index (rowid, words) VALUES (new.image_id, new.words);"
    remove = (
        "INSERT INTO image_words_index (image_words_index, rowid, words)"
        " VALUES ('delete', old.image_id, old.words);"
    )
    for name, statements in (("insert", add), ("delete", remove), ("update", remove + add)):
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS image_words_{name} AFTER {name.upper()} ON image_words"
            f" BEGIN {statements} END"
        )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
