"""Runs the migrations: for `Database.migrate`, for tests (an engine), or for `alembic` on the command line.

From the command line BRIDGE_DATABASE_URL names the database, e.g.
`BRIDGE_DATABASE_URL=sqlite:///dev.sqlite3 alembic -c pyproject.toml revision --autogenerate -m "Add a column"`.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from alembic import context
from sqlalchemy import Engine
from sqlmodel import SQLModel

import mdm.storage.tables  # noqa: F401 - fills SQLModel.metadata
from mdm.storage.engine import Database
from mdm.storage.types import UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import Connection


def _render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write types that every version of the code has: a migration must not import today's classes."""
    if kind == "type":
        if isinstance(item, UtcDateTime):
            return "sa.DateTime(timezone=True)"
        if type(item).__module__ == "sqlmodel.sql.sqltypes":
            return "sa.String()"
    return False


def _is_ours(name: str | None, kind: str, parents: Any) -> bool:
    """Leave out the full-text index over `listed_update`, which only the database itself knows."""
    if kind == "table":
        return name is None or not name.startswith("listed_search")
    if parents.get("table_name") == "listed_update":
        return name not in {"lexemes", "ix_listed_update_lexemes"}
    return True


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        render_item=_render_item,
        include_name=_is_ours,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


target = context.config.attributes.get("connection")
if target is None:
    url = os.environ.get("BRIDGE_DATABASE_URL")
    if not url:
        raise SystemExit("BRIDGE_DATABASE_URL must name the database to migrate")
    with closing(Database(url)) as database, database.migrating() as migrated:
        _run(migrated)
elif isinstance(target, Engine):
    with target.begin() as migrated:
        _run(migrated)
else:
    _run(target)
