"""Where a device stands, as a word, as a condition, and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mdm.devices.management import (
    SILENT_AFTER,
    Management,
    departure_text,
    in_state,
    is_managed,
    state_of,
)
from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from conftest import Bench
    from sqlalchemy import ColumnElement

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass
class Known:
    """The dates of a device."""

    last_checkin_at: datetime | None = NOW - HOUR
    unenrolled_at: datetime | None = None
    retire_requested_at: datetime | None = None
    retire_told_at: datetime | None = None


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (Known(), None),
        (Known(last_checkin_at=None), None),
        (
            Known(retire_requested_at=NOW - DAY),
            (
                "Asked to leave management on 2026-11-20 12:00 UTC; it is told so at its next session, and it was last seen on "
                "2026-11-21 11:00 UTC. If it will not come back, retire it at once."
            ),
        ),
        (
            Known(last_checkin_at=None, retire_requested_at=NOW - DAY),
            (
                "Asked to leave management on 2026-11-20 12:00 UTC; it is told so at its next session, and it has never checked "
                "in. If it will not come back, retire it at once."
            ),
        ),
        (
            Known(retire_requested_at=NOW - DAY, retire_told_at=NOW - HOUR),
            "Told on 2026-11-21 11:00 UTC to leave management; it has not said yet that it has.",
        ),
        (
            Known(retire_requested_at=NOW - 9 * DAY, retire_told_at=NOW - SILENT_AFTER),
            "Told on 2026-11-18 12:00 UTC to leave management; it has not said yet that it has.",
        ),
        (
            Known(NOW - SILENT_AFTER, retire_requested_at=NOW - 9 * DAY, retire_told_at=NOW - SILENT_AFTER),
            (
                "Told on 2026-11-18 12:00 UTC to leave management, not heard since: it may have left without a word, or be "
                "switched off. If it will not come back, retire it at once."
            ),
        ),
        (
            Known(NOW - HOUR, NOW - HOUR, NOW - DAY, NOW - 2 * HOUR),
            "The device said on 2026-11-21 11:00 UTC that it has left management.",
        ),
        (
            Known(NOW - DAY, NOW - HOUR, NOW - HOUR),
            (
                "Taken out of management on 2026-11-21 11:00 UTC without being told: its certificates and credentials are "
                "refused. Its approvals and settings stay on it unless it leaves by itself."
            ),
        ),
        (
            Known(NOW - DAY, NOW - HOUR, NOW - 2 * DAY, NOW - DAY),
            (
                "Taken out of management on 2026-11-21 11:00 UTC after it was told to leave on 2026-11-20 12:00 UTC: its "
                "certificates and credentials are refused. Its approvals and settings stay on it unless it leaves by itself."
            ),
        ),
        (
            Known(None, NOW - HOUR, NOW - HOUR),
            (
                "Taken out of management on 2026-11-21 11:00 UTC without being told: its certificates and credentials are "
                "refused. Its approvals and settings stay on it unless it leaves by itself."
            ),
        ),
    ],
)
def test_the_way_out_in_words(device: Known, text: str | None) -> None:
    """Word for word; a silent device is never said to be gone."""
    assert departure_text(device, NOW) == text


def test_words_and_conditions_agree(bench: Bench) -> None:
    """Each device is in exactly the state that its dates give, and only the enrolled are managed."""
    device = table_of(Device)
    states = {}
    for number, (left, asked) in enumerate(
        [(None, None), (None, bench.now), (bench.now, None), (bench.now, bench.now)]
    ):
        bench.enrol(f"PC{number}")
        with bench.database.write() as conn:
            mine = device.update().where(device.c.device_id == f"PC{number}")
            conn.execute(mine.values(unenrolled_at=left, retire_requested_at=asked))
        states[f"PC{number}"] = state_of(left, asked)
    assert list(states.values()) == ["enrolled", "retiring", "unenrolled", "unenrolled"]
    with bench.database.read() as conn:

        def those(condition: ColumnElement[bool]) -> set[str]:
            return set(conn.scalars(select(device.c.device_id).where(condition)))

        for state in Management:
            assert those(in_state(state)) == {name for name, each in states.items() if each is state}
        assert those(is_managed()) == {"PC0"}
