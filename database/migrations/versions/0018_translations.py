"""Add the texts of an image in further languages.

The previous version does not use the column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The statement can run again after a crash.
    columns = sa.inspect(op.get_bind()).get_columns("image_languages")
    if "translations" not in {column["name"] for column in columns}:
        op.add_column("image_languages", sa.Column("translations", sa.JSON))


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
