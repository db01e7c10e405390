"""Lists by status and, on the embedded database, by the beginnings of words, at any size.

An index that knows which images are being deleted takes the place of the one on the status alone.
MySQL makes it beside the writes that go on, and no version asks for an index by its name.

SQLite keeps a list of each beginning of up to eight letters; without, it would gather all words
that begin so, and all images that have them, before it names the first.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "mysql":
        # One statement: all of it or, after a crash, nothing.
        connection.exec_driver_sql(
            "ALTER TABLE images ADD INDEX images_status_visible (overall_status, deleting_at),"
            " DROP INDEX images_overall_status"
        )
        return
    # Run again after a crash, each of these begins where it was.
    columns = ["overall_status", "deleting_at"]
    op.create_index("images_status_visible", "images", columns, if_not_exists=True)
    op.drop_index("images_overall_status", "images", if_exists=True)
    # Under its old name, by which the triggers know it.
    connection.exec_driver_sql("DROP TABLE IF EXISTS images_search")
    connection.exec_driver_sql(
        "CREATE VIRTUAL TABLE images_search USING fts5(search_text,"
        " tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3 4 5 6 7 8')"
    )
    connection.exec_driver_sql(
        "INSERT INTO images_search (rowid, search_text)"
        " SELECT id, filename || ' ' || coalesce(annotation, '') || ' ' ||"
        " coalesce(alt_text, '') || ' ' ||"
        " coalesce((SELECT group_concat(value, ' ') FROM json_each(tags)), '') FROM images"
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
