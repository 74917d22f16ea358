"""Many ids in one statement, in pieces that every database takes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import bindparam

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Connection, Executable

__all__ = ["among", "chunks", "rows_among"]

K = TypeVar("K", str, int)

_CHUNK: Final = 500
"""Ids in one IN list: far below the databases' bounds on parameters."""


def chunks(ids: Iterable[K]) -> Iterator[list[K]]:
    """Yield the different ids in order, some hundreds at a time."""
    remaining = iter(sorted(set(ids)))
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def among(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that `rows_among` fills with ids; a statement that has it is made once and not for every call."""
    return column.in_(bindparam("ids", type_=column.type, expanding=True))


def rows_among(connection: Connection, statement: Executable, ids: Iterable[K]) -> Iterator[Any]:
    """Yield what a statement with the condition `among` finds for these ids, the rows of a piece at a time.

    At a time and not one by one: most of what a row costs here is the asking for the next one.
    """
    for chunk in chunks(ids):
        yield from connection.execute(statement, {"ids": chunk}).all()
