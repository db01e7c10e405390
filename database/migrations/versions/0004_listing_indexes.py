"""Keep lists by status and, on SQLite, searches for prefixes fast in large tables.

An index on the status and on `deleting_at` replaces the one on the status alone. MySQL builds it
while writes continue. No version names an index in a query, so replacing one is safe.

SQLite's full-text table gets an index of prefixes of up to eight letters. Without it, a search for
a prefix would read all words with this prefix, and all of their images, before the first result.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "mysql":
        # One statement, so that a crash leaves either both changes or none.
        connection.exec_driver_sql(
            "ALTER TABLE images ADD INDEX images_status_visible (overall_status, deleting_at),"
            " DROP INDEX images_overall_status"
        )
        return
    # Each statement can run again after a crash in the middle of this migration.
    columns = ["overall_status", "deleting_at"]
    op.create_index("images_status_visible", "images", columns, if_not_exists=True)
    op.drop_index("images_overall_status", "images", if_exists=True)
    # The new table has the old name, because the triggers use it.
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
