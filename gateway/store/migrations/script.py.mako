"""${message}"""

import sqlalchemy as sa
from alembic import op

from gateway.store.tables import Moment

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to the schema of this revision."""
    ${upgrades if upgrades else "pass"}
