"""Add the index that lists the images of one owner, newest first.

MySQL adds it while the table is read and written. The previous version does not need it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # MySQL ends the transaction with this statement, so a crash can leave the index without the
    # number of the migration. MySQL has no IF NOT EXISTS for an index.
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("images")}
    if "images_owner" not in existing:
        op.create_index("images_owner", "images", ["owner_id"])


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
