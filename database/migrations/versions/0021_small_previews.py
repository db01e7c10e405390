"""Add the width of the small preview of an image.

The previous version does not use the column. It deletes an image without the small preview, which
the command `backfill` then removes. A thumbnail that it makes again leaves the small preview as it
is, which is still true: the original of an image never changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The statement can run again after a crash.
    columns = sa.inspect(op.get_bind()).get_columns("previews")
    if "small_width" not in {column["name"] for column in columns}:
        op.add_column("previews", sa.Column("small_width", sa.Integer))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
