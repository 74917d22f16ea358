"""Edges between updates, found from the side of the update that they are written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

__all__ = ["of_kind"]

_relation = table_of(RevisionRelation)


def of_kind(kind: str) -> ColumnElement[bool]:
    """Return the condition for edges of a kind, in statements that name the updates they are written in.

    It is not `kind = ...`: SQLite, which knows no statistics of a table that is being filled, would take the index
    that begins with `kind`, and read every edge of that kind in the catalogue.
    """
    return _relation.c.kind.concat("") == kind
