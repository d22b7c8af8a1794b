"""Bring a database to the schema of this DOS, with Alembic, from the installed package."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from dos.kit.errors import PermanentError

SCRIPTS = "dos.storage.sql:migrations"


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing, within the transaction of `connection`.

    Raises:
        PermanentError: The schema is newer than this DOS.
    """
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    current = set(MigrationContext.configure(connection).get_current_heads())
    if unknown := sorted(current - known):
        msg = (
            f"The database {connection.engine.url.render_as_string()} has schema {unknown[0]}, "
            f"which this version of DOS does not know; it knows up to "
            f"{scripts.get_current_head()}."
        )
        raise PermanentError(msg, remedy="Use the version of DOS that wrote it, or a newer one.")
    if current != set(scripts.get_heads()):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
