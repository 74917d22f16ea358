"""Many ids in one statement: in pieces, each asked for with the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event, insert, select

from mdm.catalog.ids import among, chunks, rows_among
from mdm.storage.statements import table_of
from mdm.storage.tables import Category

if TYPE_CHECKING:
    from typing import Any

    from mdm.storage.engine import Database

_category = table_of(Category)


def test_pieces_are_in_order_and_without_repetition() -> None:
    """Whatever comes, in whatever order."""
    assert [len(chunk) for chunk in chunks([*range(1200), 3, 3])] == [500, 500, 200]
    assert list(chunks("ba")) == [["a", "b"]]
    assert list(chunks([])) == []


def test_rows_of_every_piece_are_found(database: Database) -> None:
    """Texts and numbers; ids without a row are no matter, and no ids make no statement."""
    ids = [f"id{number:04}" for number in range(1201)]
    with database.write() as connection:
        connection.execute(
            insert(_category),
            [{"id": each, "revision_number": int(each[2:]), "title": each} for each in ids],
        )
    by_id = select(_category.c.id).where(among(_category.c.id))
    by_number = select(_category.c.id).where(among(_category.c.revision_number))
    with database.read() as connection:
        assert [key for (key,) in rows_among(connection, by_id, [*ids, "other"])] == ids
        assert [key for (key,) in rows_among(connection, by_number, [1, 1200, 9999])] == [ids[1], ids[1200]]
        assert list(rows_among(connection, by_id, [])) == []


def test_a_piece_is_asked_for_when_the_last_one_is_used_up(sqlite_database: Database) -> None:
    """No more than a piece of the rows is in memory."""
    asked: list[int] = []

    def note(_connection: Any, _cursor: Any, _words: Any, parameters: Any, *_more: Any) -> None:
        asked.append(len(parameters))

    ids = [f"id{number}" for number in range(600)]
    with sqlite_database.write() as connection:
        connection.execute(
            insert(_category), [{"id": each, "revision_number": 1, "title": ""} for each in ids]
        )
    with sqlite_database.read() as connection:
        event.listen(connection, "before_cursor_execute", note)
        rows = rows_among(connection, select(_category.c.id).where(among(_category.c.id)), ids)
        next(rows)
        assert asked == [500]
        assert len(list(rows)) == 599
        assert asked == [500, 100]
