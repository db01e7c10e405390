"""Allow the state of an alt text that is not in the expected language.

The states of older images are written by the sweeps. The statements can run again after a crash.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_STATES = "'decorative', 'missing', 'language', 'long', 'image_of', 'caption', 'good'"
_CONDITION = f"alt_text_state IN ({_STATES})"


def upgrade() -> None:
    if op.get_bind().dialect.name == "mysql":
        op.execute(
            "ALTER TABLE image_reviews DROP CHECK image_reviews_alt_text_state,"
            f" ADD CONSTRAINT image_reviews_alt_text_state CHECK ({_CONDITION})"
        )
        return
    # SQLite cannot change a constraint, so the table is copied.
    with op.batch_alter_table("image_reviews") as batch:
        batch.drop_constraint("image_reviews_alt_text_state", type_="check")
        batch.create_check_constraint("image_reviews_alt_text_state", _CONDITION)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward; restore a backup to go back")
