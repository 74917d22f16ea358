"""INSERT … ON CONFLICT for both databases, so that services need not ask which one they are on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection
    from sqlmodel import SQLModel

__all__ = ["insert_ignore", "table_of", "upsert"]


def table_of(model: type[SQLModel]) -> Table:
    """Return the Core table of a `table=True` class, which SQLModel does not type."""
    return cast("Table", model.__table__)  # type: ignore[attr-defined]


def insert_ignore(table: Table | type[SQLModel], on: Connection | str) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that leaves a row alone whose primary key, or other unique column, exists already.

    `on` is the connection that will run it, or its dialect's name. `rowcount` tells how many rows were new.
    """
    return _insert_ignore(_target(table), _dialect(on))


def upsert(
    table: Table | type[SQLModel],
    on: Connection | str,
    *,
    update: Collection[str],
    key: Collection[str] | None = None,
) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that overwrites the columns `update` of a row that exists already.

    `key` names the columns of the unique constraint that decides (the primary key unless given). The values
    are given to `connection.execute`, one mapping or a list of them.
    """
    return _upsert(_target(table), _dialect(on), tuple(update), None if key is None else tuple(key))


def _target(table: Table | type[SQLModel]) -> Table:
    return table if isinstance(table, Table) else table_of(table)


def _dialect(on: Connection | str) -> str:
    return on if isinstance(on, str) else on.dialect.name


# Statements never change once they are made, and making one costs several times what running it does.
@cache
def _insert_ignore(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return _insert(table, dialect).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


@cache
def _upsert(
    table: Table, dialect: str, update: tuple[str, ...], key: tuple[str, ...] | None
) -> sqlite.Insert | postgresql.Insert:
    statement = _insert(table, dialect)
    columns = key if key is not None else [column.name for column in statement.table.primary_key]
    return statement.on_conflict_do_update(
        index_elements=list(columns),
        set_={name: statement.excluded[name] for name in update},
    )


def _insert(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
