"""Add whether the description inside a file helps to describe it.

The previous version does not use the column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The statement can run again after a crash.
    columns = sa.inspect(op.get_bind()).get_columns("caption_options")
    if "uses_embedded_text" not in {column["name"] for column in columns}:
        column = sa.Column(
            "uses_embedded_text", sa.Boolean, nullable=False, server_default=sa.false()
        )
        op.add_column("caption_options", column)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
