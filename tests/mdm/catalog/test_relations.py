"""Edges of a kind: the same rows as by its name, found through the updates that they are written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, text

from mdm.catalog.relations import of_kind
from mdm.catalog.store import Delivery, store_revisions
from mdm.storage.statements import table_of
from mdm.storage.tables import RevisionRelation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.storage.engine import Database

A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")
_relation = table_of(RevisionRelation)


def test_only_edges_of_the_kind_are_found(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Each update has edges of other kinds as well."""
    delivery = Delivery.of(document(A, 1, supersedes=(B,), requires=(C,), bundles=((D, 1),)))
    with database.write() as connection:
        store_revisions(connection, [delivery], url_of=lambda _: None, upstream_url="u", now=now)
    with database.read() as connection:
        for kind, target in (("supersedes", B), ("requires", C), ("bundles", D)):
            found = select(_relation.c.target_id).where(of_kind(kind), _relation.c.update_id == A)
            assert list(connection.scalars(found)) == [target]


def test_sqlite_finds_them_by_the_update(sqlite_database: Database) -> None:
    """By `kind` it would read every edge of that kind, which made each batch dearer than the one before."""
    statement = select(_relation.c.target_id).where(of_kind("bundles"), _relation.c.update_id.in_([A, B, C]))
    with sqlite_database.read() as connection:
        words = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = " ".join(row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {words}")))
    assert "(update_id=?)" in plan
    assert "kind=?" not in plan
