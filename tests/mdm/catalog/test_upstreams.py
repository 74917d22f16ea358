"""The list of upstreams: its order, what of an upstream may be changed, and what stays when one is removed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from mdm.catalog import upstreams
from mdm.catalog.upstreams import UpstreamChange
from mdm.errors import Conflict

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

SETTINGS = "http://wsus.example:8530"
OTHER = "http://other.example"
MICROSOFT = "https://sws.update.microsoft.com"
GUID = "72e7624a-5b00-45d2-b92f-e561c0a6a160"


def urls(connection: Connection, settings_url: str | None = SETTINGS, **options: Any) -> list[str]:
    """The upstreams in their order."""
    return [each.url for each in upstreams.list_upstreams(connection, settings_url, **options)]


def test_the_upstream_of_the_settings_needs_no_entry(database: Database) -> None:
    """It is first, in needed mode; one that was merely used once is not asked."""
    with database.write() as connection:
        upstreams.ensure_upstream(connection, SETTINGS)
        upstreams.ensure_upstream(connection, OTHER)
        (view,) = upstreams.list_upstreams(connection, SETTINGS)
        assert (view.url, view.mode, view.configured_by, view.enabled) == (
            SETTINGS,
            "needed",
            "settings",
            True,
        )
        assert (view.name, view.products, view.languages, view.interval_minutes) == (SETTINGS, (), (), None)
        assert view.id == upstreams.upstream_id(SETTINGS)
        assert urls(connection, None) == []


def test_upstreams_are_asked_in_the_order_of_their_positions(database: Database) -> None:
    """A new one comes last unless it is told where; its account is its own."""
    with database.write() as connection:
        upstreams.ensure_upstream(connection, SETTINGS)
        added = upstreams.add_upstream(connection, SETTINGS, OTHER, UpstreamChange(name="Other"))
        assert (added.position, added.name, added.configured_by) == (1, "Other", "list")
        upstreams.add_upstream(connection, SETTINGS, MICROSOFT, UpstreamChange(position=0))
        assert urls(connection) == [SETTINGS, MICROSOFT, OTHER]
        upstreams.change_upstream(connection, SETTINGS, SETTINGS, UpstreamChange(position=9))
        assert urls(connection) == [MICROSOFT, OTHER, SETTINGS]
        upstreams.change_upstream(connection, SETTINGS, OTHER, UpstreamChange(enabled=False))
        assert urls(connection, enabled_only=True) == [MICROSOFT, SETTINGS]
        for name in (added.id, OTHER):
            found = upstreams.find_upstream(connection, SETTINGS, name)
            assert found is not None
            assert found.url == OTHER
        assert upstreams.find_upstream(connection, SETTINGS, "ups_none") is None
        assert (
            upstreams.add_upstream(connection, None, "http://third.example", UpstreamChange()).position == 2
        )


@pytest.mark.parametrize("url", [SETTINGS, OTHER])
def test_an_upstream_is_there_once(database: Database, url: str) -> None:
    """Whether the settings or the list have it."""
    with database.write() as connection:
        upstreams.add_upstream(connection, SETTINGS, OTHER, UpstreamChange())
        with pytest.raises(Conflict, match="there already") as caught:
            upstreams.add_upstream(connection, SETTINGS, url, UpstreamChange())
        assert caught.value.code == "upstream_exists"


def test_a_filter_has_both_parts_or_none(database: Database) -> None:
    """With one of them an upstream answers nothing at all."""
    with database.write() as connection:
        view = upstreams.add_upstream(
            connection,
            None,
            OTHER,
            UpstreamChange(mode="filtered", products=(GUID,), classifications=(GUID,), languages=(1033,)),
        )
        assert (view.filter.products, view.filter.classifications, view.filter.languages) == (
            (GUID,),
            (GUID,),
            (1033,),
        )
        with pytest.raises(Conflict) as caught:
            upstreams.change_upstream(connection, None, OTHER, UpstreamChange(products=()))
        assert caught.value.code == "incomplete_filter"
        cleared = UpstreamChange(products=(), classifications=())
        assert upstreams.change_upstream(connection, None, OTHER, cleared).products == ()
        assert upstreams.change_upstream(connection, None, OTHER, UpstreamChange()).mode == "filtered"


@pytest.mark.parametrize(
    ("url", "least"),
    [
        (MICROSOFT, 60),
        ("https://microsoft.com", 60),
        (OTHER, 15),
        ("https://notmicrosoft.com", 15),
    ],
)
def test_nobody_is_asked_too_often(database: Database, url: str, least: int) -> None:
    """Microsoft's servers hourly at most; one's own server every quarter of an hour."""
    assert upstreams.least_interval(url) == timedelta(minutes=least)
    with database.write() as connection:
        view = upstreams.add_upstream(connection, None, url, UpstreamChange(interval_minutes=least))
        assert view.interval(timedelta(hours=2)) == timedelta(minutes=least)
        with pytest.raises(Conflict) as caught:
            upstreams.change_upstream(connection, None, url, UpstreamChange(interval_minutes=least - 1))
        assert caught.value.code == "interval_too_short"


def test_removing_an_upstream_keeps_its_account(database: Database, now: datetime) -> None:
    """It may come back, and is the same downstream server then; what it did not have is forgotten."""
    table = SQLModel.metadata.tables["upstream"]
    with database.write() as connection:
        upstreams.add_upstream(connection, SETTINGS, OTHER, UpstreamChange(mode="filtered"))
        account = connection.scalar(select(table.c.account_guid).where(table.c.url == OTHER))
        answer = SQLModel.metadata.tables["needed_answer"]
        connection.execute(
            answer.insert(),
            {
                "upstream_url": OTHER,
                "update_id": GUID,
                "revision_number": 1,
                "state": "failed",
                "at": now,
                "next_attempt_at": now,
                "error": "no",
            },
        )
        upstreams.remove_upstream(connection, SETTINGS, OTHER)
        assert urls(connection, None) == []
        assert connection.execute(select(answer)).all() == []
        upstreams.add_upstream(connection, SETTINGS, OTHER, UpstreamChange())
        assert connection.scalar(select(table.c.account_guid).where(table.c.url == OTHER)) == account
        with pytest.raises(Conflict, match="BRIDGE_UPSTREAM_URL"):
            upstreams.remove_upstream(connection, SETTINGS, SETTINGS)
