"""A product family holds its products: what is said of the family is said of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mdm.storage.statements import table_of
from mdm.storage.tables import Category

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import CTE, ColumnElement

__all__ = ["families"]

_category = table_of(Category)


def families(which: Callable[[ColumnElement[str]], ColumnElement[bool]]) -> CTE:
    """Every category below those for whose id `which` holds, themselves included.

    Columns: `root`, the category asked for, and `id`, it or one that belongs to it, near or far.
    """
    below = (
        select(_category.c.id.label("root"), _category.c.id.label("id"))
        .where(which(_category.c.id))
        .cte("family", recursive=True)
    )
    further = select(below.c.root, _category.c.id).join(below, _category.c.parent_id == below.c.id)
    # UNION, not UNION ALL: a ring in the data ends where it began.
    return below.union(further)
