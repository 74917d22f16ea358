"""A device's timeline: newest first, page by page, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdm.devices.timeline import KEPT, Event, list_timeline, record_events

if TYPE_CHECKING:
    from conftest import Bench


def test_newest_first_and_page_by_page(bench: Bench) -> None:
    """Each device has its own events, read backwards from any place."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    with bench.database.write() as connection:
        record_events(connection, 1, [Event("alert", {"n": n}) for n in range(5)], bench.now)
        record_events(connection, 2, [Event("alert", {"n": 99})], bench.now)
        record_events(connection, 1, [], bench.now)
    with bench.database.read() as connection:
        first = list_timeline(connection, 1, limit=2)
        rest = list_timeline(connection, 1, before=first[-1].seq)
    assert [event.detail["n"] for event in first + rest] == [4, 3, 2, 1, 0]
    assert first[0].at == bench.now


def test_only_the_newest_are_kept(bench: Bench) -> None:
    """What a device may say for years does not fill the disk; other devices' events are left alone."""
    bench.enrol("DEV1")
    bench.enrol("DEV2")
    with bench.database.write() as connection:
        record_events(connection, 2, [Event("alert", {"n": -1})], bench.now)
        record_events(connection, 1, [Event("alert", {"n": n}) for n in range(KEPT + 5)], bench.now)
        record_events(connection, 1, [Event("alert", {"n": KEPT + 5})], bench.now)
    with bench.database.read() as connection:
        kept = [event.detail["n"] for event in list_timeline(connection, 1, limit=2 * KEPT)]
        assert kept == list(range(KEPT + 5, 5, -1))
        assert len(list_timeline(connection, 2)) == 1
