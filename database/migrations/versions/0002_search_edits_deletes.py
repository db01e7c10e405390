"""Search, the model's own words beside a person's, and images that are being deleted.

Only adds. The version still running writes rows that the new one reads, and the other way round:
every new column may be empty, or is the server's own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")

# The whole image's status, as `Image.status` says it.
_OVERALL_STATUS = (
    "(CASE WHEN annotation_status = 'pending' OR thumbnail_status = 'pending' THEN 'pending'"
    " WHEN annotation_status = 'failed' OR thumbnail_status = 'failed' THEN 'failed'"
    " ELSE 'completed' END)"
)

# Scripts written without spaces; the same as in `database/search.py`.
_UNSPACED = (
    "\\\\x{0E00}-\\\\x{0EFF}\\\\x{1000}-\\\\x{109F}\\\\x{1100}-\\\\x{11FF}\\\\x{1780}-\\\\x{17FF}"
    "\\\\x{3040}-\\\\x{30FF}\\\\x{31F0}-\\\\x{31FF}\\\\x{3400}-\\\\x{4DBF}\\\\x{4E00}-\\\\x{9FFF}"
    "\\\\x{AC00}-\\\\x{D7AF}\\\\x{F900}-\\\\x{FAFF}\\\\x{FF66}-\\\\x{FF9F}"
)


def upgrade() -> None:
    for column in (
        sa.Column("generated_alt_text", sa.Text),
        sa.Column("generated_tags", sa.JSON),
        sa.Column("deleting_at", _TIME),
        # Not stored: the server works it out, and keeps it in the index.
        sa.Column("overall_status", sa.String(16), sa.Computed(_OVERALL_STATUS, persisted=False)),
    ):
        op.add_column("images", column)
    op.create_index("images_overall_status", "images", ["overall_status"])
    op.create_index("images_deleting", "images", ["deleting_at"])
    if op.get_bind().dialect.name == "mysql":
        _index_words_on_mysql()
    else:
        _index_words_on_sqlite()


def _index_words_on_mysql() -> None:
    """Gather the words of `search_text` in a form that MySQL's full-text parser takes as it is.

    The parser leaves out words of one or two letters and a list of common ones, takes `IMG_1234`
    for one word, and a sentence in Japanese for another. So the server itself writes each word
    with `zz` before it, and each character of a script without spaces as a word of its own:
    `zzIMG zz1234 zzjpg zz犬`. Marks such as accents go; the collation does the rest.
    """
    words = "REGEXP_REPLACE(search_text, '\\\\p{M}+', '')"
    words = f"REGEXP_REPLACE({words}, '([{_UNSPACED}])', ' $1 ')"
    words = (
        f"REGEXP_REPLACE({words},"
        " '[^\\\\p{L}\\\\p{N}]*([\\\\p{L}\\\\p{N}]{1,64})[^\\\\p{L}\\\\p{N}]*', 'zz$1 ')"
    )
    op.get_bind().exec_driver_sql(
        "ALTER TABLE images ADD COLUMN search_words MEDIUMTEXT"
        f" GENERATED ALWAYS AS ({words}) STORED"
    )
    # No version ever read the index on the raw text, and each write pays for it.
    op.drop_index("images_search", "images")
    op.create_index("images_search_words", "images", ["search_words"], mysql_prefix="FULLTEXT")


def _index_words_on_sqlite() -> None:
    """Keep a full-text table beside the rows, by triggers: whoever writes, it is true.

    It has its own copy of the text, because the index of the rows' own columns would hold tags as
    the JSON they are stored as, escapes and all.
    """
    connection = op.get_bind()
    connection.exec_driver_sql(
        "CREATE VIRTUAL TABLE images_search"
        " USING fts5(search_text, tokenize = 'unicode61 remove_diacritics 2')"
    )

    def text_of(row: str) -> str:
        return (
            f"{row}.filename || ' ' || coalesce({row}.annotation, '') || ' ' ||"
            f" coalesce({row}.alt_text, '') || ' ' ||"
            f" coalesce((SELECT group_concat(value, ' ') FROM json_each({row}.tags)), '')"
        )

    new_text = text_of("new")
    connection.exec_driver_sql(
        f"INSERT INTO images_search (rowid, search_text) SELECT id, {text_of('images')} FROM images"
    )
    for trigger, action in (
        (
            "images_search_insert AFTER INSERT",
            f"INSERT INTO images_search (rowid, search_text) VALUES (new.id, {new_text})",
        ),
        (
            "images_search_update AFTER UPDATE OF filename, annotation, alt_text, tags",
            f"UPDATE images_search SET search_text = {new_text} WHERE rowid = new.id",
        ),
        (
            "images_search_delete AFTER DELETE",
            "DELETE FROM images_search WHERE rowid = old.id",
        ),
    ):
        connection.exec_driver_sql(f"CREATE TRIGGER {trigger} ON images BEGIN {action}; END")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
