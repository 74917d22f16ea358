"""Alembic, which knows how to get from one schema to another: imported only by a process that has to migrate."""

from __future__ import annotations

import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from mdm.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["migration_config", "upgrade"]

_alembic: Final = threading.Lock()
"""Alembic keeps the migration under way in a module global."""


def migration_config() -> Config:
    """Return Alembic's configuration for the `migrations` package, wherever it is installed."""
    config = Config()
    location = str(files("migrations")).replace("%", "%%")  # the option is interpolated
    config.set_main_option("script_location", location)
    return config


def upgrade(connection: Connection, revision: str | None) -> None:
    """Bring the schema from `revision` to the head; raises Unavailable if a newer version of the bridge wrote it."""
    config = migration_config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise Unavailable(
            f"The database is at revision {revision}, which this version does not know: "
            "a newer version of csp-bridge has used it."
        )
    config.attributes["connection"] = connection
    with _alembic:
        command.upgrade(config, "head")
