"""The list's rows: derived, complete, and in the order of dates whatever happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlmodel import SQLModel

from mdm.catalog.listing import list_again, position_of
from mdm.catalog.search import Question, find
from mdm.catalog.store import Delivery, store_revisions

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
A2 = "aaaaaaaa-1111-4000-8000-000000000000"
A3 = "aaaaaaaa-2222-4000-8000-000000000000"
AFTER_A = "aaaaaaab-0000-4000-8000-000000000000"
LISTED = SQLModel.metadata.tables["listed_update"]


def store(connection: Connection, now: datetime, *documents: str) -> None:
    """Store documents in one batch."""
    deliveries = [Delivery.of(each) for each in documents]
    store_revisions(connection, deliveries, url_of=lambda _file: None, upstream_url="u", now=now)


def listed(connection: Connection) -> list[str]:
    """The list from its beginning."""
    return list(connection.scalars(select(LISTED.c.update_id).order_by(LISTED.c.position.desc())))


def words(connection: Connection, update_id: str = A) -> set[str]:
    """What an update is found by."""
    return set(
        connection.execute(select(LISTED.c.words).where(LISTED.c.update_id == update_id)).scalar_one().split()
    )


@pytest.mark.parametrize(
    "moment",
    [
        None,
        datetime(1999, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2300, 1, 1, tzinfo=UTC),
    ],
)
def test_every_date_has_a_position(moment: datetime | None) -> None:
    """Within what both databases hold, and never below zero."""
    assert 0 <= position_of(moment, A) < position_of(moment, B) < 2**63


def test_positions_follow_dates() -> None:
    """A second is more than any id."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert position_of(moment, C) < position_of(moment + timedelta(seconds=1), A)
    assert position_of(None, C) < position_of(moment, A)


def test_a_row_says_what_an_update_is_found_by(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Words of title, description, KB, bulletin, driver; facets of all that lists are filtered by."""
    driver = (
        '<u:ApplicabilityRules><u:Metadata><d:WindowsDriverMetaData HardwareID="USB\\VID_8087" Class="Bluetooth" '
        'xmlns:d="http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver"/></u:Metadata>'
        "</u:ApplicabilityRules></u:Update>"
    )
    text = document(
        A,
        update_type="Driver",
        title="Größe",
        properties=' MsrcSeverity="Critical"',
        children="<u:SecurityBulletinID>MS17-010</u:SecurityBulletinID><u:KBArticleID>504</u:KBArticleID>",
        categories=(B,),
        eula=(C, {}),
    ).replace("</u:Update>", driver)
    with database.write() as connection:
        store(connection, now, text)
        assert words(connection) == {
            "grosse", "kb504", "504", "ms17010", "ms17", "010", "usb", "vid", "8087", "bluetooth",
            "_typedriver", "_current", "_published", "_severitycritical", "_kb504",
            f"_in{B.replace('-', '')}", f"_eula{C.replace('-', '')}",
        }  # fmt: skip


def test_the_row_follows_the_highest_revision(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Renamed, moved by a new date, hidden, and back again; the index follows."""
    with database.write() as connection:
        store(connection, now, document(A, 100, title="First"), document(B))
        assert listed(connection) == [B, A]
        store(connection, now, document(A, 101, title="Second").replace("2026-11-10", "2026-11-11"))
        assert listed(connection) == [A, B]
        assert [each for _, each in find(connection, Question("second"), limit=9)] == [A]
        assert find(connection, Question("first"), limit=9) == []
        store(
            connection,
            now,
            document(A, 102, title="Second", expired=True).replace("2026-11-10", "2026-11-11"),
        )
        assert {"second", "_expired"} <= words(connection)
        store(connection, now, document(A, 103, title="Second", deployable=False))
        assert listed(connection) == [B]
        assert find(connection, Question("second"), limit=9) == []
        store(connection, now, document(A, 104, title="Third"))
        assert listed(connection) == [B, A]


def test_superseded_updates_are_marked_and_freed(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """As soon as what supersedes them comes, near or far, and until it has gone."""
    with database.write() as connection:
        store(connection, now, document(A), document(B, supersedes=(A,), expired=True))
        assert "_current" in words(connection)
        store(connection, now, document(C, supersedes=(B,)))
        assert "_superseded" in words(connection)
        store(connection, now, document(C, 201, supersedes=(B,), expired=True))
        assert "_current" in words(connection)
        store(connection, now, document(C, 202, supersedes=(A,)))
        assert {"_superseded"} <= words(connection)
        assert "_current" in words(connection, B)


def test_updates_that_claim_one_position_stand_beside_each_other(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Same second, same beginning of the id; and the next place may be taken as well."""
    with database.write() as connection:
        store(connection, now, document(AFTER_A))
        store(connection, now, document(A), document(A2))
        store(connection, now, document(A3))
        assert set(listed(connection)) == {A, A2, A3, AFTER_A}
        before = dict(connection.execute(select(LISTED.c.update_id, LISTED.c.position)).all())
        list_again(connection, (A, A2, A3, AFTER_A))
        assert len(set(listed(connection))) == 4
        assert before[A] == position_of(datetime(2026, 11, 10, 18, tzinfo=UTC), A)


def test_nothing_is_written_where_nothing_changed(
    database: Database, document: Callable[..., str], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing again is free."""
    with database.write() as connection:
        store(connection, now, document(A))

        def fail(*_arguments: Any, **_options: Any) -> None:
            raise AssertionError

        monkeypatch.setattr("mdm.catalog.listing.upsert", fail)
        list_again(connection, [A])
        connection.execute(update(LISTED).values(words="x"))
        with pytest.raises(AssertionError):
            list_again(connection, [A])
