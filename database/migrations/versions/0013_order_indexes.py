"""Add the indexes of the orders and times of a list.

MySQL adds them while the table is read and written. The previous version does not need them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEXES = {
    "images_owner_status": ["owner_id", "overall_status", "deleting_at"],
    "images_uploaded": ["uploaded_at"],
    "images_changed": ["deleting_at", "updated_at"],
    "images_status_changed": ["overall_status", "deleting_at", "updated_at"],
    "images_owner_changed": ["owner_id", "deleting_at", "updated_at"],
    "images_owner_status_changed": ["owner_id", "overall_status", "deleting_at", "updated_at"],
}


def upgrade() -> None:
    # MySQL ends the transaction with each statement, so a crash can leave some of the indexes
    # without the number of the migration. MySQL has no IF NOT EXISTS for an index.
    existing = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("images")}
    for name, columns in _INDEXES.items():
        if name not in existing:
            op.create_index(name, "images", columns)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
