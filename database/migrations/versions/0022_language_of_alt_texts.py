"""Remove the constraint of the states of alt texts, so that they can have further states.

The states of older images are written by the sweeps. A constraint with one more state would copy
the table on MySQL. Then uploads waited for the copy and the copy waited for uploads, until one of
them failed after ten seconds. The statements can run again after a crash.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_CONSTRAINT = "image_reviews_alt_text_state"


def upgrade() -> None:
    bind = op.get_bind()
    constraints = sa.inspect(bind).get_check_constraints("image_reviews")
    if _CONSTRAINT not in {constraint["name"] for constraint in constraints}:
        return
    if bind.dialect.name == "mysql":
        op.execute(
            f"ALTER TABLE image_reviews DROP CHECK {_CONSTRAINT}, ALGORITHM = INPLACE, LOCK = NONE"
        )
        return
    # SQLite cannot remove a constraint, so the table is copied.
    with op.batch_alter_table("image_reviews") as batch:
        batch.drop_constraint(_CONSTRAINT, type_="check")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
